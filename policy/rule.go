package policy

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/cairn-run/cairn"
)

// maxRule bounds the length of one rule, in bytes.
const maxRule = 4096

// rule is one compiled line of a policy.
type rule struct {
	verdict cairn.Verdict
	text    string
	tool    Glob
	whole   *Glob      // "tool:glob"
	args    []argument // "tool:name=glob,name=glob": all of them
}

// argument is one "name=glob" of a rule.
type argument struct {
	path string
	glob Glob
}

var (
	toolPattern = regexp.MustCompile(`^[A-Za-z0-9_*?-]+$`)
	// argStart is where an argument of a rule begins: a name, perhaps dotted, and '='.
	argStart = regexp.MustCompile(`^` + argName + `=`)
	// What is written by those who expect comparisons, or blanks that do not count.
	// Each would be a glob that matches no call, so the rule would be got past.
	comparison  = regexp.MustCompile(`^(` + argName + `)\s*(?:(>=|<=|!=)|([<>])\s*[-+$]?[0-9])`)
	blankEquals = regexp.MustCompile(`^(` + argName + `)\s+=`)
	blankStart  = regexp.MustCompile(`^\s+` + argName + `\s*(?:[<>!]?=|[<>]\s*[-+$]?[0-9])`)
)

// argName is the name of an argument, perhaps dotted.
const argName = `[A-Za-z_][A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]+)*`

// parseRule reads one rule.
func parseRule(v cairn.Verdict, s string) (rule, error) {
	r := rule{verdict: v, text: s}
	if len(s) > maxRule {
		return r, fmt.Errorf("longer than %d bytes", maxRule)
	}
	if strings.Contains(s, " when ") {
		return r, fmt.Errorf(`conditions ("… when …") are not available in this build; write an argument glob instead, ` +
			`for example "refunds_create:currency=USD" or "bash:git push*", or put the whole tool under ask ` +
			`(a glob that needs these words writes them "\ when ")`)
	}
	tool, rest, args := strings.Cut(s, ":")
	if !toolPattern.MatchString(tool) {
		return r, fmt.Errorf(`%q is not the name of a tool; write "tool", "tool:glob" or "tool:argument=glob", the tool with letters, digits, '_', '-', '*' and '?'`, tool)
	}
	var err error
	if r.tool, err = CompileGlob(tool); err != nil {
		return r, err
	}
	if !args {
		return r, nil
	}
	if rest == "" {
		return r, fmt.Errorf(`nothing after "%s:"; write a glob over the arguments, or the tool alone for every call of it`, tool)
	}
	if start := strings.TrimLeft(rest, " \t\r\n"); start != rest {
		return r, fmt.Errorf(`a space after "%s:"; write "%s:%s" (a glob that starts with a space writes it "\ ")`, tool, tool, start)
	}
	if err := misread(rest); err != nil {
		return r, err
	}
	if !argStart.MatchString(rest) {
		g, err := CompileGlob(rest)
		r.whole = &g
		return r, err
	}
	for _, part := range split(rest) {
		name, glob, _ := strings.Cut(part, "=")
		g, err := CompileGlob(glob)
		if err != nil {
			return r, err
		}
		r.args = append(r.args, argument{name, g})
	}
	return r, nil
}

// misread refuses what looks like a comparison or like arguments with spaces
// between them: at the start, and in a list of arguments after each comma.
func misread(rest string) error {
	if err := misreadArgument(rest); err != nil || !argStart.MatchString(rest) {
		return err
	}
	for i := 0; i < len(rest); i++ {
		switch rest[i] {
		case '\\':
			i++
		case ',':
			next := rest[i+1:]
			if blankStart.MatchString(next) {
				return fmt.Errorf(`a space before %q; write no space after the comma between two arguments (a comma that belongs to the glob is written "\,")`, strings.TrimSpace(next))
			}
			if err := misreadArgument(next); err != nil {
				return err
			}
		}
	}
	return nil
}

func misreadArgument(s string) error {
	if m := comparison.FindStringSubmatch(s); m != nil {
		sign := m[2] + m[3]
		return fmt.Errorf(`there is no %q: rules are globs and numbers are matched as text; write for example "%s=?????*" for a whole number of five digits or more `+
			`(a glob that needs the sign writes a backslash before it)`, sign, m[1])
	}
	if m := blankEquals.FindStringSubmatch(s); m != nil {
		return fmt.Errorf(`a space before "="; write "%s=glob" (a glob that needs both writes "\=")`, m[1])
	}
	return nil
}

// split cuts "a=x,b=y" before each name; other commas belong to the glob they stand in.
func split(s string) []string {
	var parts []string
	start := 0
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\':
			i++
		case s[i] == ',' && argStart.MatchString(s[i+1:]):
			parts = append(parts, s[start:i])
			start = i + 1
		}
	}
	return append(parts, s[start:])
}

// strict says that the rule asks or denies: it must not be got past, so it
// matches broadly. A rule that allows matches narrowly.
func (r *rule) strict() bool { return r.verdict != cairn.VerdictAllow }

// looksInside says that the rule depends on the arguments.
func (r *rule) looksInside() bool { return r.whole != nil || len(r.args) > 0 }

// matches says whether the rule, whose tool is the called one, applies to the
// arguments. args is nil when they could not be read: then a strict rule applies
// and one that allows does not.
func (r *rule) matches(args any) bool {
	if !r.looksInside() {
		return true
	}
	if args == nil {
		return r.strict()
	}
	if r.whole != nil {
		if r.strict() {
			return suspect(*r.whole, args)
		}
		if s, ok := onlyString(args); ok && r.whole.Match(s) {
			return true
		}
		return r.whole.Match(text(args))
	}
	for _, a := range r.args {
		var ok bool
		if r.strict() {
			ok = anywhere(args, a.path, func(v any) bool { return suspect(a.glob, v) })
		} else {
			ok = exactly(args, strings.Split(a.path, "."), func(v any) bool { return a.glob.Match(text(v)) })
		}
		if !ok {
			return false
		}
	}
	return true
}
