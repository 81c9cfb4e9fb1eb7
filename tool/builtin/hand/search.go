package hand

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"regexp"
	"regexp/syntax"
	"strings"
	"time"
)

const (
	defaultMatches = 200
	maxMatches     = 1000
	maxContext     = 10
	maxSearchFile  = 8 << 20 // bytes: larger files are not searched
	maxWalk        = 500_000 // entries that are looked at
	maxWalkDepth   = 64
	maxPattern     = 10_000 // bytes
	maxShownLine   = 300    // bytes of a line that are shown
	// maxProgram bounds the instructions of a compiled pattern. Repetitions make many out
	// of few characters, and each may be looked at for each byte.
	maxProgram = 5000
	// maxSteps bounds the instructions times the bytes of one line: of a longer one only
	// the beginning is searched. It takes seconds.
	maxSteps = 1 << 29
	// looks is after how many steps the clock is looked at.
	looks = 1 << 24
)

type searchArgs struct {
	Pattern    string   `json:"pattern"`
	Path       string   `json:"path"`
	Literal    bool     `json:"literal"`
	IgnoreCase bool     `json:"ignore_case"`
	Include    []string `json:"include"`
	Exclude    []string `json:"exclude"`
	Context    int      `json:"context"`
	FilesOnly  bool     `json:"files_only"`
	Limit      int      `json:"limit"`
	All        bool     `json:"all"`
}

// searchFacts is the structured form of a search.
type searchFacts struct {
	Matches  int  `json:"matches"` // that are shown
	Files    int  `json:"files"`   // with matches
	Searched int  `json:"searched"`
	More     bool `json:"more,omitzero"`
	Binary   int  `json:"binary,omitzero"`
	Large    int  `json:"large,omitzero"`
	Ignored  int  `json:"ignored,omitzero"`
	Unread   int  `json:"unread,omitzero"` // directories that were not searched to their end
	Closed   int  `json:"closed,omitzero"` // files that could not be read
	Cut      int  `json:"cut,omitzero"`    // lines that were not searched to their end
	TimedOut bool `json:"timed_out,omitzero"`
}

// searcher looks through files.
type searcher struct {
	*files
	args             searchArgs
	match            func([]byte) []int // where the first match in a line is; nil: none
	need             []byte             // what every match holds
	program          int                // instructions of the pattern
	steps            int                // since the clock was looked at
	include, exclude globs
	base             string
	maximum          int
	deadline         time.Time
	facts            searchFacts
	walked           int
	b                strings.Builder
	buf              []byte
	group            bool // something was written, so that a group is parted from it
}

// errEnough ends a walk.
var errEnough = errors.New("enough")

// search finds lines in files, or files by their names.
func (f *files) search(a searchArgs, r Request) (Response, error) {
	if a.Path == "" {
		a.Path = "."
	}
	p, err := f.resolve(a.Path)
	if err != nil {
		return Response{}, err
	}
	if a.Pattern == "" && len(a.Include) == 0 {
		return Response{}, errors.New("give a pattern to find lines, or include to find files by their names")
	}
	if a.Limit <= 0 {
		a.Limit = defaultMatches
	}
	a.Limit, a.Context = min(a.Limit, maxMatches), min(max(a.Context, 0), maxContext)
	s := &searcher{files: f, args: a, base: p, maximum: r.Max, deadline: time.Now().Add(time.Duration(r.Seconds) * time.Second)}
	if s.include, err = compileGlobs(a.Include); err != nil {
		return Response{}, err
	}
	if s.exclude, err = compileGlobs(a.Exclude); err != nil {
		return Response{}, err
	}
	if err := s.compile(); err != nil {
		return Response{}, err
	}
	info, err := f.stat(p)
	if err != nil {
		return Response{}, f.explain(p, err)
	}
	if info.IsDir() {
		var above *ignores
		if !a.All {
			above = f.ignoresAbove(p)
		}
		err = s.walk(p, 0, above)
	} else {
		if err := regular(p, info); err != nil {
			return Response{}, err
		}
		s.include, s.exclude = nil, nil // the file was named
		err = s.file(p, info)
	}
	if err != nil && !errors.Is(err, errEnough) {
		return Response{}, f.explain(p, err)
	}
	s.notes()
	return Response{Text: s.b.String(), Structured: structured(s.facts)}, nil
}

// compile makes the matcher of the pattern.
func (s *searcher) compile() error {
	a := s.args
	switch {
	case a.Pattern == "":
		return nil
	case len(a.Pattern) > maxPattern:
		return fmt.Errorf("the pattern has %d bytes, more than %d", len(a.Pattern), maxPattern)
	}
	if a.Literal && !a.IgnoreCase {
		want := []byte(a.Pattern)
		s.need = want
		s.match = func(line []byte) []int {
			if i := bytes.Index(line, want); i >= 0 {
				return []int{i, i + len(want)}
			}
			return nil
		}
		return nil
	}
	expr := a.Pattern
	if a.Literal {
		expr = regexp.QuoteMeta(expr)
	}
	if a.IgnoreCase {
		expr = "(?i)" + expr
	}
	re, err := regexp.Compile(expr)
	if err == nil {
		s.program, err = programOf(expr)
	}
	if err != nil {
		return fmt.Errorf("the pattern is no regular expression (RE2 syntax): %s; set literal to look for it as it is", strings.TrimPrefix(err.Error(), "error parsing regexp: "))
	}
	if s.program > maxProgram {
		return errors.New("the pattern is too complex: its repetitions come to too much; write a simpler one")
	}
	if prefix, _ := re.LiteralPrefix(); !a.IgnoreCase {
		s.need = []byte(prefix)
	}
	s.match = re.FindIndex
	return nil
}

// walk goes through a directory, in the order of names.
func (s *searcher) walk(dir string, depth int, above *ignores) error {
	entries, more, err := s.entries(dir, maxEntries)
	if err != nil {
		if depth == 0 {
			return err
		}
		s.facts.Unread++ // one directory that cannot be read does not end a search
		return nil
	}
	if more {
		s.facts.Unread++
	}
	rules := above
	if !s.args.All {
		rules = s.ignoresIn(dir, above)
	}
	for _, e := range entries {
		if s.walked++; s.walked > maxWalk || time.Now().After(s.deadline) {
			s.facts.TimedOut = true
			return errEnough
		}
		p := path.Join(dir, e.Name())
		if !s.args.All && (e.Name() == ".git" || rules.ignored(p, e.IsDir())) {
			if e.Name() != ".git" {
				s.facts.Ignored++
			}
			continue
		}
		rel := strings.TrimPrefix(strings.TrimPrefix(p, s.base), "/")
		if s.exclude.match(rel) {
			continue
		}
		switch {
		case e.IsDir():
			if depth >= maxWalkDepth {
				s.facts.Unread++
				continue
			}
			if err := s.walk(p, depth+1, rules); err != nil {
				return err
			}
		case e.Type().IsRegular():
			if len(s.include) > 0 && !s.include.match(rel) {
				continue
			}
			info, err := e.Info()
			if err != nil {
				continue // it is gone
			}
			if err := s.file(p, info); err != nil {
				return err
			}
		}
	}
	return nil
}

// file looks through one file. errEnough: what was asked for is there.
func (s *searcher) file(p string, info fs.FileInfo) error {
	if s.match == nil {
		return s.name(p)
	}
	if info.Size() > maxSearchFile {
		s.facts.Large++
		return nil
	}
	file, _, err := s.openRegular(p)
	if err != nil {
		s.facts.Closed++
		return nil //nolint:nilerr // a file that cannot be read does not end a search
	}
	buf := bytes.NewBuffer(s.buf[:0])
	_, err = io.Copy(buf, io.LimitReader(file, maxSearchFile))
	_ = file.Close() // read only
	s.buf = buf.Bytes()
	if err != nil {
		s.facts.Closed++
		return nil //nolint:nilerr // as above
	}
	content := s.buf
	if isBinary(content) {
		s.facts.Binary++
		return nil
	}
	s.facts.Searched++
	if len(s.need) > 0 && !bytes.Contains(content, s.need) {
		return nil
	}
	return s.lines(p, content)
}

func (s *searcher) name(p string) error {
	s.facts.Searched++
	if s.enough() {
		return errEnough
	}
	s.facts.Matches++
	s.facts.Files++
	s.b.WriteString(printable(show(p)))
	s.b.WriteByte('\n')
	return nil
}

// enough says, before one more match is taken, that there is no room for it.
func (s *searcher) enough() bool {
	if s.facts.Matches < s.args.Limit && s.b.Len() <= s.maximum {
		return false
	}
	s.facts.More = true
	return true
}

// lines finds the lines of a file that match.
func (s *searcher) lines(p string, content []byte) error {
	var recent [][]byte // the lines before, for their context
	n, after, last, found := 0, 0, 0, false
	for len(content) > 0 {
		line := content
		if i := bytes.IndexByte(content, '\n'); i >= 0 {
			line, content = content[:i], content[i+1:]
		} else {
			content = nil
		}
		line = bytes.TrimSuffix(line, []byte{'\r'})
		n++
		within, ok := s.within(line)
		if !ok {
			return errEnough
		}
		at := s.match(within)
		if at == nil {
			if after > 0 {
				after--
				last = n
				s.line(p, n, '-', line, nil)
			}
			if s.args.Context > 0 {
				if recent = append(recent, line); len(recent) > s.args.Context {
					recent = recent[1:]
				}
			}
			continue
		}
		if s.enough() {
			return errEnough
		}
		s.facts.Matches++
		if !found {
			found = true
			s.facts.Files++
		}
		if s.args.FilesOnly {
			s.b.WriteString(printable(show(p)))
			s.b.WriteByte('\n')
			return nil
		}
		first := max(n-len(recent), last+1)
		if s.args.Context > 0 && s.group && (first > last+1 || last == 0) {
			s.b.WriteString("--\n")
		}
		for i := first; i < n; i++ {
			s.line(p, i, '-', recent[len(recent)-(n-i)], nil)
		}
		s.line(p, n, ':', line, at)
		recent, last, after, s.group = nil, n, s.args.Context, true
	}
	return nil
}

// within is how much of a line is searched; false: the time is over.
func (s *searcher) within(line []byte) ([]byte, bool) {
	program := max(s.program, 1)
	if most := maxSteps / program; len(line) > most {
		s.facts.Cut++
		line = line[:most]
	}
	if s.steps += program * (len(line) + 1); s.steps > looks {
		s.steps = 0
		if time.Now().After(s.deadline) {
			s.facts.TimedOut = true
			return nil, false
		}
	}
	return line, true
}

// programOf counts the instructions of a pattern, compiled as package regexp does.
func programOf(expr string) (int, error) {
	parsed, err := syntax.Parse(expr, syntax.Perl)
	if err != nil {
		return 0, err
	}
	program, err := syntax.Compile(parsed.Simplify())
	if err != nil {
		return 0, err
	}
	return len(program.Inst), nil
}

// line writes one line; of a long one the part around the match.
func (s *searcher) line(p string, n int, mark byte, line []byte, at []int) {
	text := string(line)
	if len(text) > maxShownLine {
		from := 0
		if at != nil {
			from = max(0, min(at[0]-maxShownLine/3, len(text)-maxShownLine))
		}
		part := text[from:min(len(text), from+maxShownLine)]
		part = strings.ToValidUTF8(part, "")
		if from > 0 {
			part = "…" + part
		}
		if from+maxShownLine < len(text) {
			part += "…"
		}
		text = part
	}
	fmt.Fprintf(&s.b, "%s%c%d%c%s\n", printable(show(p)), mark, n, mark, plain(text))
}

// notes say what the matches alone do not.
func (s *searcher) notes() {
	note := func(format string, args ...any) { fmt.Fprintf(&s.b, "["+format+"]\n", args...) }
	if s.facts.Matches == 0 && !s.facts.TimedOut {
		if s.match == nil {
			note("no file fits")
		} else {
			note("no match in %s", count(s.facts.Searched, "file"))
			if !s.args.Literal && strings.Contains(s.args.Pattern, `\n`) || strings.Contains(s.args.Pattern, "\n") {
				note("the pattern is looked for within single lines, so that nothing with a line end fits")
			}
		}
		if s.facts.Ignored > 0 {
			note("left out: %s that .gitignore names (all: true searches them)", count(s.facts.Ignored, "entry"))
		}
	}
	if s.facts.More {
		note("%s shown; there are more: narrow the pattern, the path or include", count(s.facts.Matches, "match"))
	}
	if s.facts.TimedOut {
		note("stopped before everything was searched: narrow the path or include")
	}
	if s.facts.Unread > 0 {
		note("%s not searched to the end: not readable, more than %d entries, or below %d others", count(s.facts.Unread, "directory"), maxEntries, maxWalkDepth)
	}
	if s.facts.Cut > 0 {
		note("%s too long for this pattern: only the beginning was searched", count(s.facts.Cut, "line"))
	}
	if s.facts.Binary > 0 || s.facts.Large > 0 || s.facts.Closed > 0 {
		var skipped []string
		if s.facts.Binary > 0 {
			skipped = append(skipped, fmt.Sprintf("%d that are no text", s.facts.Binary))
		}
		if s.facts.Large > 0 {
			skipped = append(skipped, fmt.Sprintf("%d larger than %s", s.facts.Large, size(maxSearchFile)))
		}
		if s.facts.Closed > 0 {
			skipped = append(skipped, fmt.Sprintf("%d that cannot be read", s.facts.Closed))
		}
		note("files not searched: %s", strings.Join(skipped, ", "))
	}
}
