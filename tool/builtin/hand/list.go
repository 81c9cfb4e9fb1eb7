package hand

import (
	"fmt"
	"io/fs"
	"path"
	"strings"
	"time"
)

const (
	defaultDepth = 2
	maxDepth     = 10
	maxInOneDir  = 200    // entries of a directory that are shown
	maxListed    = 2000   // entries in all
	maxEntries   = 50_000 // entries of a directory that are looked at
)

type listArgs struct {
	Path  string `json:"path"`
	Depth int    `json:"depth"`
	All   bool   `json:"all"`
}

// listFacts is the structured form of a list.
type listFacts struct {
	Path    string `json:"path"`
	Files   int    `json:"files"`
	Dirs    int    `json:"directories"`
	LeftOut int    `json:"left_out,omitzero"`
}

// lister writes the tree below a directory.
type lister struct {
	*files
	all     bool
	maximum int
	// deadline ends what the rules of a hostile .gitignore make long.
	deadline time.Time
	b        strings.Builder
	facts    listFacts
	shown    int
	ignored  int
	full     bool
}

// list shows the tree below a directory.
func (f *files) list(a listArgs, r Request) (Response, error) {
	if a.Path == "" {
		a.Path = "."
	}
	p, err := f.resolve(a.Path)
	if err != nil {
		return Response{}, err
	}
	info, err := f.stat(p)
	if err != nil {
		return Response{}, f.explain(p, err)
	}
	if !info.IsDir() {
		return Response{}, fmt.Errorf("%s is no directory (%s, %s); see what is in it with read", p, nameOfKind(info.Mode()), size(info.Size()))
	}
	if a.Depth <= 0 {
		a.Depth = defaultDepth
	}
	l := &lister{files: f, all: a.All, maximum: r.Max, facts: listFacts{Path: p}, deadline: time.Now().Add(time.Duration(r.Seconds) * time.Second)}
	var above *ignores
	if !a.All {
		above = f.ignoresAbove(p)
	}
	fmt.Fprintf(&l.b, "%s\n", p)
	if err := l.dir(p, "  ", min(a.Depth, maxDepth), above); err != nil {
		return Response{}, f.explain(p, err)
	}
	fmt.Fprintf(&l.b, "[%s, %s", count(l.facts.Files, "file"), count(l.facts.Dirs, "directory"))
	if l.full {
		l.b.WriteString("; the list is cut off here: give a deeper path or less depth")
	}
	if l.ignored > 0 {
		fmt.Fprintf(&l.b, "; not looked into: %s that .gitignore names (all: true shows them)", count(l.ignored, "entry"))
	}
	l.b.WriteString("]\n")
	return Response{Text: l.b.String(), Structured: structured(l.facts)}, nil
}

func nameOfKind(m fs.FileMode) string {
	if m.IsRegular() {
		return "a file"
	}
	return kindOf(m)
}

// dir writes one directory.
func (l *lister) dir(p, margin string, depth int, above *ignores) error {
	entries, more, err := l.entries(p, maxEntries)
	if err != nil {
		return err
	}
	rules := above
	if !l.all {
		rules = l.ignoresIn(p, above)
	}
	shown := 0
	for i, e := range entries {
		if shown == maxInOneDir || l.shown >= maxListed || l.b.Len() > l.maximum || time.Now().After(l.deadline) {
			l.full = l.full || shown < maxInOneDir
			left := len(entries) - i
			l.facts.LeftOut += left
			fmt.Fprintf(&l.b, "%s... %s more\n", margin, count(left, "entry"))
			return nil
		}
		name := path.Join(p, e.Name())
		if !l.all && rules.ignored(name, e.IsDir()) {
			l.ignored++
			l.facts.LeftOut++
			continue
		}
		shown++
		l.shown++
		l.entry(name, e, margin, depth, rules)
	}
	if more {
		fmt.Fprintf(&l.b, "%s... more than %d entries\n", margin, maxEntries)
	}
	return nil
}

func (l *lister) entry(name string, e fs.DirEntry, margin string, depth int, rules *ignores) {
	shown := printable(e.Name())
	switch {
	case e.IsDir():
		l.facts.Dirs++
		if e.Name() == ".git" && !l.all {
			fmt.Fprintf(&l.b, "%s%s/\n", margin, shown)
			return
		}
		if depth <= 1 {
			fmt.Fprintf(&l.b, "%s%s/%s\n", margin, shown, l.within(name))
			return
		}
		fmt.Fprintf(&l.b, "%s%s/\n", margin, shown)
		if err := l.dir(name, margin+"  ", depth-1, rules); err != nil {
			fmt.Fprintf(&l.b, "%s  [cannot be read]\n", margin)
		}
	case e.Type()&fs.ModeSymlink != 0:
		l.facts.Files++
		to, err := l.readlink(name)
		if err != nil {
			to = "?"
		}
		fmt.Fprintf(&l.b, "%s%s -> %s\n", margin, shown, printable(to))
	default:
		l.facts.Files++
		info, err := e.Info()
		switch {
		case err != nil:
			fmt.Fprintf(&l.b, "%s%s\n", margin, shown)
		case !info.Mode().IsRegular():
			fmt.Fprintf(&l.b, "%s%s [%s]\n", margin, shown, strings.TrimPrefix(kindOf(info.Mode()), "a "))
		default:
			mark := ""
			if info.Mode()&0o111 != 0 {
				mark = "*"
			}
			fmt.Fprintf(&l.b, "%s%s%s  %s\n", margin, shown, mark, size(info.Size()))
		}
	}
}

// within says how much is in a directory that is not gone into.
func (l *lister) within(p string) string {
	list, more, err := l.entries(p, 1000)
	switch {
	case err != nil:
		return "  [cannot be read]"
	case more:
		return "  [more than 1000 entries]"
	case len(list) == 0:
		return "  [empty]"
	}
	return fmt.Sprintf("  [%s]", count(len(list), "entry"))
}

// printable shows a name on one line, whatever is in it.
func printable(name string) string {
	if strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\uFFFD' }) {
		return fmt.Sprintf("%q", name)
	}
	return name
}
