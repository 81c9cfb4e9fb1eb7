BEGIN {
	FS = ","
	count = split("cash card voucher", methods, " ")
}

NR > 1 && NF == 3 {
	taken[$2] += cents($3)
	total += cents($3)
}

END {
	for (i = 1; i <= count; i++)
		printf "%-8s %9s\n", methods[i], money(taken[methods[i]])
	printf "%-8s %9s\n", "total", money(total)
}
