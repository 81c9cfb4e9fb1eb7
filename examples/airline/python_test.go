package airline

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// TestCalculate compares with what Python 3.12 printed for the same expressions.
func TestCalculate(t *testing.T) {
	t.Parallel()
	for expression, want := range map[string]string{
		"1+1": "2.0", "10/4": "2.5", "2**10": "1024.0", "7//2": "3.0", "-7//2": "-4.0", "7.5//2": "3.0",
		"-2**2": "-4.0", "2**-1": "0.5", "2**3**2": "512.0", "(1+2)*3": "9.0", " 5": "5.0", "--3": "3.0",
		"3*-2": "-6.0", "1.0*3": "3.0", ".5": "0.5", "5.": "5.0", "00": "0.0", "3//0.5": "6.0",
		"0.125": "0.12", "0.375": "0.38", "2.675": "2.67", "0.1+0.2": "0.3", "1/3": "0.33", "0.00001": "0.0",
		"0-0.001": "-0.0", "10**20/1": "1e+20", "12345678901234567890": "1.2345678901234567e+19",
		"100000000000000000.0": "1e+17", "(158 + 161) * 3 + 3 * 30": "1047.0",
		"1e5":       "Error: invalid characters in expression",
		"2 ^ 3":     "Error: invalid characters in expression",
		"1/0":       "Error: division by zero",
		"1/0.0":     "Error: float division by zero",
		"1//0":      "Error: integer division or modulo by zero",
		"1//0.0":    "Error: float floor division by zero",
		"0**-1":     "Error: 0.0 cannot be raised to a negative power",
		"(-8)**0.5": "Error: float() argument must be a string or a real number, not 'complex'",
		"1 2":       "Error: invalid syntax (<string>, line 1)",
		"1..2":      "Error: invalid syntax (<string>, line 1)",
		"007":       "Error: leading zeros in decimal integer literals are not permitted; use an 0o prefix for octal integers (<string>, line 1)",
		"9**9**9":   "Error: number too large",
	} {
		if got := calculate(expression); got != want {
			t.Errorf("%q: %q instead of %q", expression, got, want)
		}
	}
}

func FuzzCalculate(f *testing.F) {
	f.Add("1 + (2 * 3) // 4 ** -.5")
	f.Add("((((")
	f.Fuzz(func(t *testing.T, expression string) {
		if got := calculate(expression); got == "" {
			t.Errorf("%q gave nothing", expression)
		}
	})
}

func TestDumps(t *testing.T) {
	t.Parallel()
	got, err := dumps(json.RawMessage(`{"b":[1,-2.50,1e3,1E-7,true,null,{}],"a":"é \u00e9 \ud83d\ude00 \u007f <&> \"\\\/\n\u0001"}`))
	if err != nil {
		t.Fatal(err)
	}
	want := `{"b": [1, -2.5, 1000.0, 1e-07, true, null, {}], "a": "\u00e9 \u00e9 \ud83d\ude00 \u007f <&> \"\\/\n\u0001"}`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestDumpsMeansTheSame(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		v := map[string][]string{}
		for range rapid.IntRange(0, 5).Draw(t, "n") {
			v[rapid.String().Draw(t, "key")] = rapid.SliceOf(rapid.String()).Draw(t, "values")
		}
		text, err := dumps(v)
		if err != nil {
			t.Fatal(err)
		}
		back := map[string][]string{}
		if err := json.Unmarshal([]byte(text), &back); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(v, back); diff != "" {
			t.Fatal(diff)
		}
	})
}

func FuzzDumps(f *testing.F) {
	f.Add(`{"a":[1,"x"]}`)
	f.Add(`"\ud800"`)
	f.Fuzz(func(t *testing.T, text string) {
		if !json.Valid([]byte(text)) {
			return
		}
		out, err := dumps(json.RawMessage(text))
		if err == nil && !json.Valid([]byte(out)) {
			t.Errorf("%q became %q", text, out)
		}
	})
}
