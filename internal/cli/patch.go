package cli

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// lineCount is how many lines of a file were added and removed.
type lineCount struct{ added, removed int }

// patchPrinter reads a patch as it comes: it counts the lines of every file, and
// shows it coloured and safe for a terminal, or passes it on as it is.
type patchPrinter struct {
	style  style
	out    io.Writer // for people; nil: not
	raw    io.Writer // as it is; nil: not
	counts map[string]lineCount

	line     []byte // that is not whole yet
	old, new int    // lines of the hunk that are still to come
	from     string // name in the line of the old file
	name     string
	binary   bool
}

// longLine is how much of one line is kept for showing and counting, in bytes.
const longLine = 64 << 10

// Write takes a piece of the patch.
func (p *patchPrinter) Write(b []byte) (int, error) {
	if p.raw != nil {
		if _, err := p.raw.Write(b); err != nil {
			return 0, err
		}
	}
	for rest := b; len(rest) > 0; {
		i := bytes.IndexByte(rest, '\n')
		piece := rest
		if i >= 0 {
			piece = rest[:i]
		}
		if room := longLine - len(p.line); room > 0 {
			p.line = append(p.line, piece[:min(room, len(piece))]...)
		}
		if i < 0 {
			break
		}
		rest = rest[i+1:]
		if err := p.whole(); err != nil {
			return 0, err
		}
	}
	return len(b), nil
}

// end takes a last line without a line break.
func (p *patchPrinter) end() error {
	if len(p.line) == 0 {
		return nil
	}
	return p.whole()
}

// whole takes a line.
func (p *patchPrinter) whole() error {
	line := string(p.line)
	p.line = p.line[:0]
	paint := p.read(line)
	if p.out == nil {
		return nil
	}
	_, err := fmt.Fprintln(p.out, paint(strings.ReplaceAll(clean(withoutEscapes(line)), "\n", "")))
	return err
}

// read counts a line and says in what colour it is shown. Inside a hunk its length
// decides, so that no content is taken for a header.
func (p *patchPrinter) read(line string) func(string) string {
	s := p.style
	plain := func(t string) string { return t }
	if p.old > 0 || p.new > 0 {
		switch {
		case strings.HasPrefix(line, "+"):
			p.new--
			p.add(lineCount{added: 1})
			return s.green
		case strings.HasPrefix(line, "-"):
			p.old--
			p.add(lineCount{removed: 1})
			return s.red
		case strings.HasPrefix(line, `\`):
			return s.dim
		}
		p.old, p.new = p.old-1, p.new-1
		return plain
	}
	switch {
	case strings.HasPrefix(line, "diff --git "):
		p.name, p.from, p.binary = "", "", false
		return s.bold
	case p.binary:
		return s.dim
	case strings.HasPrefix(line, "--- "):
		p.from = patchName(line[4:], "a/")
		return s.bold
	case strings.HasPrefix(line, "+++ "):
		if p.name = patchName(line[4:], "b/"); p.name == "" {
			p.name = p.from
		}
		return s.bold
	case strings.HasPrefix(line, "@@ "):
		p.old, p.new = hunk(line)
		return s.cyan
	case strings.HasPrefix(line, "GIT binary patch"), strings.HasPrefix(line, "Binary files "):
		p.binary = true
	}
	return s.dim
}

func (p *patchPrinter) add(n lineCount) {
	if p.name == "" {
		return
	}
	if p.counts == nil {
		p.counts = map[string]lineCount{}
	}
	c := p.counts[p.name]
	p.counts[p.name] = lineCount{c.added + n.added, c.removed + n.removed}
}

// patchName is the name in a line of a patch; empty: there is no file.
func patchName(s, prefix string) string {
	if strings.HasPrefix(s, `"`) {
		if name, err := strconv.Unquote(s); err == nil {
			s = name
		}
	} else {
		s = strings.TrimSuffix(s, "\t") // git ends a name with spaces in it so
	}
	if s == "/dev/null" {
		return ""
	}
	return strings.TrimPrefix(s, prefix)
}

// hunk reads how many lines of either file a hunk has.
func hunk(line string) (old, now int) {
	fields := strings.Fields(line)
	if len(fields) < 4 || fields[3] != "@@" {
		return 0, 0
	}
	return hunkLines(fields[1]), hunkLines(fields[2])
}

func hunkLines(s string) int {
	_, n, ok := strings.Cut(s, ",")
	if !ok {
		return 1
	}
	lines, err := strconv.Atoi(n)
	if err != nil || lines < 0 {
		return 0
	}
	return lines
}
