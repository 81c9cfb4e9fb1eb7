package hand

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
)

const (
	defaultLines = 2000 // of one read
	maxLines     = 10_000
	maxLine      = 2000    // bytes of a line that are shown
	maxScan      = 1 << 30 // bytes of a file that are looked at
	maxCount     = 64 << 20
)

type readArgs struct {
	Path   string `json:"path"`
	Offset int    `json:"offset"` // first line, from 1; negative: from the end
	Limit  int    `json:"limit"`
}

// readFacts is the structured form of a read.
type readFacts struct {
	Path  string `json:"path"`
	Bytes int64  `json:"bytes"`
	From  int    `json:"from,omitzero"`
	To    int    `json:"to,omitzero"`
	Lines int    `json:"lines,omitzero"` // of the whole file; absent: not counted
	Kind  string `json:"kind,omitzero"`  // of a file that is no text
}

// read shows lines of a text file with their numbers.
func (f *files) read(a readArgs, r Request) (Response, error) {
	p, err := f.resolve(a.Path)
	if err != nil {
		return Response{}, err
	}
	file, info, err := f.openRegular(p)
	if err != nil {
		return Response{}, err
	}
	defer func() { _ = file.Close() }() // read only
	in := bufio.NewReaderSize(file, 64<<10)
	head, err := in.Peek(binaryHead)
	if err != nil && !errors.Is(err, io.EOF) {
		return Response{}, f.explain(p, err)
	}
	facts := readFacts{Path: p, Bytes: info.Size()}
	if knownBinary(head) {
		facts.Kind = describe(head)
		text := fmt.Sprintf("[%s is no text: %s, %s. Look at it with a program in bash.]", p, facts.Kind, size(info.Size()))
		return Response{Text: text, Structured: structured(facts)}, nil
	}
	if len(head) == 0 {
		return Response{Text: fmt.Sprintf("[%s is empty]", p), Structured: structured(facts)}, nil
	}
	if strings.HasPrefix(string(head[:min(3, len(head))]), bom) {
		_, _ = in.Discard(len(bom)) // it was peeked at
	}
	if a.Limit <= 0 {
		a.Limit = defaultLines
	}
	if a.Offset == 0 {
		a.Offset = 1
	}
	a.Limit, a.Offset = min(a.Limit, maxLines), max(a.Offset, -maxLines)
	lines, err := readLines(in, a.Offset, a.Limit, r.Max, maxScan)
	if err != nil {
		return Response{}, f.explain(p, err)
	}
	return lines.response(facts, a.Offset)
}

// response shows the section; offset is the line that was asked for.
func (s *section) response(facts readFacts, offset int) (Response, error) {
	switch {
	case !s.counted && (offset < 0 || len(s.text) == 0):
		return Response{}, fmt.Errorf("%s has %s, too much to count its lines up to there; look at its end with tail in bash", facts.Path, size(facts.Bytes))
	case len(s.text) == 0:
		return Response{}, fmt.Errorf("%s has %s; there is no line %d", facts.Path, count(s.total, "line"), offset)
	}
	var b strings.Builder
	for i, line := range s.text {
		numbered(&b, s.from+i, line)
	}
	facts.From, facts.To = s.from, s.from+len(s.text)-1
	if s.counted {
		facts.Lines = s.total
	}
	for _, note := range s.notes(facts) {
		fmt.Fprintf(&b, "[%s]\n", note)
	}
	return Response{Text: b.String(), Structured: structured(facts)}, nil
}

// section is a piece of a text, by lines.
type section struct {
	text    []string
	from    int
	total   int  // lines that were counted
	counted bool // total is of the whole file
	ended   bool // the last line shown is the last there is
	full    bool // the bound on bytes was reached
	cutOff  int  // lines that were shortened
	crlf    int  // lines that end with CR LF
	invalid bool // not UTF-8, or with NUL bytes
	noEnd   bool // the last line of the file has no line end
}

// notes say what a reader could not see from the lines.
func (s *section) notes(facts readFacts) []string {
	var notes []string
	switch {
	case s.ended && facts.From == 1:
	case s.ended:
		notes = append(notes, fmt.Sprintf("the file ends here: %s", count(s.total, "line")))
	case s.counted:
		notes = append(notes, fmt.Sprintf("lines %d to %d of %d; read on with offset %d", facts.From, facts.To, s.total, facts.To+1))
	default:
		notes = append(notes, fmt.Sprintf("lines %d to %d; the file goes on (%s in all); read on with offset %d", facts.From, facts.To, size(facts.Bytes), facts.To+1))
	}
	if s.cutOff > 0 {
		notes = append(notes, fmt.Sprintf("%s longer than %d bytes cut off; see them whole with bash: sed -n Np FILE | fold", count(s.cutOff, "line"), maxLine))
	}
	if s.crlf > 0 {
		notes = append(notes, "lines end with CR LF")
	}
	if s.invalid {
		notes = append(notes, "not plain UTF-8: the bytes shown as \uFFFD are others in the file")
	}
	if s.noEnd && s.ended {
		notes = append(notes, "no line end after the last line")
	}
	return notes
}

// readLines takes limit lines from line offset on; a negative offset counts from
// the end. At most maximum bytes are taken, and at least one line; about scan bytes
// are looked at.
func readLines(in *bufio.Reader, offset, limit, maximum int, scan int64) (*section, error) {
	s := &section{from: max(offset, 1)}
	var ring []lineRead // the last lines, for a negative offset
	n, used := 0, 0
	var scanned int64
	for {
		line, length, whole, err := oneLine(in)
		scanned += length
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		if length > 0 {
			n++
			last := errors.Is(err, io.EOF)
			text := strings.TrimSuffix(line, "\n")
			if strings.HasSuffix(text, "\r") && !last {
				text = text[:len(text)-1]
			}
			if offset < 0 {
				if ring = append(ring, lineRead{text, line, whole, last}); len(ring) > -offset {
					ring = ring[1:]
				}
			} else if n >= offset && !s.full && len(s.text) < limit {
				if len(s.text) > 0 && used+len(text)+8 > maximum {
					s.full = true
				} else {
					s.take(text, line, whole)
					used += len(text) + 8
					s.noEnd = last
				}
			}
		}
		if errors.Is(err, io.EOF) {
			s.counted = true
			break
		}
		if offset > 0 && (s.full || len(s.text) >= limit) && scanned > maxCount || scanned > scan {
			break
		}
	}
	s.total = n
	if offset < 0 {
		s.from = n - len(ring) + 1
		for _, l := range ring[:min(limit, len(ring))] {
			if used += len(l.text) + 8; used > maximum && len(s.text) > 0 {
				break
			}
			s.take(l.text, l.line, l.whole)
			s.noEnd = l.last
		}
	}
	s.ended = s.counted && s.from+len(s.text)-1 == n
	return s, nil
}

// lineRead is a line as oneLine reads it, and the text of it.
type lineRead struct {
	text, line  string
	whole, last bool
}

func (s *section) take(text, line string, whole bool) {
	if strings.HasSuffix(line, "\r\n") {
		s.crlf++
	}
	if !whole || len(text) > maxLine {
		s.cutOff++
		text = cut(text, maxLine) + "…"
	}
	if !isPlain(text) {
		s.invalid = true
		text = plain(text)
	}
	s.text = append(s.text, text)
}

// oneLine reads one line with its end, but keeps no more of it than is shown.
func oneLine(in *bufio.Reader) (line string, length int64, whole bool, err error) {
	var kept []byte
	whole = true
	for {
		piece, err := in.ReadSlice('\n')
		length += int64(len(piece))
		if room := 2*maxLine - len(kept); room > 0 {
			kept = append(kept, piece[:min(room, len(piece))]...)
			whole = whole && len(piece) <= room
		} else if len(piece) > 0 {
			whole = false
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		return string(kept), length, whole, err
	}
}
