package builtin_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/tool/builtin"
)

// start starts a background command and returns its facts.
func (s *talk) start(command string) commandFacts {
	s.tb.Helper()
	r := s.call("bash", object{"command": command, "background": true})
	if r.IsError {
		s.tb.Fatal(cairn.TextOf(r.Content))
	}
	return factsOf(s.tb, r)
}

// TestBackground follows a background command through its life.
func TestBackground(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, w *world) {
		s := w.talk(t, agent())
		s.bash("mkdir d; cd d")
		f := s.start("i=0; while :; do i=$((i+1)); echo tick $i; echo $i > count; sleep 0.01; done")
		if f.Background.ID != 1 || f.Background.OutputFile != "/tmp/cairn/bg-1.txt" || len(f.Running) != 1 || len(s.left.Files.Running) != 1 || !strings.HasPrefix(s.left.Files.Running[0], "1: i=0; while") {
			t.Errorf("%+v, %+v", f, s.left.Files)
		}
		if w.driver.Live() != 1 {
			t.Errorf("%d instances", w.driver.Live())
		}
		// It goes on while calls are made and recorded in its instance.
		waitFor(t, func() bool {
			return strings.Contains(s.text("read", object{"path": f.Background.OutputFile, "limit": 3}), "     3\ttick 3\n")
		})
		text := s.text("bash", object{"command": "pwd; echo mine > mine; sleep 0.2 & wait"})
		if !strings.HasPrefix(text, "exit code 0\nrunning in the background: 1: i=0; while") {
			t.Error(text)
		}
		if got := s.text("edit", object{"path": "d/mine", "edits": []object{{"old_text": "mine", "new_text": "ours"}}}); !strings.Contains(got, "\n[running in the background: 1: ") {
			t.Error(got)
		}
		if err := w.verify(s); err != nil {
			t.Error(err)
		}
		r := s.call("bash", object{"stop": 1})
		if f := factsOf(t, r); r.IsError || len(f.Running) != 0 || len(f.Killed) == 0 || strings.Contains(cairn.TextOf(r.Content), "CAIRN") || s.left.Files == nil || len(s.left.Files.Running) != 0 {
			t.Errorf("%s\n%s\n%+v", cairn.TextOf(r.Content), r.Structured, s.left.Files)
		}
		if w.driver.Live() != 0 {
			t.Errorf("%d instances", w.driver.Live())
		}
		// What it wrote up to then is recorded.
		if got := s.bash("cat mine; test $(grep -c tick " + w.outside(s, "/tmp/cairn/bg-1.txt") + ") -ge 3 && echo tick"); got != "ours\ntick\n" {
			t.Error(got)
		}
		if err := w.verify(s); err != nil {
			t.Error(err)
		}
	})
}

// TestBackgroundEnds: the end of a background command is told once, with its exit code,
// and what it wrote since the last call is recorded with the next.
func TestBackgroundEnds(t *testing.T) {
	t.Parallel()
	s := newWorld(t, worldOptions{}).talk(t, agent())
	s.start("until [ -e go ]; do sleep 0.01; done; echo late > late; rm keep; exit 7")
	text := s.text("bash", object{"command": "touch keep go"}) // it may end within this call
	waitFor(t, func() bool {
		if !strings.Contains(text, "running in the background") {
			return true
		}
		text = s.text("bash", object{"command": "ls"})
		return false
	})
	if !strings.Contains(text, "ended with exit code 7: 1: until [ -e go ]") {
		t.Error(text)
	}
	if got := s.text("bash", object{"command": "ls; cat late"}); got != "exit code 0\n\ngo\nlate\nlate\n" {
		t.Error(got)
	}
	if err := s.verify(s); err != nil {
		t.Error(err)
	}
	if s.driver.Live() != 0 {
		t.Errorf("%d instances", s.driver.Live())
	}
}

// TestBackgroundEndsAtOnce: a command that ends before its call does is told of too.
func TestBackgroundEndsAtOnce(t *testing.T) {
	t.Parallel()
	s := newWorld(t, worldOptions{}).talk(t, agent())
	for n := range 5 {
		s.start(fmt.Sprintf("exit %d", n+3))
		var text string
		waitFor(t, func() bool {
			text = s.text("bash", object{"command": "true"})
			return !strings.Contains(text, "running in the background")
		})
		if want := fmt.Sprintf("exit code 0\nended with exit code %d: %d: exit %d (output: /tmp/cairn/bg-%d.txt)\nno output\n", n+3, n+1, n+3, n+1); text != want {
			t.Errorf("%s, want %s", text, want)
		}
	}
}

// TestRelease ends what lives, and the next call begins with what was recorded.
func TestRelease(t *testing.T) {
	t.Parallel()
	s := newWorld(t, worldOptions{}).talk(t, agent())
	if killed, err := s.driver.Release(t.Context(), s.key); err != nil || killed != nil {
		t.Errorf("%q, %v", killed, err)
	}
	s.start("sleep 81; echo never")
	s.start("echo early > f; sleep 82")
	waitFor(t, func() bool { return strings.Contains(s.text("read", object{"path": "f"}), "early") })
	killed, err := s.driver.Release(t.Context(), s.key)
	if all := strings.Join(killed, "\n"); err != nil || !strings.Contains(all, "sleep 81") || !strings.Contains(all, "sleep 82") {
		t.Errorf("%q, %v", killed, err)
	}
	if got := s.text("bash", object{"command": "ls /tmp/cairn"}); got != "exit code 0\n\nbg-1.txt\nbg-2.txt\n" {
		t.Error(got)
	}
}

// TestBackgroundIsPutBack: when a call in a live instance is stopped, everything goes
// back to what was recorded, and the model is told.
func TestBackgroundIsPutBack(t *testing.T) {
	t.Parallel()
	s := newWorld(t, worldOptions{}).talk(t, agent())
	s.start("sleep 83")
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		waitFor(t, func() bool { return strings.Contains(s.heard(), "now") })
		cancel()
	}()
	if _, err := s.attempt(ctx, s.effect("bash", object{"command": "echo x > x; echo now; sleep 84"})); cairn.CodeOf(err) != cairn.CodeCancelled {
		t.Error(err)
	}
	if all := strings.Join(s.left.Killed, "\n"); !strings.Contains(all, "sleep 83") || !strings.Contains(all, "sleep 84") {
		t.Errorf("%q", s.left.Killed)
	}
	text := s.text("bash", object{"command": "ls"})
	if text != "exit code 0\nbackground command 1 was ended with the call that failed, and the files were put back\nno output\n" {
		t.Error(text)
	}
}

// TestRolledBack: a call on another state than the live instance has ends it.
func TestRolledBack(t *testing.T) {
	t.Parallel()
	s := newWorld(t, worldOptions{}).talk(t, agent())
	s.bash("echo 1 > f")
	before := s.at
	s.start("echo 2 > f; sleep 85")
	waitFor(t, func() bool { return strings.Contains(s.text("read", object{"path": "f"}), "2") })
	s.at = before
	if got := s.text("read", object{"path": "f"}); got != "     1\t1\n" {
		t.Error(got)
	}
	if s.driver.Live() != 0 {
		t.Errorf("%d instances", s.driver.Live())
	}
	if got := s.text("bash", object{"command": "cat f"}); got != "exit code 0\nbackground command 1 was ended: the session went on from another state of its files\nwhat background commands changed since the last call that writes is lost\n\n1\n" {
		t.Error(got)
	}
}

// TestIdle: what is left alone too long is ended, and the model is told.
func TestIdle(t *testing.T) {
	t.Parallel()
	a := agent()
	a.Environment.Idle = cairn.Duration(1)
	s := newWorld(t, worldOptions{}).talk(t, a)
	s.start("sleep 86")
	waitFor(t, func() bool { return s.driver.Live() == 0 })
	if got := s.text("bash", object{"command": "true"}); !strings.Contains(got, "background command 1 was ended: no call was made for too long (environment.idle)") {
		t.Error(got)
	}
}

// TestInstancesAreBounded: when a place is needed, what was left alone longest makes
// room; calls that are being made do not.
func TestInstancesAreBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{builtin: builtin.Options{Instances: 2}})
	var talks []*talk
	for range 2 {
		s := w.talk(t, agent())
		s.start("sleep 87")
		talks = append(talks, s)
	}
	third := w.talk(t, agent())
	third.start("sleep 88")
	if w.driver.Live() != 2 {
		t.Errorf("%d instances", w.driver.Live())
	}
	if got := talks[0].text("bash", object{"command": "true"}); !strings.Contains(got, "background command 1 was ended: the node needed its place") {
		t.Error(got)
	}
	if got := third.text("bash", object{"command": "true"}); !strings.Contains(got, "running in the background") {
		t.Error(got)
	}
}

// TestManyBackground: their number is bounded.
func TestManyBackground(t *testing.T) {
	t.Parallel()
	s := newWorld(t, worldOptions{}).talk(t, agent())
	for i := range 32 {
		if f := s.start(fmt.Sprint("sleep ", 900+i)); f.Background.ID != i+1 {
			t.Errorf("%+v", f)
		}
	}
	if r := s.call("bash", object{"command": "sleep 1000", "background": true}); !r.IsError || !strings.Contains(cairn.TextOf(r.Content), "32 background commands are running") {
		t.Error(cairn.TextOf(r.Content))
	}
}

// TestOrphans: what a background command leaves running when it ends is killed with the
// next call at the latest, and that is said once.
func TestOrphans(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, w *world) {
		for _, next := range []struct {
			tool string
			args object
		}{
			{"bash", object{"command": "true"}},
			{"write", object{"path": "f", "content": "x"}},
			{"bash", object{"stop": 7}},
		} {
			s := w.talk(t, agent())
			s.start("sleep 89 & echo started")
			texts := ""
			waitFor(t, func() bool {
				texts += s.text(next.tool, next.args)
				return w.driver.Live() == 0
			})
			texts += s.text("bash", object{"command": "true"})
			texts += s.text("bash", object{"command": "true"})
			_, killed, _ := strings.Cut(texts, "is over (without & at its end it goes on as long as they do): ")
			killed, _, _ = strings.Cut(killed, "\n")
			if !strings.Contains(texts, "ended with exit code 0: 1: sleep 89 & echo started") || !strings.Contains(killed, "sleep") || strings.Count(texts, "is over (without &") != 1 {
				t.Errorf("%s: %s", next.tool, texts)
			}
		}
	})
	a := agent()
	a.Environment.Idle = cairn.Duration(1)
	s := newWorld(t, worldOptions{}).talk(t, a)
	s.start("sleep 90 &")
	waitFor(t, func() bool { return s.driver.Live() == 0 })
	if got := s.text("bash", object{"command": "true"}); !strings.Contains(got, "is over (without &") && !strings.Contains(got, "background command 1 was ended") {
		t.Error(got)
	}
}
