// Package policy says of a tool call whether it is allowed, must be asked for
// or is denied, and which rule said so.
//
// A rule is "tool", "tool:glob" or "tool:argument=glob" (several arguments
// separated by commas, nested ones with dots: "order.total"). The tool may be a
// glob too. "tool:glob" looks at the canonical JSON of the arguments, and at
// their string if they hold exactly one. Strings are compared decoded, so an
// escape changes nothing; numbers, arrays and objects as canonical JSON. There are
// no comparisons, and no spaces around ':', '=' and the ',' between arguments: what
// looks like one of these is refused, because as a glob it would match no call. A
// backslash makes such a sign part of the glob.
//
// Every rule is looked at and the strictest that matches wins: deny, ask, allow.
// Order and length of rules do not matter. When none matches, the policy's
// default holds; without a default the call is allowed, because the tool was
// granted.
//
// Rules that ask or deny match broadly, so that a call cannot be dressed up to
// get past them: "tool:glob" looks at every string of the arguments too, names
// of arguments are compared without case, one element of an array is enough,
// and white space is also tried evened out. Rules that allow match narrowly:
// names as they are, every element of an array. An argument that is missing
// matches no rule. Arguments that cannot be read match every rule of the tool
// that asks or denies and none that allows.
//
// A glob over a shell command is a help against accidents and no boundary: there
// are many ways to write a command.
package policy

import (
	"fmt"

	"github.com/cairn-run/cairn"
)

// maxRules bounds the rules of one policy.
const maxRules = 1000

// Rules is a compiled policy. It is immutable and safe for concurrent use.
type Rules struct {
	rules    []rule // deny, ask, allow
	fallback cairn.Verdict
}

// Compile reads the rules of a policy. An error is a *cairn.FieldError that
// names the rule ("policy.deny[2]") and says what was expected.
func Compile(p cairn.Policy) (*Rules, error) {
	r := &Rules{fallback: p.Default}
	switch p.Default {
	case "", cairn.VerdictAllow, cairn.VerdictAsk, cairn.VerdictDeny:
	default:
		return nil, &cairn.FieldError{Path: "policy.default", Problem: fmt.Sprintf("%q is not a verdict: use allow, ask or deny", p.Default)}
	}
	if len(p.Deny)+len(p.Ask)+len(p.Allow) > maxRules {
		return nil, &cairn.FieldError{Path: "policy", Problem: fmt.Sprintf("more than %d rules", maxRules)}
	}
	for _, list := range []struct {
		verdict cairn.Verdict
		rules   []string
	}{{cairn.VerdictDeny, p.Deny}, {cairn.VerdictAsk, p.Ask}, {cairn.VerdictAllow, p.Allow}} {
		for i, s := range list.rules {
			one, err := parseRule(list.verdict, s)
			if err != nil {
				return nil, &cairn.FieldError{Path: fmt.Sprintf("policy.%s[%d]", list.verdict, i), Problem: fmt.Sprintf("rule %q: %v", s, err)}
			}
			r.rules = append(r.rules, one)
		}
	}
	return r, nil
}

// Decide returns the verdict on a call and the rule that gave it, as it stands
// in the agent file behind the name of its list ("deny: bash:git push*"). The
// rule is "default: …" when no rule matched, and empty when there is no default
// either. args are the canonical arguments.
func (r *Rules) Decide(tool string, args []byte) (cairn.Verdict, string) {
	var v any // nil: unreadable, or null, which is no tool's arguments
	decoded := false
	for i := range r.rules {
		one := &r.rules[i]
		if !one.tool.Match(tool) {
			continue
		}
		if !decoded && one.looksInside() {
			decoded = true
			if d, err := decode(args); err == nil {
				v = d
			}
		}
		if one.matches(v) {
			return one.verdict, string(one.verdict) + ": " + one.text
		}
	}
	if r.fallback != "" {
		return r.fallback, "default: " + string(r.fallback)
	}
	return cairn.VerdictAllow, ""
}

// Named is a rule that names one tool, and not a glob over tools.
type Named struct {
	Field     string // "policy.deny[0]"
	Verdict   cairn.Verdict
	Tool      string
	Arguments []string // the arguments it names, nested ones with dots
}

// Named lists the rules that name one tool, so that a name that is not known can
// be reported.
func (r *Rules) Named() []Named {
	var all []Named
	n := map[cairn.Verdict]int{}
	for _, one := range r.rules {
		if literalName(one.tool) {
			named := Named{Field: fmt.Sprintf("policy.%s[%d]", one.verdict, n[one.verdict]), Verdict: one.verdict, Tool: one.tool.String()}
			for _, a := range one.args {
				named.Arguments = append(named.Arguments, a.path)
			}
			all = append(all, named)
		}
		n[one.verdict]++
	}
	return all
}

func literalName(g Glob) bool {
	if len(g.pieces) != 1 {
		return false
	}
	_, ok := literal(g.pieces[0])
	return ok
}
