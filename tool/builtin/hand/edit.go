package hand

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
)

const (
	maxEditFile = 16 << 20 // bytes of a file that is edited
	maxEdits    = 100
	maxDiff     = 8 << 10 // bytes of the difference that is shown
)

type editArgs struct {
	Path  string        `json:"path"`
	Edits []replacement `json:"edits"`
}

// replacement is one exact replacement in a text.
type replacement struct {
	Old string `json:"old_text"`
	New string `json:"new_text"`
	All bool   `json:"replace_all"`
}

// editFacts is the structured form of an edit.
type editFacts struct {
	Path         string `json:"path"`
	Replacements int    `json:"replacements"`
	Bytes        int    `json:"bytes"`
}

// edit makes all replacements, each on the outcome of those before it, or none.
func (f *files) edit(a editArgs, _ Request) (Response, error) {
	p, err := f.resolve(a.Path)
	if err != nil {
		return Response{}, err
	}
	if len(a.Edits) == 0 || len(a.Edits) > maxEdits {
		return Response{}, fmt.Errorf("give 1 to %d edits", maxEdits)
	}
	t, err := f.target(p)
	if err != nil {
		return Response{}, err
	}
	if t.info == nil {
		return Response{}, fmt.Errorf("%w; a new file is made with write", f.explain(p, fs.ErrNotExist))
	}
	old, err := f.content(p, t)
	if err != nil {
		return Response{}, err
	}
	edited, n, err := apply(old, p, a.Edits)
	if err != nil {
		return Response{}, err
	}
	facts := editFacts{Path: p, Replacements: n, Bytes: len(edited)}
	if edited == old {
		why := "the edits cancel each other out"
		if strings.Contains(old, "\r\n") {
			why += ", or differ in line ends only, and an edit keeps those of the file (CR LF); to change them use a program in bash"
		}
		return Response{Text: p + " is as it was: " + why, Structured: structured(facts)}, nil
	}
	if err := f.replace(t, []byte(edited)); err != nil {
		return Response{}, err
	}
	text := fmt.Sprintf("edited %s (%s)\n%s", p, count(n, "replacement"), unified(strings.TrimPrefix(old, bom), strings.TrimPrefix(edited, bom), maxDiff))
	return Response{Text: text, Structured: structured(facts)}, nil
}

// content reads the whole of a text file.
func (f *files) content(p string, t target) (string, error) {
	if t.info.Size() > maxEditFile {
		return "", fmt.Errorf("%s has %s, more than edit takes (%s); change it with a program in bash", p, size(t.info.Size()), size(maxEditFile))
	}
	file, _, err := f.openRegular(t.path)
	if err != nil {
		return "", err
	}
	defer func() { _ = file.Close() }() // read only
	b, err := io.ReadAll(io.LimitReader(file, maxEditFile+1))
	if err != nil {
		return "", f.explain(p, err)
	}
	if len(b) > maxEditFile {
		return "", fmt.Errorf("%s grew while it was read", p)
	}
	if isBinary(b) {
		return "", fmt.Errorf("%s is no text (%s); change it with a program in bash", p, describe(b))
	}
	return string(b), nil
}

// apply makes the replacements in a text. A byte order mark is no part of what is
// looked at, and a line end of the text written as CR LF matches "\n".
func apply(text, name string, edits []replacement) (string, int, error) {
	body, mark := strings.CutPrefix(text, bom)
	n := 0
	for i, e := range edits {
		which := ""
		if len(edits) > 1 {
			which = fmt.Sprintf("edit %d of %d: ", i+1, len(edits))
		}
		fail := func(format string, args ...any) error {
			why := which + fmt.Sprintf(format, args...)
			if len(edits) > 1 {
				why += "\nNone of the edits was made."
			}
			return errors.New(why)
		}
		// A mark in old_text is that of the file, unless there is another one.
		marked := mark && strings.HasPrefix(e.Old, bom) && !strings.Contains(body, e.Old)
		if marked {
			e.Old, e.New = strings.TrimPrefix(e.Old, bom), strings.TrimPrefix(e.New, bom)
		}
		if e.Old == "" {
			return "", 0, fail("old_text is empty; give the text to replace, or use write for a whole file")
		}
		if e.Old == e.New {
			return "", 0, fail("old_text and new_text are the same")
		}
		found := matches(body, e.Old)
		if marked && len(found) > 0 {
			found = found[:1]
			if found[0].from > 0 {
				found = nil
			}
		}
		switch {
		case len(found) == 0:
			after := ""
			if i > 0 {
				after = " (after the edits before it)"
			}
			return "", 0, fail("old_text is not in %s%s.%s", name, after, missing(body, e.Old))
		case len(found) > 1 && !e.All:
			return "", 0, fail("old_text stands in %s %d times, in lines %s. Give more of the lines around the one you mean, or set replace_all.", name, len(found), linesOf(body, found))
		}
		var b strings.Builder
		b.Grow(len(body))
		from := 0
		for _, m := range found {
			b.WriteString(body[from:m.from])
			text := withLineEnds(e.New, body, m)
			if mark && m.from == 0 { // it is there already, and stays
				text = strings.TrimPrefix(text, bom)
			}
			b.WriteString(text)
			from = m.to
			if b.Len() > maxEditFile {
				return "", 0, fail("the file would be larger than %s", size(maxEditFile))
			}
		}
		b.WriteString(body[from:])
		if b.Len() > maxEditFile {
			return "", 0, fail("the file would be larger than %s", size(maxEditFile))
		}
		body = b.String()
		n += len(found)
	}
	if mark {
		body = bom + body
	}
	return body, n, nil
}

// span is a piece of a text: bytes from to to.
type span struct{ from, to int }

// matches finds where a text stands in another, left to right and without overlap.
// Line ends are compared as such, so that none is cut in two.
func matches(body, old string) []span {
	if !strings.Contains(body, "\r\n") && !strings.Contains(old, "\r\n") {
		return literal(body, old)
	}
	plain, removed := withoutCR(body)
	old, _ = withoutCR(old)
	found := literal(plain, old)
	at, shift := 0, 0 // removed[:shift] lie before the place looked at
	original := func(i int) int {
		for at = i; shift < len(removed) && removed[shift] < at; shift++ {
		}
		return at + shift
	}
	for i := range found {
		found[i].from = original(found[i].from)
		found[i].to = original(found[i].to)
	}
	return found
}

func literal(body, old string) []span {
	var found []span
	for from := 0; ; {
		i := strings.Index(body[from:], old)
		if i < 0 {
			return found
		}
		found = append(found, span{from + i, from + i + len(old)})
		from += i + len(old)
	}
}

// withoutCR makes "\n" of "\r\n"; removed are the places in the new text of the
// line ends that lost their CR.
func withoutCR(s string) (plain string, removed []int) {
	if !strings.Contains(s, "\r\n") {
		return s, nil
	}
	b := make([]byte, 0, len(s))
	for i := range len(s) {
		if s[i] == '\r' && i+1 < len(s) && s[i+1] == '\n' {
			removed = append(removed, len(b))
			continue
		}
		b = append(b, s[i])
	}
	return string(b), removed
}

// withLineEnds gives a new text the line ends of what it replaces, or if that has
// none, those of most lines of the file.
func withLineEnds(text, body string, m span) string {
	if !strings.Contains(text, "\n") {
		return text
	}
	region := body[m.from:m.to]
	crlf := strings.Contains(region, "\r\n")
	if !crlf && !strings.Contains(region, "\n") {
		n := strings.Count(body, "\r\n")
		crlf = n > strings.Count(body, "\n")-n
	}
	if !crlf {
		return text
	}
	plain, _ := withoutCR(text)
	return strings.ReplaceAll(plain, "\n", "\r\n")
}

// linesOf names the lines in which matches begin, the first twenty of them.
func linesOf(body string, found []span) string {
	var b strings.Builder
	line, at := 1, 0
	for i, m := range found {
		if i == 20 {
			fmt.Fprintf(&b, " and %d more", len(found)-i)
			break
		}
		line += strings.Count(body[at:m.from], "\n")
		at = m.from
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%d", line)
	}
	return b.String()
}
