package swe

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// Result is what a tool answered.
type Result struct {
	// Output is what the command printed; of a tool that is no command, its text.
	Output   string
	IsError  bool
	TimedOut bool
}

// Compare holds a result against what was recorded. It returns "" if they agree, or
// what differs; results of KindDiffers always agree.
func (d *Decision) Compare(r Result) string {
	want, got := strings.TrimSpace(d.Want.Text), strings.TrimSpace(r.Output)
	differs := func(want, got string) string {
		if want == got {
			return ""
		}
		return fmt.Sprintf("recorded was\n%s\nand now it is\n%s", cut(want), cut(got))
	}
	if r.TimedOut != (d.Want.Kind == KindTimedOut) && d.Want.Kind != KindDiffers {
		return fmt.Sprintf("timed out: %v", r.TimedOut)
	}
	switch d.Want.Kind {
	case KindOutput:
		return differs(want, got)
	case KindNames:
		return differs(names(want), names(got))
	case KindRaised:
		return differs(raised(want), raised(got))
	case KindPatch:
		return differs(want, got)
	case KindHunks:
		return differs(hunks(want), hunks(got))
	case KindRefused:
		return differs(mistakes(want), mistakes(got))
	case KindDone:
		if r.IsError {
			return "it was accepted when it was recorded, and now: " + cut(got)
		}
	case KindLines:
		return d.compareLines(r)
	case KindTimedOut, KindDiffers:
	}
	return ""
}

func (d *Decision) compareLines(r Result) string {
	w, ok := shown(d.Want.Text)
	if !ok {
		return "the recording shows no lines"
	}
	if r.IsError {
		return "lines were shown when it was recorded, and now: " + cut(r.Output)
	}
	got := numbered(r.Output)
	for _, n := range slices.Sorted(maps.Keys(w.lines)) {
		if l, ok := got[n]; !ok || l != w.lines[n] {
			return fmt.Sprintf("line %d was %q, and now it is %q", n, w.lines[n], l)
		}
	}
	return ""
}

func names(s string) string {
	list := strings.Fields(s)
	slices.Sort(list)
	return strings.Join(list, "\n")
}

// raised is the class of the exception in the last line of a traceback.
func raised(s string) string {
	class, _, _ := strings.Cut(s[strings.LastIndexByte(s, '\n')+1:], ":")
	return class
}

var hashes = regexp.MustCompile(`(?m)^index [0-9a-f]+\.\.[0-9a-f]+`)

func hunks(s string) string { return hashes.ReplaceAllString(s, "index") }

// mistake is a line of a linter: E999 with the class of the error, whose words
// depend on the version of Python; F821 with the name.
var mistake = regexp.MustCompile(`(?m)^- (E999 [A-Za-z]+|F821 .*)`)

func mistakes(s string) string { return strings.Join(mistake.FindAllString(s, -1), "\n") }

func cut(s string) string {
	if len(s) > 1000 {
		return s[:500] + "\n…\n" + s[len(s)-500:]
	}
	return s
}
