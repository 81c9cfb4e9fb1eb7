package hand

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// ask has the hand do one request below a directory.
func ask(t *testing.T, root string, r Request, args any) Response {
	t.Helper()
	var err error
	if r.Args, err = json.Marshal(args); err != nil {
		t.Fatal(err)
	}
	line, err := Encode(r)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if code := Main(root, bytes.NewReader(line), &out); code != 0 {
		t.Fatal(code)
	}
	var resp Response
	if err := json.Unmarshal(out.Bytes(), &resp); err != nil {
		t.Fatal(err)
	}
	return resp
}

// TestPatternsThatTakeForEver: a short pattern whose repetitions multiply is refused,
// and one that is still slow searches no line to the end of the day. Without a bound
// the last two take hours.
func TestPatternsThatTakeForEver(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	if err := os.Mkdir(filepath.Join(root, Workspace), 0o755); err != nil {
		t.Fatal(err)
	}
	line := bytes.Repeat([]byte("a"), 4<<20)
	if err := os.WriteFile(filepath.Join(root, Workspace, "f"), line, 0o644); err != nil {
		t.Fatal(err)
	}
	for pattern, want := range map[string]string{
		`a{1000}`:                               "f:1:",
		`b`:                                     "no match in 1 file",
		`\w{0,500}!`:                            "1 line too long for this pattern",
		strings.Repeat(`\w{0,1000}`, 100) + "!": "the pattern is too complex",
		strings.Repeat(`(?:\w{0,999}x)?`, 100) + "!": "the pattern is too complex",
	} {
		r := ask(t, root, Request{Op: OpSearch}, map[string]any{"pattern": pattern})
		if !strings.Contains(r.Text, want) || r.IsError != strings.Contains(want, "complex") {
			t.Errorf("%.40s: %.200s", pattern, r.Text)
		}
	}
}

// TestRulesThatTakeForEver: the rules of a .gitignore are the agent's to write.
func TestRulesThatTakeForEver(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	dir := filepath.Join(root, Workspace)
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	rule := strings.Repeat("*a", 60) + "b\n"
	if err := os.WriteFile(filepath.Join(dir, ".gitignore"), []byte(strings.Repeat(rule, maxIgnores)), 0o644); err != nil {
		t.Fatal(err)
	}
	for i := range 500 {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%s%03d", strings.Repeat("a", 240), i)), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if r := ask(t, root, Request{Op: OpList, Seconds: 1}, map[string]any{}); r.IsError || !strings.Contains(r.Text, "the list is cut off here") {
		t.Errorf("%.200s", r.Text)
	}
	if r := ask(t, root, Request{Op: OpSearch, Seconds: 1}, map[string]any{"include": []string{"*"}}); r.IsError || !strings.Contains(r.Text, "stopped before everything was searched") {
		t.Errorf("%.200s", r.Text)
	}
}
