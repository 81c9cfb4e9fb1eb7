package builtin_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/cairn-run/cairn"
)

// TestLinksStayInside: links that the agent lays lead to places inside the sandbox
// only, for every file tool.
func TestLinksStayInside(t *testing.T) {
	t.Parallel()
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("SECRET of the host"), 0o644); err != nil {
		t.Fatal(err)
	}
	both(t, func(t *testing.T, w *world) {
		s := w.talk(t, agent())
		s.bash(fmt.Sprintf("ln -s %s a; ln -s %s dir; ln -s / root; mkdir -p /tmp/cairn; true", secret, filepath.Dir(secret)))
		for _, call := range []struct {
			tool string
			args object
		}{
			{"read", object{"path": "a"}},
			{"read", object{"path": "dir/secret"}},
			{"read", object{"path": "root" + secret}},
			{"read", object{"path": secret}},
			{"read", object{"path": "/workspace/../../../../../../.." + secret}},
			{"search", object{"pattern": "SECRET", "path": "dir"}},
			{"list", object{"path": filepath.Dir(secret)}},
			{"write", object{"path": "a", "content": "overwritten"}},
			{"write", object{"path": "dir/new", "content": "x"}},
			{"edit", object{"path": "a", "edits": []object{{"old_text": "SECRET", "new_text": "x"}}}},
		} {
			if got := s.text(call.tool, call.args); strings.Contains(got, "SECRET of") || strings.Contains(got, "of the host") {
				t.Errorf("%s %v: %s", call.tool, call.args, got)
			}
		}
	})
	if b, err := os.ReadFile(secret); err != nil || string(b) != "SECRET of the host" {
		t.Errorf("%q, %v", b, err)
	}
	if list, err := os.ReadDir(filepath.Dir(secret)); err != nil || len(list) != 1 {
		t.Errorf("%v, %v", list, err)
	}
}

// TestFilesOfTheSandbox: what the file tools see is the sandbox, not the host.
func TestFilesOfTheSandbox(t *testing.T) {
	t.Parallel()
	s := newWorld(t, worldOptions{}).talk(t, agent())
	if got := s.text("read", object{"path": "/etc/shadow"}); strings.Contains(got, "root:") {
		t.Error(got)
	}
	if got := s.text("read", object{"path": "/etc/passwd"}); !strings.Contains(got, "agent") {
		t.Error(got)
	}
	for _, p := range []string{"/run/cairn/hand", "/usr/bin/env", "/etc/passwd", "/proc/1/mem"} {
		if r := s.call("write", object{"path": p, "content": "x"}); !r.IsError && p != "/etc/passwd" {
			t.Errorf("%s: %s", p, cairn.TextOf(r.Content))
		}
	}
	for _, p := range []string{"/proc/1/environ", "/proc/kcore", "/proc/1/mem", "/dev/zero", "/dev/random", "/proc/kmsg"} {
		if got := s.text("read", object{"path": p}); len(got) > 10_000 {
			t.Errorf("%s: %d bytes", p, len(got))
		}
	}
}

// TestNothingBlocks: what would block a careless reader is refused.
func TestNothingBlocks(t *testing.T) {
	t.Parallel()
	s := newWorld(t, worldOptions{}).talk(t, agent())
	// A background command, so that the FIFO is there: records do not keep such files.
	s.start("mkfifo f; touch made; sleep 91")
	waitFor(t, func() bool { return strings.Contains(s.text("list", object{}), "made") })
	for tool, args := range map[string]object{
		"read":   {"path": "f"},
		"write":  {"path": "f", "content": "x"},
		"edit":   {"path": "f", "edits": []object{{"old_text": "a", "new_text": "b"}}},
		"search": {"path": "f", "pattern": "x"},
	} {
		if got := s.text(tool, args); !strings.Contains(got, "/workspace/f is a named pipe, not a file") {
			t.Errorf("%s: %s", tool, got)
		}
	}
}

// TestOutputDirectoryIsNotTrusted: where output is spilled belongs to the agent.
func TestOutputDirectoryIsNotTrusted(t *testing.T) {
	t.Parallel()
	s := newWorld(t, worldOptions{}).talk(t, agent())
	s.bash("mkdir -p /tmp/cairn; ln -s /workspace/stolen /tmp/cairn/out-1.txt; ln -s /etc/passwd /tmp/cairn/bg-7.txt")
	if f := factsOf(t, s.call("bash", object{"command": "seq 1 20000"})); f.OutputFile != "/tmp/cairn/out-2.txt" {
		t.Errorf("%+v", f)
	}
	if f := s.start("echo"); f.Background.OutputFile != "/tmp/cairn/bg-8.txt" {
		t.Errorf("%+v", f)
	}
	s.bash("rm -r /tmp/cairn; touch /tmp/cairn")
	r := s.call("bash", object{"command": "seq 1 20000"})
	if text := cairn.TextOf(r.Content); r.IsError || !strings.Contains(text, "and the whole could not be kept: ") || !strings.HasSuffix(text, "20000\n") {
		t.Errorf("%.300s", text)
	}
	if r := s.call("bash", object{"command": "echo", "background": true}); !r.IsError || !strings.Contains(cairn.TextOf(r.Content), "No file could be made for the output") {
		t.Error(cairn.TextOf(r.Content))
	}
}

// TestReadsAtOnce: reads of one session are made side by side, and see what the last
// write left.
func TestReadsAtOnce(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, w *world) {
		s := w.talk(t, agent())
		s.bash("for i in $(seq 20); do echo $i > f$i; done")
		var wait sync.WaitGroup
		for i := range 20 {
			e := s.effect("read", object{"path": fmt.Sprint("f", i+1)})
			wait.Go(func() {
				r, err := w.catalog.Call(t.Context(), s.key, s.agent, e, "eff_1", 1, watchNothing)
				if err != nil || cairn.TextOf(r.Content) != fmt.Sprintf("     1\t%d\n", i+1) {
					t.Errorf("%v, %v", r, err)
				}
			})
		}
		wait.Wait()
	})
}

// TestBreach: a limit that was exceeded is an answer that names it, and the changes of
// the call are put back.
func TestBreach(t *testing.T) {
	t.Parallel()
	a := agent()
	a.Environment.Disk = 32 << 20
	s := newWorld(t, worldOptions{}).talk(t, a)
	s.bash("echo old > f")
	r := s.call("bash", object{"command": "echo new > f; head -c 300M /dev/zero > big; head -c 300M /dev/zero > big2; sleep 93"})
	text := cairn.TextOf(r.Content)
	if !r.IsError || !strings.HasPrefix(text, "Everything in the sandbox was killed: more disk was used") || !strings.Contains(text, "environment.disk") || s.left.Files != nil || len(r.Structured) != 0 {
		t.Errorf("%s, %+v", text, s.left.Files)
	}
	if got := s.bash("cat f; ls"); got != "old\nf\n" {
		t.Error(got)
	}
	if s.driver.Live() != 0 {
		t.Errorf("%d instances", s.driver.Live())
	}
}

// TestMemory: a command that takes too much memory ends, whoever holds the limit, and
// the model is told why.
func TestMemory(t *testing.T) {
	t.Parallel()
	a := agent()
	a.Environment.Memory = 64 << 20
	s := newWorld(t, worldOptions{}).talk(t, a)
	r := s.call("bash", object{"command": "exec python3 -c 'x = [bytearray(b\"x\" * (1<<20)) for _ in range(400)]; print(\"done\")'"})
	if text := cairn.TextOf(r.Content); !r.IsError || strings.Contains(text, "done") || !strings.Contains(text, "memory") && !strings.Contains(text, "MemoryError") {
		t.Error(text)
	}
	if got := s.bash("echo alive"); got != "alive\n" {
		t.Error(got)
	}
}

// TestLostSandbox: when the sandbox dies under a call, another attempt can be made.
func TestLostSandbox(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	s := w.talk(t, agent())
	s.bash("echo old > f")
	e := s.effect("bash", object{"command": "echo new > f; echo now; sleep 92"})
	go func() {
		waitFor(t, func() bool { return strings.Contains(s.heard(), "now") })
		if err := w.sandbox.Close(); err != nil {
			t.Error(err)
		}
	}()
	_, err := s.attempt(t.Context(), e)
	ce := cairn.AsError(err)
	if err == nil || !ce.Retryable || ce.Code != cairn.CodeUnavailable || s.left.Files != nil {
		t.Errorf("%v, %+v", err, s.left.Files)
	}
	if w.driver.Live() != 0 {
		t.Errorf("%d instances", w.driver.Live())
	}
}

// TestAfterRestart: what a process that died left on the disk is not part of the state.
func TestAfterRestart(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	s := w.talk(t, agent())
	s.bash("echo old > f")
	e := s.effect("bash", object{"command": "echo new > f; touch more"})
	if _, err := s.attempt(t.Context(), e); err != nil { // its outcome is lost
		t.Fatal(err)
	}
	lost := s.left.Files.Snapshot
	if got := s.text("read", object{"path": "f"}); got != "     1\told\n" {
		t.Error(got)
	}
	if got := s.bash("cat f; ls"); got != "old\nf\n" {
		t.Error(got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.attempt(ctx, e); cairn.CodeOf(err) != cairn.CodeCancelled || !cairn.AsError(err).NotDone {
		t.Error(err)
	}
	if _, err := s.attempt(t.Context(), e); err != nil || s.left.Files.Snapshot != lost {
		t.Errorf("%+v, %+v, %v", s.left.Files, lost, err)
	}
}

// TestBackgroundOfAnotherProcess: what the runtime had running when it was killed is
// told to be gone, once, and is no longer recorded as running.
func TestBackgroundOfAnotherProcess(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	s := w.talk(t, agent())
	e := s.effect("bash", object{"command": "true"})
	e.Running = []string{"1: python3 -m http.server"}
	r, err := s.attempt(t.Context(), e)
	if err != nil || !strings.Contains(cairn.TextOf(r.Content), "background commands were ended, because the runtime was started anew: 1: python3") {
		t.Errorf("%v: %v", r, err)
	}
	if f := s.left.Files; f == nil || len(f.Running) != 0 {
		t.Errorf("what is recorded: %+v", f)
	}
}

// TestSkills are there, read-only, for commands and for the file tools.
func TestSkills(t *testing.T) {
	t.Parallel()
	a := agent()
	a.Skills = []cairn.Skill{{Name: "pdf", Description: "Reads PDF files.", Files: []cairn.SkillFile{
		{Path: "SKILL.md", Content: []byte("# How to read\n")},
		{Path: "bin/run", Content: []byte("#!/bin/sh\necho ran\n"), Executable: true},
	}}}
	both(t, func(t *testing.T, w *world) {
		s := w.talk(t, a)
		if got := s.text("read", object{"path": "/skills/pdf/SKILL.md"}); got != "     1\t# How to read\n" {
			t.Error(got)
		}
		if w.sandbox.Name() == "none" {
			return
		}
		if got := s.bash("/skills/pdf/bin/run; ls -l /skills/pdf | cut -c1-10"); got != "ran\ntotal 8\n-rw-r--r--\ndrwxr-xr-x\n" {
			t.Error(got)
		}
		if r := s.call("write", object{"path": "/skills/pdf/SKILL.md", "content": "x"}); !r.IsError {
			t.Error(cairn.TextOf(r.Content))
		}
		if got := s.text("search", object{"path": "/skills", "pattern": "read"}); got != "/skills/pdf/SKILL.md:1:# How to read\n" {
			t.Error(got)
		}
	})
}
