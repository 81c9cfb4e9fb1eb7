package swe

import (
	"errors"
	"regexp"
	"strconv"
	"strings"
)

// command is an action that SWE-agent's own tools understood.
type command struct {
	name string
	args []string
	// body are the lines between the command and end_of_edit.
	body    []string
	hasBody bool
	// from and to are the lines an edit names; zero: it names none.
	from, to int
}

// own are the commands that SWE-agent brought along and that are recorded here.
var own = map[string]bool{
	"open": true, "create": true, "edit": true, "insert": true, "set_cursors": true, "find_file": true, "submit": true,
}

var lineRange = regexp.MustCompile(`^(\d+):(\d+)$`)

// parse reads an action. Not ok: it is for the shell.
func parse(action string) (c command, ok bool) {
	name, rest, _ := strings.Cut(action, " ")
	if head, body, cut := strings.Cut(name, "\n"); cut {
		name, rest = head, "\n"+body+suffix(rest)
	}
	if !own[name] {
		return command{}, false
	}
	c.name = name
	head := rest
	if name == "edit" && !strings.HasPrefix(strings.TrimLeft(rest, " "), "'") && !strings.HasPrefix(strings.TrimLeft(rest, " "), `"`) {
		var body string
		head, body, c.hasBody = strings.Cut(rest, "\n")
		if c.hasBody {
			c.body = bodyOf(body)
		}
	}
	args, err := words(head)
	if err != nil {
		return command{}, false // the shell will say what is wrong with it
	}
	c.args = args
	if len(args) > 0 {
		if m := lineRange.FindStringSubmatch(args[0]); m != nil {
			c.from, _ = strconv.Atoi(m[1]) // digits; one that is too large stays 0 and names nothing
			c.to, _ = strconv.Atoi(m[2])
			c.args = args[1:]
		}
	}
	return c, true
}

func suffix(rest string) string {
	if rest == "" {
		return ""
	}
	return " " + rest
}

// bodyOf are the lines before end_of_edit.
func bodyOf(s string) []string {
	var body []string
	for l := range strings.SplitSeq(strings.TrimSuffix(s, "\n"), "\n") {
		if l == "end_of_edit" {
			break
		}
		body = append(body, l)
	}
	return body
}

var errQuote = errors.New("swe: a quote is open")

// words splits a line as a shell does, without expansions.
func words(s string) ([]string, error) {
	var out []string
	var word strings.Builder
	in, quote := false, byte(0)
	for i := 0; i < len(s); i++ {
		b := s[i]
		switch {
		case quote == '\'' && b != '\'', quote == '"' && b != '"' && b != '\\':
			word.WriteByte(b)
		case quote != 0 && b == quote:
			quote = 0
		case b == '\\':
			if i+1 == len(s) {
				return nil, errQuote
			}
			i++
			if quote == '"' && !strings.ContainsRune("\"\\$`\n", rune(s[i])) {
				word.WriteByte('\\')
			}
			word.WriteByte(s[i])
			in = true
		case b == '\'' || b == '"':
			quote, in = b, true
		case b == ' ' || b == '\t' || b == '\n':
			if in {
				out = append(out, word.String())
				word.Reset()
				in = false
			}
		default:
			word.WriteByte(b)
			in = true
		}
	}
	if quote != 0 {
		return nil, errQuote
	}
	if in {
		out = append(out, word.String())
	}
	return out, nil
}
