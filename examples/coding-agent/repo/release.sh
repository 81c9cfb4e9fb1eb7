#!/bin/sh
# release.sh VERSION packs till into one file, dist/till-VERSION.sh, and tries it for every
# shop of shops.txt. dist/accepted-VERSION.csv says for which it may be installed.
set -eu
cd "$(dirname "$0")"
version=${1:?usage: release.sh VERSION}
till=dist/till-$version.sh
accepted=dist/accepted-$version.csv
mkdir -p dist
if ! mkdir dist/.lock 2>/dev/null; then
	echo "release.sh: dist/.lock is there: a release is being packed, or was left half-done" >&2
	exit 1
fi
{
	printf '#!/bin/sh\n# till %s\nexec awk '\''\n' "$version"
	cat lib/money.awk lib/report.awk
	printf ''\'' "${1:?usage: till.sh RECEIPTS.csv}"\n'
} >"$till"
all=$(($(wc -l <shops.txt)))
n=0
while read -r shop; do
	TILL_SHOP=$shop ./test.sh "$till" >/dev/null </dev/null || {
		echo "release.sh: $till fails for $shop: TILL_SHOP=$shop ./test.sh $till" >&2
		exit 1
	}
	echo "$shop,$(cksum <"$till")" >>"$accepted"
	n=$((n + 1))
	echo "accepted for $n of $all shops: $shop"
done <shops.txt
rmdir dist/.lock
echo "till $version is packed"
