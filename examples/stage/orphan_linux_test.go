package stage_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/cairn-run/cairn/examples/stage"
)

// TestOrphans: what a command leaves behind is found, though it left its session, its
// parent and its name.
func TestOrphans(t *testing.T) {
	t.Parallel()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), exe)
	c.Env = append(os.Environ(), asParent+"=1")
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// parent runs a shell in place of cairn that leaves a process behind.
func parent() (err error) {
	if err := stage.Adopt(); err != nil {
		return err
	}
	s, err := stage.Open(stage.Options{Cairn: "/bin/sh"})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	ctx := context.Background()
	if err := s.Cairn(ctx, 0, "-c", "setsid sleep 1000 & exit 0"); err != nil {
		return err
	}
	found := ""
	if err := s.Until(ctx, "the orphan is seen as what it became", func() (bool, error) {
		alive, err := s.Orphans()
		found = strings.Join(alive, ", ")
		return len(alive) == 1 && strings.HasPrefix(found, "sleep 1000 ("), err
	}); err != nil {
		return fmt.Errorf("%w: %q", err, found)
	}
	pid, err := strconv.Atoi(strings.TrimSuffix(strings.TrimPrefix(found, "sleep 1000 ("), ")"))
	if err != nil {
		return err
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		return err
	}
	return s.Until(ctx, "it is gone, and not a zombie", func() (bool, error) {
		alive, err := s.Orphans()
		return len(alive) == 0, err
	})
}
