package cli

import (
	"strings"
	"testing"
)

// terminal keeps what a terminal of so many columns would show, for the few
// sequences that a screen writes.
type terminal struct {
	width    int
	rows     [][]string // a cell is what one character of text is, with its colours
	row, col int
}

func (t *terminal) at() *[]string {
	for len(t.rows) <= t.row {
		t.rows = append(t.rows, nil)
	}
	return &t.rows[t.row]
}

func (t *terminal) Write(p []byte) (int, error) {
	each := string(p)
	for each != "" {
		switch {
		case strings.HasPrefix(each, "\x1b["):
			end := strings.IndexFunc(each[2:], func(r rune) bool { return r >= 0x40 && r <= 0x7e }) + 2
			t.sequence(each[2:end], each[end])
			each = each[end+1:]
			continue
		case each[0] == '\r':
			t.col = 0
		case each[0] == '\n':
			t.row, t.col = t.row+1, 0
		default:
			r := []rune(each)[0]
			if t.col >= t.width {
				t.row, t.col = t.row+1, 0
			}
			cells := t.at()
			for len(*cells) <= t.col {
				*cells = append(*cells, " ")
			}
			(*cells)[t.col] = string(r)
			t.col += runeWidth(r)
			each = each[len(string(r)):]
			continue
		}
		each = each[1:]
	}
	return len(p), nil
}

func (t *terminal) sequence(args string, kind byte) {
	switch kind {
	case 'A':
		n := 0
		for _, d := range args {
			n = 10*n + int(d-'0')
		}
		t.row = max(t.row-n, 0)
	case 'J', 'K':
		cells := t.at()
		*cells = (*cells)[:min(len(*cells), t.col)]
		if kind == 'J' {
			t.rows = t.rows[:t.row+1]
		}
	}
}

// shown is what stands on the terminal.
func (t *terminal) shown() string {
	var out []string
	for _, r := range t.rows {
		out = append(out, strings.TrimRight(strings.Join(r, ""), " "))
	}
	return strings.TrimRight(strings.Join(out, "|"), "|")
}

// TestScreen: whatever stands below, the lines above it are all there, once.
func TestScreen(t *testing.T) {
	t.Parallel()
	term := &terminal{width: 20}
	s := &screen{w: term, live: true, width: func() int { return term.width }}
	for _, c := range []struct {
		do   func()
		want string
	}{
		{func() { s.lines("one") }, "one"},
		{func() { s.show([]string{"busy"}) }, "one|busy"},
		{func() { s.show([]string{"very busy", "and more"}) }, "one|very busy|and more"},
		{func() { s.lines("two", "three") }, "one|two|three|very busy|and more"},
		{func() { s.replace([]string{"four"}, []string{"calm"}) }, "one|two|three|four|calm"},
		{func() { s.show([]string{"\x1b[2ma\x1b[0m", "b", "c"}) }, "one|two|three|four|a|b|c"},
		{func() { s.show([]string{"d"}) }, "one|two|three|four|d"},
		{func() { s.ask("sure? ") }, "one|two|three|four|sure?"},
		{func() { s.lines("five") }, "one|two|three|four|five|sure?"},
		{func() { s.show([]string{"not now"}) }, "one|two|three|four|five|sure?"},
		{func() { s.leave() }, "one|two|three|four|five|sure?"},
		{func() { s.show([]string{"on"}) }, "one|two|three|four|five|sure?|on"},
		{func() { s.show(nil) }, "one|two|three|four|five|sure?"},
	} {
		c.do()
		if got := term.shown(); got != c.want {
			t.Fatalf("shown %q, want %q", got, c.want)
		}
	}
}

// TestScreenNarrower: a block drawn when the terminal was wider is taken away
// whole, where the terminal has broken its lines.
func TestScreenNarrower(t *testing.T) {
	t.Parallel()
	term := &terminal{width: 10}
	s := &screen{w: term, live: true, width: func() int { return 40 }}
	s.lines("above")
	s.show([]string{"12345678901234", "short"}) // the terminal is 10 columns wide already
	s.width = func() int { return 10 }
	s.show([]string{"new"})
	if got := term.shown(); got != "above|new" {
		t.Errorf("shown %q", got)
	}
}

// TestScreenPlain: where nothing is drawn anew, there are only lines.
func TestScreenPlain(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	s := &screen{w: &b, width: func() int { return 80 }}
	s.show([]string{"busy"})
	s.lines("one")
	s.ask("sure? ")
	s.lines("two")
	s.answered()
	s.lines("three")
	if want := "one\nsure? \ntwo\nsure? three\n"; b.String() != want {
		t.Errorf("wrote %q, want %q", b.String(), want)
	}
}
