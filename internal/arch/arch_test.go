// Package arch holds the rules of the house as tests: which package may import
// which, what the pure packages must not touch, and how large a file or an
// interface may grow.
package arch

import (
	"bufio"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/cairn-run/cairn"

// layers numbers the rooms: a package imports only smaller numbers. A driver has
// its port's number and imports its port, the root and packages of smaller
// numbers.
var layers = map[string]int{
	"":                             0,
	"internal/failpoint":           0,
	"engine":                       1,
	"api/v1":                       1,
	"journal":                      2,
	"blob":                         2,
	"model":                        2,
	"model/wire":                   1,
	"policy":                       2,
	"vault":                        2,
	"client":                       2,
	"workspace":                    2,
	"sandbox":                      3,
	"sandbox/ns/boot":              2,
	"sandbox/ns/jail":              1,
	"sandbox/ns/wire":              1,
	"tool/builtin/hand":            1,
	"kernel":                       3,
	"tool":                         4,
	"api":                          4,
	"node":                         8,
	"internal/config":              2,
	"internal/yamltree":            1,
	"internal/cli":                 9,
	"cmd/cairn":                    10,
	"internal/arch":                0,
	"internal/torture":             11,
	"internal/effectserver":        2,
	"internal/effectserver/ledger": 1,
	"internal/sim":                 1,
	"internal/traffic":             11,
	"internal/aimock":              11,
	"internal/swe":                 11,
	"conformance":                  11,
	"bench":                        11,
	"examples":                     11,
}

// pure packages use the standard library only, and of that nothing that reads
// the world.
var pure = []string{"", "engine", "api/v1"}

// worldly is what a pure package must not import.
var worldly = []string{
	"os", "os/exec", "net", "net/http", "io/fs", "io/ioutil", "math/rand", "math/rand/v2", "crypto/rand",
	"runtime", "runtime/debug", "syscall", "database/sql", "log", "log/slog", "unsafe", "embed", "testing",
}

const (
	maxLines   = 800
	maxMethods = 10
	maxDepth   = 8
)

type source struct {
	pkg     string // path below the module
	file    string
	imports []string
	ast     *ast.File
	lines   int
	test    bool
}

// sources parses every Go file of the module.
func sources(t *testing.T) []source {
	t.Helper()
	root := filepath.Join("..", "..")
	var all []source
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (strings.HasPrefix(d.Name(), ".") && p != root || d.Name() == "testdata" || d.Name() == "node_modules") {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(p, ".go") {
			return nil
		}
		set := token.NewFileSet()
		f, err := parser.ParseFile(set, p, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		s := source{pkg: strings.TrimSuffix(path.Dir(rel), "."), file: rel, ast: f, lines: set.File(f.Pos()).LineCount(), test: strings.HasSuffix(p, "_test.go")}
		for _, i := range f.Imports {
			name, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				return err
			}
			s.imports = append(s.imports, name)
		}
		all = append(all, s)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 20 {
		t.Fatalf("only %d Go files found: the walk is broken", len(all))
	}
	return all
}

// layer finds the number of a package: its own or its nearest parent's.
func layer(pkg string) (n int, room string, ok bool) {
	for room = pkg; ; room = strings.TrimSuffix(path.Dir(room), ".") {
		if n, ok = layers[room]; ok && (room != "" || pkg == "") {
			return n, room, true
		}
		if room == "" {
			return 0, "", false
		}
	}
}

func TestImportsGoDown(t *testing.T) {
	t.Parallel()
	for _, s := range sources(t) {
		if s.test {
			continue
		}
		n, room, ok := layer(s.pkg)
		if !ok {
			t.Errorf("%s: package %q has no room: add it to layers, if it is a new noun", s.file, s.pkg)
			continue
		}
		for _, i := range s.imports {
			if i != module && !strings.HasPrefix(i, module+"/") {
				continue
			}
			to := strings.TrimPrefix(strings.TrimPrefix(i, module), "/")
			m, toRoom, ok := layer(to)
			switch {
			case !ok:
				t.Errorf("%s imports %q, which has no room", s.file, to)
			case room == toRoom && (s.pkg != room && to == room || s.pkg == room && room == "bench" || n >= 9):
			case room == toRoom && s.pkg != to && strings.HasSuffix(to, "test"): // a port's conformance suite
			case m >= n && s.pkg != to:
				t.Errorf("%s (%s, layer %d) imports %s (layer %d): imports go down", s.file, s.pkg, n, to, m)
			}
		}
	}
}

func TestPurePackages(t *testing.T) {
	t.Parallel()
	for _, s := range sources(t) {
		if s.test || !slices.Contains(pure, s.pkg) {
			continue
		}
		for _, i := range s.imports {
			ours := i == module || strings.HasPrefix(i, module+"/")
			if !ours && strings.Contains(strings.SplitN(i, "/", 2)[0], ".") {
				t.Errorf("%s imports %s: %q uses the standard library only", s.file, i, s.pkg)
			}
			if slices.Contains(worldly, i) {
				t.Errorf("%s imports %s: %q does not look at the world", s.file, i, s.pkg)
			}
		}
		ast.Inspect(s.ast, func(n ast.Node) bool {
			if sel, ok := n.(*ast.SelectorExpr); ok {
				if x, ok := sel.X.(*ast.Ident); ok && x.Name == "time" && slices.Contains([]string{"Now", "Since", "Until", "Sleep", "After", "Tick", "NewTimer", "AfterFunc"}, sel.Sel.Name) {
					t.Errorf("%s calls time.%s: %q reads no clock", s.file, sel.Sel.Name, s.pkg)
				}
			}
			if _, ok := n.(*ast.GoStmt); ok {
				t.Errorf("%s starts a goroutine: %q is pure", s.file, s.pkg)
			}
			return true
		})
	}
}

func TestFilesAndInterfacesStaySmall(t *testing.T) {
	t.Parallel()
	for _, s := range sources(t) {
		if s.lines > maxLines {
			t.Errorf("%s has %d lines, more than %d: split it by noun", s.file, s.lines, maxLines)
		}
		ast.Inspect(s.ast, func(n ast.Node) bool {
			ts, ok := n.(*ast.TypeSpec)
			if !ok {
				return true
			}
			if it, ok := ts.Type.(*ast.InterfaceType); ok && it.Methods.NumFields() > maxMethods {
				t.Errorf("%s: interface %s has %d methods, more than %d", s.file, ts.Name.Name, it.Methods.NumFields(), maxMethods)
			}
			return true
		})
	}
}

func TestPackagesHaveDocsAndDepth(t *testing.T) {
	t.Parallel()
	docs, deps := map[string]bool{}, map[string]map[string]bool{}
	for _, s := range sources(t) {
		if s.test {
			continue
		}
		docs[s.pkg] = docs[s.pkg] || s.ast.Doc != nil
		if deps[s.pkg] == nil {
			deps[s.pkg] = map[string]bool{}
		}
		for _, i := range s.imports {
			if i == module || strings.HasPrefix(i, module+"/") {
				deps[s.pkg][strings.TrimPrefix(strings.TrimPrefix(i, module), "/")] = true
			}
		}
	}
	for p, ok := range docs {
		if !ok {
			t.Errorf("package %q has no doc comment", p)
		}
	}
	var depth func(string) int
	memo := map[string]int{}
	depth = func(p string) int {
		if d, ok := memo[p]; ok {
			return d
		}
		d := 0
		for q := range deps[p] {
			d = max(d, 1+depth(q))
		}
		memo[p] = d
		return d
	}
	for p := range deps {
		if d := depth(p); d > maxDepth {
			t.Errorf("package %q is %d imports deep, more than %d", p, d, maxDepth)
		}
	}
}

// skipped lists every test that may skip, with its reason: a skip anywhere else
// fails this test.
func TestSkipsAreListed(t *testing.T) {
	t.Parallel()
	f, err := os.Open("skips.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	want := map[string]int{}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		file, rest, _ := strings.Cut(line, " ")
		n, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
		count, err := strconv.Atoi(n)
		if err != nil {
			t.Fatalf("skips.txt: %q: write file, number of skips, reason", line)
		}
		want[file] = count
	}
	got := map[string]int{}
	for _, s := range sources(t) {
		ast.Inspect(s.ast, func(n ast.Node) bool {
			if sel, ok := n.(*ast.SelectorExpr); ok && slices.Contains([]string{"Skip", "Skipf", "SkipNow"}, sel.Sel.Name) && s.pkg != "internal/arch" {
				got[s.file]++
			}
			return true
		})
	}
	for file, n := range got {
		if want[file] != n {
			t.Errorf("%s skips %d times; skips.txt allows %d", file, n, want[file])
		}
	}
	for file, n := range want {
		if got[file] == 0 {
			t.Errorf("skips.txt lists %s (%s), which skips nothing", file, fmt.Sprint(n))
		}
	}
}

// TestArchitectureNamesRooms: the table of ARCHITECTURE.md says of each room the
// layer it has here, and leaves none out.
func TestArchitectureNamesRooms(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile(filepath.Join("..", "..", "ARCHITECTURE.md"))
	if err != nil {
		t.Fatal(err)
	}
	there := map[string]bool{}
	for _, s := range sources(t) {
		there[s.pkg] = true
	}
	named := map[string]bool{}
	for line := range strings.Lines(string(b)) {
		cells := strings.Split(line, "|")
		if len(cells) != 5 || !strings.Contains(cells[2], "`") {
			continue
		}
		number, room := strings.TrimSpace(cells[1]), ""
		for i, part := range strings.Split(cells[2], "`") {
			switch {
			case i%2 == 0: // between two names
				continue
			case part == "cairn":
				part = ""
			case i > 1 && number != "–": // a driver, by its name below the port
				part = room + "/" + part
			default:
				room = part
			}
			named[part] = true
			n, _, ok := layer(part)
			if !ok || number != "–" && number != strconv.Itoa(n) {
				t.Errorf("ARCHITECTURE.md gives %q layer %s; it is %d here", part, number, n)
			}
			if dir := filepath.Join("..", "..", part); !there[part] {
				if _, err := os.Stat(dir); err != nil {
					t.Errorf("ARCHITECTURE.md names %q, which is not there", part)
				}
			}
		}
	}
	for pkg := range there {
		room := pkg
		for ; !named[room] && room != ""; room = strings.TrimSuffix(path.Dir(room), ".") {
		}
		if room == "" && pkg != "" && pkg != "internal/arch" {
			t.Errorf("ARCHITECTURE.md does not say what %q is", pkg)
		}
	}
}

// TestGuaranteesNameRealTests: a promise without its test is none.
func TestGuaranteesNameRealTests(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile(filepath.Join("..", "..", "docs", "guarantees.md"))
	if err != nil {
		t.Fatal(err)
	}
	named := map[string]bool{}
	for _, word := range strings.Split(string(b), "`") {
		if strings.HasPrefix(word, "Test") && !strings.ContainsAny(word, " \n|") {
			named[word] = true
		}
	}
	if len(named) < 20 {
		t.Fatalf("only %d tests are named: the table is not read", len(named))
	}
	for _, s := range sources(t) {
		for _, d := range s.ast.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && s.test {
				delete(named, f.Name.Name)
			}
		}
	}
	for name := range named {
		t.Errorf("docs/guarantees.md names %s, which does not exist", name)
	}
}
