package cli

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/cairn-run/cairn"
)

// gist is what a call does, in a few words, for looking on. What is approved is
// always shown in full.
func gist(tool string, args json.RawMessage) string {
	var a struct {
		Command, Code, Path, Pattern, Method, URL, Question string
		Stop                                                string
	}
	if json.Unmarshal(args, &a) != nil {
		return jsonLine(args, 0)
	}
	text := ""
	switch tool {
	case cairn.BuiltinBash:
		text = a.Command
		if text == "" && a.Stop != "" {
			text = "stop " + a.Stop
		}
	case cairn.BuiltinPython:
		text = a.Code
	case cairn.BuiltinRead, cairn.BuiltinWrite, cairn.BuiltinEdit, cairn.BuiltinList:
		text = a.Path
	case cairn.BuiltinSearch:
		text = strings.TrimSpace(a.Pattern + "  " + a.Path)
	case cairn.BuiltinHTTP:
		method := a.Method
		if method == "" {
			method = "GET"
		}
		text = method + " " + a.URL
	case cairn.BuiltinAskPerson:
		text = a.Question
	}
	if strings.TrimSpace(text) == "" {
		return jsonLine(args, 0)
	}
	lines := strings.Split(strings.TrimSpace(clean(text)), "\n")
	if len(lines) > 1 {
		return oneLine(lines[0], 0) + fmt.Sprintf(" … (%d lines)", len(lines))
	}
	return oneLine(lines[0], 0)
}

// verdict is what a result says of how it went: an exit code, a status, what ran
// out. Empty: nothing special.
func verdict(r *cairn.ToolResult) string {
	if r == nil || len(r.Structured) == 0 {
		return ""
	}
	var s struct {
		Exit     *int `json:"exit_code"`
		Status   *int `json:"status"`
		TimedOut bool `json:"timed_out"`
	}
	if json.Unmarshal(r.Structured, &s) != nil {
		return ""
	}
	switch {
	case s.TimedOut:
		return "timed out"
	case s.Exit != nil && *s.Exit != 0:
		return fmt.Sprintf("exit %d", *s.Exit)
	case s.Status != nil && *s.Status >= 100 && *s.Status < 1000:
		return fmt.Sprintf("status %d", *s.Status)
	}
	return ""
}

// changesText counts files: +2 ~1 -0; empty: none changed.
func changesText(c cairn.Changes) string {
	if c.Added == 0 && c.Modified == 0 && c.Removed == 0 {
		return ""
	}
	return fmt.Sprintf("+%s ~%s -%s", count(int64(c.Added)), count(int64(c.Modified)), count(int64(c.Removed)))
}

// question is what an agent asks a person.
type question struct {
	Text    string
	Options []string
	Context string
}

// questionOf reads a question from the arguments of its call.
func questionOf(args json.RawMessage) question {
	var a struct {
		Question string            `json:"question"`
		Context  string            `json:"context"`
		Options  []json.RawMessage `json:"options"`
	}
	if json.Unmarshal(args, &a) != nil {
		return question{Text: jsonLine(args, 0)}
	}
	q := question{Text: a.Question, Context: a.Context}
	for _, raw := range a.Options {
		var text string
		if json.Unmarshal(raw, &text) != nil {
			text = string(raw)
		}
		if text = oneLine(text, 400); text != "" {
			q.Options = append(q.Options, text)
		}
	}
	if q.Text == "" {
		q.Text = jsonLine(args, 0)
	}
	return q
}
