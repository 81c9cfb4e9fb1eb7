package hand

import (
	"bufio"
	"fmt"
	"io"
	"path"
	"regexp"
	"strings"
)

const (
	maxGlob       = 500 // bytes of a pattern
	maxGlobs      = 50
	maxIgnoreFile = 256 << 10
	maxIgnores    = 2000 // patterns of one file
)

// compileGlob makes an expression of a glob over paths: '*' and '?' stay within a
// name, "**" goes over directories, [a-z] and {a,b} choose. A glob without a slash
// is one over names, in whatever directory.
func compileGlob(glob string) (*regexp.Regexp, error) {
	if glob == "" || len(glob) > maxGlob {
		return nil, fmt.Errorf("the glob %q is empty or longer than %d bytes", cut(glob, 40), maxGlob)
	}
	anchored := strings.HasPrefix(glob, "/")
	glob = strings.TrimPrefix(glob, "/")
	expr, err := globExpr(glob)
	if err != nil {
		return nil, err
	}
	if !anchored && !strings.Contains(strings.TrimSuffix(glob, "/"), "/") {
		expr = "(?:.*/)?" + expr
	}
	re, err := regexp.Compile("(?s)^" + expr + "$")
	if err != nil {
		return nil, fmt.Errorf("the glob %q cannot be read", glob)
	}
	return re, nil
}

// globExpr translates a glob.
func globExpr(glob string) (string, error) {
	var b strings.Builder
	braces := 0
	for i := 0; i < len(glob); i++ {
		switch c := glob[i]; c {
		case '*':
			if !strings.HasPrefix(glob[i:], "**") {
				b.WriteString("[^/]*")
				continue
			}
			for i+1 < len(glob) && glob[i+1] == '*' {
				i++
			}
			if i+1 < len(glob) && glob[i+1] == '/' {
				i++
				b.WriteString("(?:.*/)?")
			} else {
				b.WriteString(".*")
			}
		case '?':
			b.WriteString("[^/]")
		case '[':
			end := strings.IndexByte(glob[i+1:], ']')
			if end == 0 { // []a] : the first is a character of the class
				if next := strings.IndexByte(glob[i+2:], ']'); next >= 0 {
					end = next + 1
				}
			}
			if end <= 0 {
				b.WriteString(`\[`)
				continue
			}
			class := glob[i+1 : i+1+end]
			i += end + 1
			b.WriteByte('[')
			if class[0] == '!' || class[0] == '^' {
				b.WriteString("^/")
				class = class[1:]
			}
			b.WriteString(strings.NewReplacer(`\`, `\\`, "[", `\[`, "]", `\]`, "^", `\^`).Replace(class))
			b.WriteByte(']')
		case '{':
			braces++
			b.WriteString("(?:")
		case '}':
			if braces == 0 {
				b.WriteString(`\}`)
				continue
			}
			braces--
			b.WriteByte(')')
		case ',':
			if braces > 0 {
				b.WriteByte('|')
			} else {
				b.WriteByte(',')
			}
		case '\\':
			if i+1 < len(glob) {
				i++
			}
			b.WriteString(regexp.QuoteMeta(glob[i : i+1]))
		default:
			if c < 0x80 {
				b.WriteString(regexp.QuoteMeta(string(c)))
			} else {
				b.WriteByte(c)
			}
		}
	}
	if braces > 0 {
		return "", fmt.Errorf("the glob %q has a { without its }", glob)
	}
	return b.String(), nil
}

// globs is a list of globs; a path fits if one does.
type globs []*regexp.Regexp

func compileGlobs(list []string) (globs, error) {
	if len(list) > maxGlobs {
		return nil, fmt.Errorf("more than %d globs", maxGlobs)
	}
	var all globs
	for _, g := range list {
		re, err := compileGlob(strings.TrimPrefix(g, "./"))
		if err != nil {
			return nil, err
		}
		all = append(all, re)
	}
	return all, nil
}

func (g globs) match(p string) bool {
	for _, re := range g {
		if re.MatchString(p) {
			return true
		}
	}
	return false
}

// ignores are the rules of one .gitignore file and of those in the directories
// above it (gitignore(5)).
type ignores struct {
	above *ignores
	base  string // the directory of the file
	rules []ignoreRule
}

type ignoreRule struct {
	re      *regexp.Regexp
	again   bool // '!': what was left out is back
	dirOnly bool
}

// ignored says whether a path is left out. The last rule that fits decides, the
// deeper file first.
func (g *ignores) ignored(p string, dir bool) bool {
	for ; g != nil; g = g.above {
		rel, ok := strings.CutPrefix(p, strings.TrimSuffix(g.base, "/")+"/")
		if !ok {
			continue
		}
		for i := len(g.rules) - 1; i >= 0; i-- {
			r := g.rules[i]
			if (!r.dirOnly || dir) && r.re.MatchString(rel) {
				return !r.again
			}
		}
	}
	return false
}

// parseIgnores reads the rules of a .gitignore file; what cannot be read is left
// out, as git does.
func parseIgnores(in io.Reader, base string, above *ignores) *ignores {
	g := &ignores{above: above, base: base}
	lines := bufio.NewScanner(io.LimitReader(in, maxIgnoreFile))
	for lines.Scan() && len(g.rules) < maxIgnores {
		line := strings.TrimSuffix(lines.Text(), "\r")
		if !strings.HasSuffix(line, `\ `) {
			line = strings.TrimRight(line, " ")
		}
		if line == "" || line[0] == '#' {
			continue
		}
		var r ignoreRule
		if line[0] == '!' {
			r.again, line = true, line[1:]
		}
		if strings.HasSuffix(line, "/") {
			r.dirOnly, line = true, strings.TrimRight(line, "/")
		}
		if line == "" {
			continue
		}
		// Braces are ordinary characters there.
		re, err := compileGlob(strings.NewReplacer("{", `\{`, "}", `\}`).Replace(line))
		if err != nil {
			continue
		}
		r.re = re
		g.rules = append(g.rules, r)
	}
	if len(g.rules) == 0 {
		return above
	}
	return g
}

// ignoresIn reads the rules of a directory.
func (f *files) ignoresIn(dir string, above *ignores) *ignores {
	file, _, err := f.openRegular(path.Join(dir, ".gitignore"))
	if err != nil {
		return above
	}
	defer func() { _ = file.Close() }() // read only
	return parseIgnores(file, dir, above)
}

// ignoresAbove reads the rules that hold for a directory from those above it: up to
// the top of the repository or of the workspace.
func (f *files) ignoresAbove(dir string) *ignores {
	var chain []string
	for d := dir; ; d = path.Dir(d) {
		chain = append(chain, d)
		if _, err := f.lstat(path.Join(d, ".git")); err == nil || d == Workspace || d == "/" {
			break
		}
	}
	var g *ignores
	for i := len(chain) - 1; i > 0; i-- {
		g = f.ignoresIn(chain[i], g)
	}
	return g
}
