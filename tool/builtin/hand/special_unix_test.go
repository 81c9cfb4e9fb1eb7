//go:build unix

package hand_test

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/cairn-run/cairn/tool/builtin/hand"
)

// TestSpecialFilesNeverBlock reads what would block a careless program.
func TestSpecialFilesNeverBlock(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	put(t, root, "workspace/a", "needle")
	if err := syscall.Mkfifo(filepath.Join(root, "workspace/fifo"), 0o644); err != nil {
		t.Fatal(err)
	}
	for op, a := range map[string]string{
		hand.OpRead:   `{"path":"fifo"}`,
		hand.OpWrite:  `{"path":"fifo","content":"x"}`,
		hand.OpEdit:   `{"path":"fifo","edits":[{"old_text":"a","new_text":"b"}]}`,
		hand.OpSearch: `{"path":"fifo","pattern":"x"}`,
	} {
		r := ask(t, root, hand.Request{Op: op, Args: json.RawMessage(a)}, "")
		if !r.IsError || !strings.Contains(r.Text, "/workspace/fifo is a named pipe, not a file") {
			t.Errorf("%s: %s", op, r.Text)
		}
	}
	if r := ask(t, root, hand.Request{Op: hand.OpSearch, Args: json.RawMessage(`{"pattern":"needle"}`)}, ""); r.Text != "a:1:needle\n" {
		t.Error(r.Text)
	}
	if r := ask(t, root, hand.Request{Op: hand.OpList}, ""); !strings.Contains(r.Text, "fifo [named pipe]") {
		t.Error(r.Text)
	}
	// What the process itself sees: the one device that never ends.
	if r := ask(t, "", hand.Request{Op: hand.OpRead, Args: json.RawMessage(`{"path":"/dev/zero"}`)}, ""); !r.IsError || !strings.Contains(r.Text, "a device") {
		t.Error(r.Text)
	}
}
