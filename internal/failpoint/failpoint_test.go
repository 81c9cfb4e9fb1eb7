package failpoint

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPointsListsEveryConstant(t *testing.T) {
	t.Parallel()
	file, err := parser.ParseFile(token.NewFileSet(), "failpoint.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var want []Point
	for _, d := range file.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != token.CONST {
			continue
		}
		for _, s := range g.Specs {
			name, err := strconv.Unquote(s.(*ast.ValueSpec).Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			want = append(want, Point(name))
		}
	}
	if diff := cmp.Diff(want, Points()); diff != "" {
		t.Errorf("constants and Points() differ:\n%s", diff)
	}
	seen := map[Point]bool{}
	for _, p := range want {
		if seen[p] || len(p) > nameSize {
			t.Errorf("%s is there twice or too long", p)
		}
		seen[p] = true
	}
	if len(want) < 40 {
		t.Errorf("%d points; the torture test needs 40", len(want))
	}
}

func TestReadRefusesWhatIsNoFileOfCounts(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"text":  "hello, this is no file of counts at all, but it is longer than one header is",
		"short": magic,
		"lying": magic + "\xff\xff\xff\x7f\x00\x00\x00\x00" + string(make([]byte, headerSize)),
	} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Read(path); err == nil {
			t.Errorf("%s was read", name)
		}
	}
	c, err := Read(filepath.Join(dir, "missing"))
	if err != nil || len(c.Missed()) != len(points) {
		t.Errorf("a missing file: %v, %d points missed", err, len(c.Missed()))
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(magic))
	f.Add(make([]byte, headerSize+recordSize))
	f.Fuzz(func(t *testing.T, b []byte) {
		c := &Counters{hits: map[Point]uint64{}, kills: map[Point]uint64{}}
		_ = c.parse(b, "fuzz")
	})
}
