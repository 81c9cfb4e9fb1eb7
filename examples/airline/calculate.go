package airline

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Bounds of an expression: a desk calculator needs no more.
const (
	maxExpression = 4096 // bytes
	maxNesting    = 100
)

// calculate evaluates an expression as Python does and prints the result, rounded
// to two places, as Python prints a float.
func calculate(expression string) string {
	if strings.ContainsFunc(expression, func(r rune) bool { return !strings.ContainsRune("0123456789+-*/(). ", r) }) {
		return "Error: invalid characters in expression"
	}
	n, err := evaluate(expression)
	if err != nil {
		return "Error: " + err.Error()
	}
	return printFloat(roundTo2(n.value()))
}

var (
	errSyntax   = errors.New("invalid syntax (<string>, line 1)")
	errTooLarge = errors.New("number too large")
)

func evaluate(expression string) (number, error) {
	if len(expression) > maxExpression {
		return number{}, fmt.Errorf("expression longer than %d characters", maxExpression)
	}
	p := &parser{text: expression}
	n, err := p.sum()
	if err != nil {
		return number{}, err
	}
	if p.skip(); p.at < len(p.text) {
		return number{}, errSyntax
	}
	if v := n.value(); math.IsInf(v, 0) || math.IsNaN(v) {
		return number{}, errTooLarge
	}
	return n, nil
}

// parser reads by recursive descent, with Python's precedence: + and -, then *, /
// and //, then signs, then ** (which binds to the right).
type parser struct {
	text  string
	at    int
	depth int
}

func (p *parser) skip() {
	for p.at < len(p.text) && p.text[p.at] == ' ' {
		p.at++
	}
}

// take reads the first of the operators that is next; "" if none is.
func (p *parser) take(operators ...string) string {
	p.skip()
	for _, op := range operators {
		if strings.HasPrefix(p.text[p.at:], op) {
			p.at += len(op)
			return op
		}
	}
	return ""
}

func (p *parser) sum() (number, error) {
	left, err := p.product()
	for err == nil {
		op := p.take("+", "-")
		if op == "" {
			return left, nil
		}
		var right number
		if right, err = p.product(); err != nil {
			break
		}
		if op == "+" {
			left = left.plus(right)
		} else {
			left = left.minus(right)
		}
	}
	return number{}, err
}

func (p *parser) product() (number, error) {
	left, err := p.sign()
	for err == nil {
		// "**" was read by power where it may stand.
		op := p.take("//", "/", "*")
		if op == "" {
			return left, nil
		}
		var right number
		if right, err = p.sign(); err != nil {
			break
		}
		switch {
		case op == "*":
			left = left.times(right)
		case right.value() == 0 && (left.float || right.float) && op == "/":
			err = errors.New("float division by zero")
		case right.value() == 0 && op == "/":
			err = errors.New("division by zero")
		case right.value() == 0 && (left.float || right.float):
			err = errors.New("float floor division by zero")
		case right.value() == 0:
			err = errors.New("integer division or modulo by zero")
		case op == "/":
			left = float(left.value() / right.value())
		default:
			floor := func(x, y float64) float64 { return math.Floor(x / y) }
			left = arithmetic(left, right, func(x, y int64) int64 {
				q := x / y
				if x%y != 0 && (x < 0) != (y < 0) {
					q--
				}
				return q
			}, floor)
		}
	}
	return number{}, err
}

func (p *parser) sign() (number, error) {
	if p.depth++; p.depth > maxNesting {
		return number{}, errors.New("too many nested parentheses")
	}
	defer func() { p.depth-- }()
	switch p.take("+", "-") {
	case "+":
		return p.sign()
	case "-":
		n, err := p.sign()
		if n.float {
			return float(-n.f), err
		}
		return integer(-n.i), err
	}
	return p.power()
}

func (p *parser) power() (number, error) {
	base, err := p.atom()
	if err != nil || p.take("**") == "" {
		return base, err
	}
	exponent, err := p.sign()
	if err != nil {
		return number{}, err
	}
	v := math.Pow(base.value(), exponent.value())
	switch {
	case base.value() == 0 && exponent.value() < 0:
		return number{}, errors.New("0.0 cannot be raised to a negative power")
	case math.IsInf(v, 0):
		return number{}, errTooLarge
	case math.IsNaN(v): // Python's answer is a complex number, which float() refuses
		return number{}, errors.New("float() argument must be a string or a real number, not 'complex'")
	case base.float || exponent.float || exponent.i < 0 || math.Abs(v) >= big:
		return float(v), nil
	}
	return integer(int64(v)), nil
}

func (p *parser) atom() (number, error) {
	if p.take("(") != "" {
		n, err := p.sum()
		if err == nil && p.take(")") == "" {
			err = errSyntax
		}
		return n, err
	}
	from := p.at
	for p.at < len(p.text) && (p.text[p.at] == '.' || p.text[p.at] >= '0' && p.text[p.at] <= '9') {
		p.at++
	}
	text := p.text[from:p.at]
	if text == "" || text == "." || strings.Count(text, ".") > 1 {
		return number{}, errSyntax
	}
	if !strings.Contains(text, ".") {
		if text[0] == '0' && strings.Trim(text, "0") != "" {
			return number{}, errors.New("leading zeros in decimal integer literals are not permitted; use an 0o prefix for octal integers (<string>, line 1)")
		}
		if i, err := strconv.ParseInt(text, 10, 64); err == nil && i < big {
			return integer(i), nil
		}
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return number{}, errTooLarge
	}
	return float(f), nil
}
