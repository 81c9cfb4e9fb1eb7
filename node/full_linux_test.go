package node_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cairn-run/cairn"
	v1 "github.com/cairn-run/cairn/api/v1"
	"github.com/cairn-run/cairn/client"
	"github.com/cairn-run/cairn/model/script"
	"github.com/cairn-run/cairn/node"
)

// TestDiskFull: on a full disk work is refused clearly and reads go on; when there
// is space again, everything resumes by itself.
func TestDiskFull(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("mounting a small file system needs root")
	}
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=6m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	models := scripted(&script.Script{Default: &script.Reply{Text: "I see. " + strings.Repeat("word ", 2000)}})
	n, stop := start(t, dir, node.Options{Models: models})
	defer stop()
	if _, _, err := n.Apply(t.Context(), cairn.DefaultTenant, &cairn.Agent{Name: "talker", Model: "script/s"}); err != nil {
		t.Fatal(err)
	}
	c := n.Client()
	first, err := c.CreateSession(t.Context(), v1.CreateSession{Agent: "talker", Input: v1.Text("Hello.")})
	if err != nil {
		t.Fatal(err)
	}
	settled(t, c, first.ID)

	ballast := filepath.Join(dir, "ballast")
	fill(t, ballast)
	var refused error
	accepted := 0
	for range 2000 {
		if _, refused = c.Send(t.Context(), first.ID, v1.PostMessage{Content: v1.Text(strings.Repeat("more ", 500))}, client.Patience(0)); refused != nil {
			break
		}
		accepted++
	}
	if cairn.CodeOf(refused) != cairn.CodeFull {
		t.Fatalf("a full disk gave %v, want %s", refused, cairn.CodeFull)
	}
	if _, err := c.Events(t.Context(), first.ID, client.EventQuery{}); err != nil {
		t.Fatalf("reads stopped: %v", err)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	// The message that was refused is accepted now, and all that were accepted are answered.
	if _, err := c.Send(t.Context(), first.ID, v1.PostMessage{Content: v1.Text("and now?")}); err != nil {
		t.Fatalf("work does not resume: %v", err)
	}
	messages := 0
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for item, err := range c.Stream(ctx, first.ID, 0) {
		if err != nil {
			t.Fatal(err)
		}
		if item.Event != nil && item.Event.Type == "message.created" {
			messages++
		}
		if messages == accepted+2 && item.Event != nil && item.Event.Type == "session.idle" {
			return
		}
	}
	t.Fatalf("%d of %d messages were answered", messages, accepted+2)
}

// fill takes all the space there is.
func fill(t *testing.T, file string) {
	t.Helper()
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	block := make([]byte, 4096)
	for {
		if _, err := f.Write(block); errors.Is(err, syscall.ENOSPC) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
	}
}
