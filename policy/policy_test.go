package policy_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/policy"
)

func compile(t *testing.T, p cairn.Policy) *policy.Rules {
	t.Helper()
	r, err := policy.Compile(p)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestDecide(t *testing.T) {
	t.Parallel()
	type want struct {
		Verdict cairn.Verdict
		Rule    string
	}
	tests := map[string]struct {
		policy cairn.Policy
		tool   string
		args   string
		want   want
	}{
		"no rules": {cairn.Policy{}, "read", `{}`, want{"allow", ""}},
		"default":  {cairn.Policy{Default: "ask"}, "read", `{}`, want{"ask", "default: ask"}},
		"allow list without a default does not ask": {
			cairn.Policy{Allow: []string{"read"}}, "write", `{}`, want{"allow", ""},
		},
		"allow list with a default": {
			cairn.Policy{Allow: []string{"read"}, Default: "deny"}, "write", `{}`, want{"deny", "default: deny"},
		},
		"the strictest wins, not the longest": {
			cairn.Policy{Allow: []string{"bash:command=ls -l /tmp"}, Ask: []string{"bash:ls*"}, Deny: []string{"ba*"}},
			"bash", `{"command":"ls -l /tmp"}`,
			want{"deny", "deny: ba*"},
		},
		"ask before allow": {
			cairn.Policy{Allow: []string{"bash"}, Ask: []string{"bash:ls*"}}, "bash", `{"command":"ls"}`, want{"ask", "ask: bash:ls*"},
		},
		"first of a list is named": {
			cairn.Policy{Deny: []string{"b*", "bash"}}, "bash", `{}`, want{"deny", "deny: b*"},
		},
		"other tool": {cairn.Policy{Deny: []string{"bash"}}, "bash2", `{}`, want{"allow", ""}},
		"one string": {
			cairn.Policy{Deny: []string{"bash:git push --force*"}},
			"bash", `{"command":"git push --force origin"}`,
			want{"deny", "deny: bash:git push --force*"},
		},
		"one string among other fields": {
			cairn.Policy{Allow: []string{"bash:ls*"}, Default: "ask"},
			"bash", `{"command":"ls","timeout":5}`,
			want{"allow", "allow: bash:ls*"},
		},
		"a second string does not hide the first from a deny": {
			cairn.Policy{Deny: []string{"bash:git push*"}},
			"bash", `{"command":"git push","note":"x"}`,
			want{"deny", "deny: bash:git push*"},
		},
		"a second string takes the permission away": {
			cairn.Policy{Allow: []string{"bash:ls*"}, Default: "ask"},
			"bash", `{"command":"rm","note":"ls"}`,
			want{"ask", "default: ask"},
		},
		"whole arguments": {
			cairn.Policy{Deny: []string{`sql:*"limit":1000*`}},
			"sql", `{"limit":1000,"q":"select 1"}`,
			want{"deny", `deny: sql:*"limit":1000*`},
		},
		"escapes are decoded": {
			cairn.Policy{Deny: []string{"bash:command=rm *"}},
			"bash", `{"command":"\u0072\u006d -rf /"}`,
			want{"deny", "deny: bash:command=rm *"},
		},
		"escaped name": {
			cairn.Policy{Deny: []string{"bash:command=rm *"}},
			"bash", `{"\u0063ommand":"rm -rf /"}`,
			want{"deny", "deny: bash:command=rm *"},
		},
		"name in another case": {
			cairn.Policy{Deny: []string{"bash:command=rm *"}},
			"bash", `{"Command":"rm -rf /"}`,
			want{"deny", "deny: bash:command=rm *"},
		},
		"name in another case is not allowed": {
			cairn.Policy{Allow: []string{"bash:command=ls"}, Default: "deny"},
			"bash", `{"Command":"rm","command":"ls"}`,
			want{"deny", "default: deny"},
		},
		"white space": {
			cairn.Policy{Deny: []string{"bash:git push --force*"}},
			"bash", `{"command":"  git \t push\n--force"}`,
			want{"deny", "deny: bash:git push --force*"},
		},
		"number": {
			cairn.Policy{Ask: []string{"refund:amount=1000"}}, "refund", `{"amount":1e3}`, want{"ask", "ask: refund:amount=1000"},
		},
		"two arguments, both": {
			cairn.Policy{Ask: []string{"refund:amount=????*,currency=USD"}},
			"refund", `{"amount":5000,"currency":"USD"}`,
			want{"ask", "ask: refund:amount=????*,currency=USD"},
		},
		"two arguments, one": {
			cairn.Policy{Ask: []string{"refund:amount=????*,currency=USD"}}, "refund", `{"amount":50,"currency":"USD"}`, want{"allow", ""},
		},
		"comma in a glob": {
			cairn.Policy{Ask: []string{"say:text=hello, world"}}, "say", `{"text":"hello, world"}`, want{"ask", "ask: say:text=hello, world"},
		},
		"nested": {
			cairn.Policy{Deny: []string{"order:ship.country=X?"}}, "order", `{"ship":{"country":"XY"}}`, want{"deny", "deny: order:ship.country=X?"},
		},
		"name with a dot": {
			cairn.Policy{Deny: []string{"order:ship.country=XY"}}, "order", `{"ship.country":"XY"}`, want{"deny", "deny: order:ship.country=XY"},
		},
		"one of an array is enough to deny": {
			cairn.Policy{Deny: []string{"mail:to=*@evil.example"}},
			"mail", `{"to":["a@good.example","b@evil.example"]}`,
			want{"deny", "deny: mail:to=*@evil.example"},
		},
		"all objects of an array must be allowed": {
			cairn.Policy{Allow: []string{"buy:items.sku=A*"}, Default: "deny"},
			"buy", `{"items":[{"sku":"A1"},{"sku":"B1"}]}`,
			want{"deny", "default: deny"},
		},
		"all objects of an array are allowed": {
			cairn.Policy{Allow: []string{"buy:items.sku=A*"}, Default: "deny"},
			"buy", `{"items":[{"sku":"A1"},{"sku":"A2"}]}`,
			want{"allow", "allow: buy:items.sku=A*"},
		},
		"an empty array is not allowed": {
			cairn.Policy{Allow: []string{"buy:items.sku=A*"}, Default: "deny"}, "buy", `{"items":[]}`, want{"deny", "default: deny"},
		},
		"missing argument meets no deny": {
			cairn.Policy{Deny: []string{"mail:cc=*"}}, "mail", `{"to":"a"}`, want{"allow", ""},
		},
		"missing argument meets no allow": {
			cairn.Policy{Allow: []string{"mail:cc=*"}, Default: "deny"}, "mail", `{"to":"a"}`, want{"deny", "default: deny"},
		},
		"unreadable arguments deny": {
			cairn.Policy{Deny: []string{"bash:rm*"}, Allow: []string{"bash"}}, "bash", `{"command":`, want{"deny", "deny: bash:rm*"},
		},
		"a key twice is unreadable": {
			cairn.Policy{Deny: []string{"bash:command=rm*"}}, "bash", `{"command":"ls","command":"rm"}`, want{"deny", "deny: bash:command=rm*"},
		},
		"unreadable arguments are not allowed": {
			cairn.Policy{Allow: []string{"bash:*"}, Default: "ask"}, "bash", `{`, want{"ask", "default: ask"},
		},
		"a literal star": {
			cairn.Policy{Deny: []string{`bash:rm \*`}}, "bash", `{"command":"rm x"}`, want{"allow", ""},
		},
		"line ends": {
			cairn.Policy{Deny: []string{`bash:*rm -rf*`}}, "bash", `{"command":"ls\nrm -rf /"}`, want{"deny", "deny: bash:*rm -rf*"},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got want
			got.Verdict, got.Rule = compile(t, test.policy).Decide(test.tool, []byte(test.args))
			if d := cmp.Diff(test.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestCompileErrors(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		policy   cairn.Policy
		path     string
		mentions string
	}{
		{cairn.Policy{Ask: []string{"ok", "refunds_create when input.amount_cents > 5000"}}, "policy.ask[1]", "not available in this build"},
		{cairn.Policy{Deny: []string{""}}, "policy.deny[0]", "not the name of a tool"},
		{cairn.Policy{Deny: []string{"two words"}}, "policy.deny[0]", `"tool:glob"`},
		{cairn.Policy{Allow: []string{"bash:"}}, "policy.allow[0]", `nothing after "bash:"`},
		{cairn.Policy{Allow: []string{`bash:a=x\`}}, "policy.allow[0]", "ends with a backslash"},
		{cairn.Policy{Allow: []string{"bash:" + strings.Repeat("x", 2000)}}, "policy.allow[0]", "longer than 1024"},
		{cairn.Policy{Default: "maybe"}, "policy.default", "use allow, ask or deny"},
		{cairn.Policy{Deny: make([]string, 1001)}, "policy", "more than 1000"},
	} {
		_, err := policy.Compile(test.policy)
		f, ok := errors.AsType[*cairn.FieldError](err)
		if !ok || f.Path != test.path || !strings.Contains(f.Problem, test.mentions) {
			t.Errorf("%v: %v, want %s … %s", test.policy, err, test.path, test.mentions)
		}
	}
}

func TestNamed(t *testing.T) {
	t.Parallel()
	got := compile(t, cairn.Policy{Deny: []string{"a*", "bash:rm*"}, Ask: []string{"send:to=*,body.text=x"}}).Named()
	want := []policy.Named{
		{Field: "policy.deny[1]", Verdict: "deny", Tool: "bash"},
		{Field: "policy.ask[0]", Verdict: "ask", Tool: "send", Arguments: []string{"to", "body.text"}},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// TestMisread: what would be a glob that matches nothing is refused, and what to
// write instead is said.
func TestMisread(t *testing.T) {
	t.Parallel()
	for rule, says := range map[string]string{
		"refund: amount=5":                `write "refund:amount=5"`,
		"bash:\tls":                       "a space after",
		"refund:amount>5":                 `write for example "amount=?????*"`,
		"refund:amount<5":                 "numbers are matched as text",
		"refund:amount>=5":                `no ">="`,
		"refund:amount > $5":              "matched as text",
		"refund:order.total<=x":           `"order.total=?????*"`,
		"refund:currency!=USD":            `no "!="`,
		"refund:amount = 5":               `write "amount=glob"`,
		"refund:currency=USD, amount=5":   "no space after the comma",
		"refund:currency=USD, amount>5":   "no space after the comma",
		"refund:currency=USD,amount>5":    "matched as text",
		"refund:currency=USD,amount =5":   `write "amount=glob"`,
		`refund:currency=\,x,amount!=5`:   `no "!="`,
		"refund:currency=USD,a.b-c>=-5.0": `"a.b-c=?????*"`,
	} {
		_, err := policy.Compile(cairn.Policy{Ask: []string{rule}})
		f, ok := errors.AsType[*cairn.FieldError](err)
		if !ok || f.Path != "policy.ask[0]" || !strings.Contains(f.Problem, says) {
			t.Errorf("%s: %v, want %s", rule, err, says)
		}
	}
	for rule, command := range map[string]string{
		`bash:\ ls`:               " ls",
		`bash:echo\>5`:            "echo>5",
		"bash:cat>*":              "cat>/etc/passwd",
		"bash:*x > 5":             "awk x > 5",
		"bash:make x = 5":         "make x = 5",
		`bash:command=a\, b=c`:    "a, b=c",
		"bash:command=hello, you": "hello, you",
	} {
		if v, _ := compile(t, cairn.Policy{Deny: []string{rule}}).Decide("bash", []byte(`{"command":"`+command+`"}`)); v != cairn.VerdictDeny {
			t.Errorf("%s does not match %q", rule, command)
		}
	}
}

// matches is the definition of a glob, slow and plain.
func matches(glob, s []rune) bool {
	if len(glob) == 0 {
		return len(s) == 0
	}
	switch glob[0] {
	case '*':
		return matches(glob[1:], s) || len(s) > 0 && matches(glob, s[1:])
	case '?':
		return len(s) > 0 && matches(glob[1:], s[1:])
	}
	return len(s) > 0 && s[0] == glob[0] && matches(glob[1:], s[1:])
}

func TestGlobAgreesWithItsDefinition(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		pattern := rapid.StringOfN(rapid.RuneFrom([]rune("aäb*?")), 0, 8, -1).Draw(t, "glob")
		s := rapid.StringOfN(rapid.RuneFrom([]rune("aäb")), 0, 10, -1).Draw(t, "text")
		g, err := policy.CompileGlob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := g.Match(s), matches([]rune(pattern), []rune(s)); got != want {
			t.Fatalf("%q matches %q: %v, want %v", pattern, s, got, want)
		}
	})
}

func TestGlobIsNotSlowedDown(t *testing.T) {
	t.Parallel()
	g, err := policy.CompileGlob(strings.Repeat("*a", 200) + "*b")
	if err != nil {
		t.Fatal(err)
	}
	if g.Match(strings.Repeat("a", 1<<20)) { // a backtracking matcher would never come back
		t.Error("matched")
	}
}

func TestStricterPolicyNeverAllowsMore(t *testing.T) {
	t.Parallel()
	rank := map[cairn.Verdict]int{"allow": 0, "ask": 1, "deny": 2}
	rule := rapid.SampledFrom([]string{"bash", "b*", "bash:ls*", "bash:command=ls*", "bash:n=1", "bash:a.b=x"})
	args := rapid.SampledFrom([]string{`{}`, `{"command":"ls"}`, `{"n":1}`, `{"a":{"b":"x"}}`, `{"a":[{"b":"x"}]}`, `{`, `null`})
	rapid.Check(t, func(t *rapid.T) {
		p := cairn.Policy{
			Allow:   rapid.SliceOfN(rule, 0, 3).Draw(t, "allow"),
			Ask:     rapid.SliceOfN(rule, 0, 3).Draw(t, "ask"),
			Default: rapid.SampledFrom([]cairn.Verdict{"", "allow", "ask", "deny"}).Draw(t, "default"),
		}
		before, err := policy.Compile(p)
		if err != nil {
			t.Fatal(err)
		}
		p.Deny = []string{rule.Draw(t, "deny")}
		after, err := policy.Compile(p)
		if err != nil {
			t.Fatal(err)
		}
		a := args.Draw(t, "args")
		v, _ := before.Decide("bash", []byte(a))
		w, _ := after.Decide("bash", []byte(a))
		if rank[w] < rank[v] {
			t.Fatalf("with a deny rule %s became %s", v, w)
		}
	})
}

func FuzzRule(f *testing.F) {
	f.Add("bash:git push*", `{"command":"git push"}`)
	f.Add("t:a.b=x,c=?*", `{"a":{"b":"x"},"c":[1]}`)
	f.Add(`t:\*`, `{"a":"\u0000"}`)
	f.Fuzz(func(t *testing.T, rule, args string) {
		r, err := policy.Compile(cairn.Policy{Deny: []string{rule}, Ask: []string{"*"}})
		if err != nil {
			return
		}
		v, said := r.Decide("t", []byte(args))
		if v != cairn.VerdictDeny && v != cairn.VerdictAsk {
			t.Fatalf("%s by %s: a rule that asks was got past", v, said)
		}
		if _, err := cairn.Canonical([]byte(args)); err != nil && strings.TrimSpace(args) != "" && strings.HasPrefix(rule, "t:") && v != cairn.VerdictDeny {
			t.Fatalf("unreadable arguments got past %q", rule)
		}
	})
}

func FuzzGlob(f *testing.F) {
	f.Add("a*?b", "aXb")
	f.Fuzz(func(t *testing.T, glob, s string) {
		g, err := policy.CompileGlob(glob)
		if err != nil {
			return
		}
		g.Match(s)
		quoted := strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`).Replace(s)
		if q, err := policy.CompileGlob("*" + quoted); err == nil && !q.Match(glob+s) && strings.ToValidUTF8(glob+s, "") == glob+s {
			t.Fatalf("%q does not match its own end", quoted)
		}
	})
}
