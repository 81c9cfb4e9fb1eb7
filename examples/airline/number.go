package airline

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// number is a number as Python has it: an integer stays one until it meets a
// float. The recorded results print the two differently ("5" and "5.0").
type number struct {
	i     int64
	f     float64
	float bool
}

func integer(i int64) number { return number{i: i} }
func float(f float64) number { return number{f: f, float: true} }
func count(n int) number     { return number{i: int64(n)} }
func (n number) value() float64 {
	if n.float {
		return n.f
	}
	return float64(n.i)
}

// big is the size from which integers are kept as floats; Python's have no bound.
const big = 1 << 53

func arithmetic(a, b number, ints func(x, y int64) int64, floats func(x, y float64) float64) number {
	if f := floats(a.value(), b.value()); a.float || b.float || math.Abs(f) >= big {
		return float(f)
	}
	return integer(ints(a.i, b.i))
}

func (n number) plus(m number) number {
	return arithmetic(n, m, func(x, y int64) int64 { return x + y }, func(x, y float64) float64 { return x + y })
}

func (n number) minus(m number) number {
	return arithmetic(n, m, func(x, y int64) int64 { return x - y }, func(x, y float64) float64 { return x - y })
}

func (n number) times(m number) number {
	return arithmetic(n, m, func(x, y int64) int64 { return x * y }, func(x, y float64) float64 { return x * y })
}

func (n number) less(m number) bool   { return n.value() < m.value() }
func (n number) equals(m number) bool { return n.value() == m.value() }

// String prints the number as Python's str does.
func (n number) String() string {
	if n.float {
		return printFloat(n.f)
	}
	return strconv.FormatInt(n.i, 10)
}

// MarshalJSON prints the number as Python's json does.
func (n number) MarshalJSON() ([]byte, error) { return []byte(n.String()), nil }

// UnmarshalJSON reads digits as an integer and everything else as a float.
func (n *number) UnmarshalJSON(b []byte) error {
	text := string(b)
	if i, err := strconv.ParseInt(text, 10, 64); err == nil && i > -big && i < big {
		*n = integer(i)
		return nil
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return &json.UnmarshalTypeError{Value: "value " + text, Type: nil, Field: "number"}
	}
	*n = float(f)
	return nil
}

// printFloat prints a float as Python's repr does: the shortest digits that read
// back the same, with an exponent from 1e16 up and below 1e-4.
func printFloat(f float64) string {
	switch {
	case math.IsInf(f, 1):
		return "inf"
	case math.IsInf(f, -1):
		return "-inf"
	case math.IsNaN(f):
		return "nan"
	}
	digits := strconv.FormatFloat(f, 'e', -1, 64)
	exp, _ := strconv.Atoi(digits[strings.IndexByte(digits, 'e')+1:])
	if exp < -4 || exp >= 16 {
		return digits
	}
	text := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(text, ".") {
		text += ".0"
	}
	return text
}

// roundTo2 is Python's round(f, 2): the exact value of f, ties to even.
func roundTo2(f float64) float64 {
	if math.IsInf(f, 0) || math.IsNaN(f) {
		return f
	}
	r, err := strconv.ParseFloat(fmt.Sprintf("%.2f", f), 64)
	if err != nil {
		return f
	}
	return r
}
