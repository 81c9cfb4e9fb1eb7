package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cairn-run/cairn"
	v1 "github.com/cairn-run/cairn/api/v1"
)

// prompt puts an ask to the person at the terminal. It is pure: lines go in, an
// answer comes out.
type prompt struct {
	ask  cairn.Ask
	mode promptMode
}

type promptMode int

const (
	modeChoose promptMode = iota
	modeEdit              // other arguments are being typed
	modeReason            // a reason for a refusal is being typed
	modeResult            // the result of a client's tool is being typed
	modeAnswer            // the answer to a question is being typed
)

// answer is what the person said.
type answer struct {
	quit    bool
	verb    cairn.AskVerb // empty: not done yet
	args    json.RawMessage
	result  *v1.Result
	text    string // answer in words
	comment string
	digest  cairn.Digest
}

func newPrompt(a cairn.Ask) *prompt { return &prompt{ask: a} }

// shown are the lines that say what is asked, from the canonical arguments. The
// agent's own words stand apart.
func (p *prompt) shown(s style, loc *time.Location) []string {
	a := p.ask
	lines := []string{"", s.yellow(s.bold(askTitle(a))) + s.dim("  "+word(a.ID))}
	if a.Kind == cairn.AskQuestion {
		return append(lines, questionLines(a, s, loc)...)
	}
	if a.Tool != "" {
		class := ""
		if a.Class != "" {
			class = s.dim(" (" + word(a.Class) + ")")
		}
		lines = append(lines, "  tool      "+oneLine(a.Tool, 64)+class)
	}
	if len(a.Args) > 0 {
		lines = append(lines, "  arguments "+indentJSON(a.Args, "            "))
	}
	if a.Kind == cairn.AskBudget {
		lines = append(lines, fmt.Sprintf("  amount    %s more for the %s", a.Amount, oneLine(a.Scope, 20)))
	}
	if a.Rule != "" {
		lines = append(lines, "  rule      "+oneLine(a.Rule, 200))
	}
	if a.Reason != "" {
		lines = append(lines, "  reason    "+oneLine(a.Reason, 400))
	}
	if a.Prose != "" {
		lines = append(lines, s.dim("  the agent says, in its own words: "+oneLine(a.Prose, 400)))
	}
	if !a.Expires.IsZero() {
		lines = append(lines, s.dim("  open until "+a.Expires.In(loc).Format("2006-01-02 15:04:05")+", then: "+onExpiry(a)))
	}
	return lines
}

// questionLines are the agent's own words, all of them.
func questionLines(a cairn.Ask, s style, loc *time.Location) (lines []string) {
	q := questionOf(a.Args)
	for _, l := range wrapped(cut(strings.TrimSpace(clean(q.Text)), maxShown), 96) {
		lines = append(lines, "  "+s.bold(l))
	}
	for i, o := range q.Options {
		lines = append(lines, fmt.Sprintf("  %s %s", s.cyan(fmt.Sprintf("%2d", i+1)), o))
	}
	if q.Context != "" {
		for _, l := range wrapped(cut(strings.TrimSpace(clean(q.Context)), maxShown), 96) {
			lines = append(lines, s.dim("  "+l))
		}
	}
	if !a.Expires.IsZero() {
		lines = append(lines, s.dim("  open until "+a.Expires.In(loc).Format("2006-01-02 15:04:05")+", then: "+onExpiry(a)))
	}
	return lines
}

// onExpiry says what happens when nobody answers.
func onExpiry(a cairn.Ask) string {
	switch {
	case a.Kind == cairn.AskClientTool:
		return "the call fails"
	case a.Kind == cairn.AskQuestion:
		return "the agent is told that nobody answered"
	case a.OnExpire == "":
		return "reject"
	}
	return oneLine(a.OnExpire, 20)
}

func askTitle(a cairn.Ask) string {
	switch a.Kind {
	case cairn.AskApproval:
		return "May this call be made?"
	case cairn.AskClientTool:
		return "This call is yours to make: what is its result?"
	case cairn.AskUnknown:
		return "Nobody knows whether this call took place. Did it?"
	case cairn.AskBudget:
		return "The budget is spent. May more be spent?"
	case cairn.AskQuestion:
		return "The agent asks:"
	}
	return "An answer is needed"
}

// question is what stands before the cursor.
func (p *prompt) question(s style) string {
	switch p.mode {
	case modeEdit:
		return "arguments as JSON (empty: as they were) > "
	case modeReason:
		return "reason (empty: none) > "
	case modeResult:
		return "result, JSON or text (q: later) > "
	case modeAnswer:
		return p.answerQuestion()
	}
	switch p.ask.Kind {
	case cairn.AskApproval:
		return s.bold("[y]es  [n]o  [e]dit  [q]uit, leave it open") + " > "
	case cairn.AskUnknown:
		return s.bold("[y]es, it took place  [n]o, it did not  [q]uit, leave it open") + " > "
	case cairn.AskQuestion:
		p.mode = modeAnswer
		return p.answerQuestion()
	case cairn.AskClientTool:
		p.mode = modeResult
		return "result, JSON or text (q: later) > "
	}
	return s.bold("[y]es  [n]o  [q]uit, leave it open") + " > "
}

// answerQuestion is what stands before the cursor when a question is answered.
func (p *prompt) answerQuestion() string {
	if n := len(questionOf(p.ask.Args).Options); n > 0 {
		return fmt.Sprintf("1 to %d, or your own words (q: later) > ", n)
	}
	return "your answer (q: later) > "
}

// chosen is the answer that a line stands for: the number of an option, or the
// words themselves.
func (p *prompt) chosen(line string) string {
	options := questionOf(p.ask.Args).Options
	if n, err := strconv.Atoi(line); err == nil && n >= 1 && n <= len(options) && !slices.Contains(options, line) {
		return options[n-1]
	}
	return line
}

// typed takes a line. An error says what was expected; the question is put again.
func (p *prompt) typed(line string) (answer, error) {
	line = strings.TrimSpace(line)
	a := answer{digest: p.ask.Digest}
	switch p.mode {
	case modeReason:
		a.verb, a.comment = cairn.VerbReject, line
		return a, nil
	case modeResult:
		if line == "q" || line == "" {
			a.quit = line == "q"
			return a, nil
		}
		a.verb, a.result = cairn.VerbAnswer, resultOf(line)
		return a, nil
	case modeAnswer:
		if line == "q" || line == "" {
			a.quit = line == "q"
			return a, nil
		}
		a.verb, a.text = cairn.VerbAnswer, p.chosen(line)
		return a, nil
	case modeEdit:
		if line == "" {
			p.mode = modeChoose
			return a, nil
		}
		if err := isObject([]byte(line)); err != nil {
			return a, err
		}
		a.verb, a.args = cairn.VerbEdit, json.RawMessage(line)
		return a, nil
	}
	switch strings.ToLower(line) {
	case "y", "yes":
		a.verb = cairn.VerbApprove
	case "n", "no":
		if p.ask.Kind == cairn.AskUnknown {
			a.verb = cairn.VerbReject
			return a, nil
		}
		p.mode = modeReason
	case "e", "edit":
		if p.ask.Kind != cairn.AskApproval {
			return a, fmt.Errorf("there is nothing to edit: type y, n or q")
		}
		p.mode = modeEdit
	case "q", "quit":
		a.quit = true
	case "":
	default:
		return a, fmt.Errorf("type one of the letters in brackets")
	}
	return a, nil
}

// isObject says what is wrong with the arguments of a call.
func isObject(b []byte) error {
	var v map[string]json.RawMessage
	if err := json.Unmarshal(b, &v); err != nil || v == nil {
		return fmt.Errorf("arguments are a JSON object, like {\"amount\": 5}")
	}
	return nil
}

// resultOf is the result of a client's tool: JSON is kept as JSON.
func resultOf(s string) *v1.Result {
	r := &v1.Result{Content: v1.Text(s)}
	if json.Valid([]byte(s)) {
		r.Structured = json.RawMessage(s)
	}
	return r
}

// indentJSON prints JSON over several lines, made safe for a terminal.
func indentJSON(raw json.RawMessage, prefix string) string {
	var v any
	d := json.NewDecoder(strings.NewReader(string(raw)))
	d.UseNumber()
	if d.Decode(&v) != nil {
		return oneLine(string(raw), 2000)
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent(prefix, "  ")
	if e.Encode(v) != nil {
		return oneLine(string(raw), 2000)
	}
	text := escapeHidden(strings.TrimSuffix(b.String(), "\n"))
	if short := cut(text, maxShown); short != text {
		// Nobody may approve what was not seen without knowing it.
		return short + fmt.Sprintf("\n%s(cut after %s characters: cairn asks --json shows all)", prefix, count(maxShown))
	}
	return text
}

// maxShown is what is shown of arguments, in characters.
const maxShown = 8000
