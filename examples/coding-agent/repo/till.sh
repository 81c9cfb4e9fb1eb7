#!/bin/sh
# till.sh RECEIPTS.csv prints the takings: a line for each way of paying, and the total.
set -eu
lib=$(dirname "$0")/lib
exec awk -f "$lib/money.awk" -f "$lib/report.awk" "${1:?usage: till.sh RECEIPTS.csv}"
