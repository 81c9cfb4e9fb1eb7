#!/bin/sh
# test.sh [TILL] runs every case of test/ against a till; without one: ./till.sh.
set -u
cd "$(dirname "$0")" || exit 2
till=${1:-./till.sh}
total=0
failed=0
for receipts in test/*.csv; do
	name=$(basename "$receipts" .csv)
	want=$(cat "test/$name.want")
	got=$(sh "$till" "$receipts" 2>&1)
	total=$((total + 1))
	if [ "$got" = "$want" ]; then
		echo "ok    $name"
		continue
	fi
	failed=$((failed + 1))
	echo "FAIL  $name"
	echo "$want" | sed 's/^/      want  /'
	echo "$got" | sed 's/^/      got   /'
done
echo "$((total - failed)) of $total passed"
[ "$failed" -eq 0 ]
