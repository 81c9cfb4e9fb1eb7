# cents reads an amount like "12.50", "8.5" or "-3" as whole cents.
function cents(text,    sign, part) {
	sign = 1
	if (substr(text, 1, 1) == "-") {
		sign = -1
		text = substr(text, 2)
	}
	split(text, part, ".")
	return sign * (part[1] * 100 + substr(part[2] "00", 1, 2))
}

# money writes whole cents as an amount: 1250 is "12.50".
function money(c) {
	return sprintf("%d.%02d", c / 100, c % 100)
}
