//go:build linux

package workspace

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairn-run/cairn"
)

const (
	envDir  = "CAIRN_WORKSPACE_DIR"
	envKill = "CAIRN_WORKSPACE_KILL"
	envTar  = "CAIRN_WORKSPACE_TAR"
)

var crashKey = cairn.SessionKey{Tenant: "default", ID: "ses_crash"}

// crashRecord is what the child has committed, one line each.
type crashRecord struct {
	Base  cairn.Digest
	At    cairn.Snapshot
	Shown []string
}

// crashMain does a bit of everything, says what was recorded, and dies by SIGKILL when
// it passes a step for the N-th time over all steps.
func crashMain() {
	left, err := strconv.Atoi(os.Getenv(envKill))
	if err != nil {
		panic(err)
	}
	points := os.NewFile(3, "points")
	hook := func(point string) {
		fmt.Fprintln(points, point)
		if left--; left == 0 {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {} // until it arrives
		}
	}
	if err := crashPlay(hook, json.NewEncoder(os.Stdout)); err != nil {
		panic(err)
	}
}

func crashPlay(hook func(string), out *json.Encoder) error {
	ctx := context.Background()
	s, err := Open(os.Getenv(envDir), Options{Hook: hook})
	if err != nil {
		return err
	}
	b, err := os.ReadFile(os.Getenv(envTar))
	if err != nil {
		return err
	}
	i, err := s.Import(ctx, crashKey.Tenant, bytes.NewReader(b))
	if err != nil {
		return err
	}
	t, err := s.Tree(crashKey, i.Tree)
	if err != nil {
		return err
	}
	at := cairn.Snapshot{}
	say := func() error {
		m, err := entries(ctx, t, at)
		if err != nil {
			return err
		}
		return out.Encode(crashRecord{i.Tree, at, m})
	}
	if err := say(); err != nil {
		return err
	}
	record := func(got cairn.Snapshotted, err error) error {
		if err != nil {
			return err
		}
		at = got.Snapshot
		return say()
	}
	for n := range 3 {
		m, err := t.Checkout(ctx, at)
		if err != nil {
			return err
		}
		if err := scribble(m.Upper, n); err != nil {
			return err
		}
		if n == 1 {
			if err := record(t.SnapshotLive(ctx, at)); err != nil {
				return err
			}
			if err := scribble(m.Upper, 10); err != nil {
				return err
			}
		}
		if err := record(t.Snapshot(ctx, at)); err != nil {
			return err
		}
	}
	for n := range 2 {
		dir, err := t.Plain(ctx, at)
		if err != nil {
			return err
		}
		if err := scribble(dir, 20+n); err != nil {
			return err
		}
		if err := record(t.SnapshotPlain(ctx, at)); err != nil {
			return err
		}
		// An attempt that is thrown away.
		if _, err := t.Checkout(ctx, at); err != nil {
			return err
		}
	}
	for at.Layer < squashAbove+2 {
		m, err := t.Checkout(ctx, at)
		if err != nil {
			return err
		}
		if err := scribble(m.Upper, int(at.Layer)+100); err != nil {
			return err
		}
		if err := record(t.Snapshot(ctx, at)); err != nil {
			return err
		}
	}
	// Back to an earlier state: the later ones go.
	at.Layer, at.Tree = 3, ""
	if err := out.Encode(crashRecord{At: cairn.Snapshot{Layer: -1}}); err != nil {
		return err
	}
	if _, err := t.Checkout(ctx, at); err != nil {
		return err
	}
	if err := say(); err != nil {
		return err
	}
	if err := out.Encode(crashRecord{At: cairn.Snapshot{Layer: -2}}); err != nil {
		return err
	}
	return t.Remove(ctx)
}

func entries(ctx context.Context, t *Tree, at cairn.Snapshot) ([]string, error) {
	all, _, err := t.List(ctx, at, "/", ListOptions{Depth: -1})
	var out []string
	for _, e := range all {
		out = append(out, fmt.Sprint(e))
	}
	return out, err
}

// scribble changes files under a directory, as a payload would.
func scribble(dir string, n int) error {
	sub := filepath.Join(dir, Prefix, fmt.Sprintf("n%d", n))
	return errors.Join(os.MkdirAll(sub, 0o755),
		os.WriteFile(filepath.Join(sub, "f"), fmt.Appendf(nil, "number %d\n", n), 0o644),
		os.WriteFile(filepath.Join(dir, Prefix, "shared"), bytes.Repeat([]byte{byte(n)}, 5000+n), 0o755))
}

// TestCrashAtEveryStep kills a process at every step of everything that it does with a
// store. What it had recorded is all there afterwards, exactly, and nothing is left.
func TestCrashAtEveryStep(t *testing.T) {
	t.Parallel()
	tarFile := filepath.Join(t.TempDir(), "tar")
	if err := os.WriteFile(tarFile, someTar(t), 0o600); err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for kill := 1; ; kill++ {
		dir := filepath.Join(t.TempDir(), "store")
		records, points, killed := crashRun(t, dir, tarFile, kill)
		for _, p := range points {
			seen[p]++
		}
		checkAfterCrash(t, dir, kill, records)
		if !killed {
			break
		}
		// In the long rise to the squash the same steps come again and again.
		if n := len(records); n > 9 && n < squashAbove-1 {
			kill += 13
		}
	}
	for _, p := range Points {
		if seen[p] == 0 {
			t.Errorf("the step %s was never passed", p)
		}
	}
}

func crashRun(t *testing.T, dir, tar string, kill int) (records []crashRecord, points []string, killed bool) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe")
	cmd.Env = append(os.Environ(), envHelper+"=crash", envDir+"="+dir, envTar+"="+tar, envKill+"="+strconv.Itoa(kill))
	steps, err := os.Create(filepath.Join(t.TempDir(), "steps"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = steps.Close() }()
	cmd.ExtraFiles = []*os.File{steps}
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		if st, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || st.Signal() != syscall.SIGKILL {
			t.Fatalf("kill %d: %v\n%s", kill, err, errs.String())
		}
		killed = true
	}
	for sc := bufio.NewScanner(&out); sc.Scan(); {
		var r crashRecord
		if err := json.Unmarshal(sc.Bytes(), &r); err != nil {
			break // cut by the kill
		}
		records = append(records, r)
	}
	b, err := os.ReadFile(steps.Name())
	if err != nil {
		t.Fatal(err)
	}
	return records, strings.Fields(string(b)), killed
}

func checkAfterCrash(t *testing.T, dir string, kill int, records []crashRecord) {
	t.Helper()
	s, err := Open(dir, Options{})
	if err != nil {
		t.Fatalf("kill %d: reopening: %v", kill, err)
	}
	defer func() { _ = s.Close() }()
	left, err := os.ReadDir(filepath.Join(dir, tempDir))
	if err != nil || len(left) > 0 {
		t.Errorf("kill %d: temporary files are left: %v, %v", kill, left, err)
	}
	for i := range records {
		if records[i].At.Layer == -1 { // an earlier state was being checked out
			records = append(records[:4:4], records[i+1:]...)
			break
		}
	}
	if n := len(records); n > 0 && records[n-1].At.Layer == -2 {
		if _, err := s.Sweep(t.Context(), func(cairn.SessionKey) bool { return false }, nil); err != nil {
			t.Fatalf("kill %d: sweep: %v", kill, err)
		}
		return
	}
	for i, r := range records {
		tr, err := s.Tree(crashKey, r.Base)
		if err != nil {
			t.Fatal(err)
		}
		if err := tr.Verify(t.Context(), r.At); err != nil {
			t.Fatalf("kill %d: layer %d: %v", kill, r.At.Layer, err)
		}
		got, err := entries(t.Context(), tr, r.At)
		if err != nil {
			t.Fatalf("kill %d: layer %d: %v", kill, r.At.Layer, err)
		}
		if d := cmp.Diff(r.Shown, got); d != "" {
			t.Fatalf("kill %d: layer %d differs:\n%s", kill, r.At.Layer, d)
		}
		if i < len(records)-1 {
			continue
		}
		if _, err := tr.Checkout(t.Context(), r.At); err != nil {
			t.Fatalf("kill %d: checkout of layer %d: %v", kill, r.At.Layer, err)
		}
		if _, err := tr.Plain(t.Context(), r.At); err != nil {
			t.Fatalf("kill %d: plain of layer %d: %v", kill, r.At.Layer, err)
		}
		if got, err := tr.SnapshotPlain(t.Context(), r.At); err != nil || got.Snapshot != r.At {
			t.Fatalf("kill %d: plain of layer %d is %v, %v", kill, r.At.Layer, got, err)
		}
	}
}
