package sandboxtest

import (
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/sandbox"
)

// murders is how many of the driver's own processes are killed while it is used.
const murders = 40

// murderGap is the longest time between two: a few times what it takes to make,
// use and destroy an instance.
const murderGap = 200 * time.Millisecond

// runtimeProcesses lists what the driver itself has started: every process below
// this one that carries none of the marks.
func runtimeProcesses(marks ...string) []int {
	var all []int
	for _, pid := range descendants() {
		payload := false
		for _, m := range marks {
			payload = payload || cmdlineHas(pid, m)
		}
		if !payload {
			all = append(all, pid)
		}
	}
	return all
}

// killedOne kills each of the driver's processes once: every instance that it
// served ends with a reason, and the driver makes new ones.
func killedOne(t *testing.T, s *suite) {
	mark := token()
	for n := 0; ; n++ {
		b := s.box(t, nil)
		b.must(t, "echo kept > kept")
		out := newLines(t)
		p := b.start(t, sandbox.Cmd{Args: []string{b.attacker, "tree", "stay", mark}, Stdout: out})
		d := b.start(t, sandbox.Cmd{Args: []string{b.attacker, "tree", "stay", mark}, Stdout: out, Detached: true})
		out.ready(t, 2)
		victims := runtimeProcesses(mark)
		if n >= len(victims) {
			if n == 0 {
				t.Error("the driver has no process of its own: this test shows nothing")
			}
			return
		}
		if err := unix.Kill(victims[n], unix.SIGKILL); err != nil {
			t.Fatal(err)
		}
		// A helper may be only for making instances, or for one detached command: then
		// the instance goes on.
		over := make(chan struct{}, 2)
		for _, x := range []sandbox.Process{p, d} {
			go func() {
				_, _ = x.Wait(within(t)) // how it ended is the instance's word
				over <- struct{}{}
			}()
		}
		select {
		case <-b.Done():
			if b.Err() == nil || errors.Is(b.Err(), sandbox.ErrDestroyed) {
				t.Errorf("it ended with %v", b.Err())
			}
			for range 2 {
				<-over
			}
		case <-over:
		case <-time.After(2 * time.Second): // it lives: it must still work
			b.must(t, "true")
		}
		if _, err := b.Destroy(within(t)); err != nil {
			t.Errorf("destroying after a helper was killed: %v", err)
		}
		gone(t, mark)
		kept := s.again(t, b.spec, b.base)
		if got := kept.must(t, "cat kept"); got != "kept\n" {
			t.Errorf("what was written before has %q", got)
		}
		if _, err := kept.Destroy(within(t)); err != nil {
			t.Fatal(err)
		}
		t.Logf("killed helper %d: the instance ended with %v", n, b.Err())
	}
}

// again makes an instance, as often as the driver says that it may succeed later.
func (s *suite) again(t *testing.T, spec sandbox.Spec, base string) *box {
	t.Helper()
	spec.Mounts = nil // create adds them
	var last error
	eventually(t, "a sandbox can be made again", func() bool {
		i, err := s.Create(within(t), spec)
		if err == nil {
			_, err = i.Destroy(within(t))
		}
		if e, ok := errors.AsType[*cairn.Error](err); err != nil && (!ok || !e.Retryable) {
			t.Fatalf("got %v (before: %v), want an error that says it may succeed later", err, last)
		}
		last = err
		return err == nil
	})
	return s.create(t, spec, base)
}

// killedAnyTime kills them at any time while instances are made, used and
// destroyed. All that may come of it is a typed error.
func killedAnyTime(t *testing.T, s *suite) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	mark := token()
	stop, stopped := make(chan struct{}), make(chan int)
	go func() {
		n := 0
		for n < murders {
			select {
			case <-stop:
				stopped <- n
				return
			case <-time.After(time.Duration(random.Int64N(int64(murderGap)))):
			}
			if v := runtimeProcesses(mark); len(v) > 0 && unix.Kill(v[random.IntN(len(v))], unix.SIGKILL) == nil {
				n++
			}
		}
		stopped <- n
	}()
	typedOnly := func(what string, err error) {
		if _, ok := errors.AsType[*cairn.Error](err); err != nil && !ok {
			t.Errorf("%s: got %v, want a *cairn.Error", what, err)
		}
	}
	made := 0
	for {
		spec, _ := s.spec(t, 1)
		spec.Mounts = append(spec.Mounts, sandbox.Mount{Host: s.attacker, Path: attackerMount})
		i, err := s.Create(within(t), spec)
		typedOnly("create", err)
		if err == nil {
			made++
			stay := []string{attackerMount + "/attacker", "tree", "stay", mark}
			_, err := i.Start(within(t), sandbox.Cmd{Args: stay, Detached: true})
			typedOnly("start detached", err)
			p, err := i.Start(within(t), sandbox.Cmd{Args: []string{"true"}})
			typedOnly("start", err)
			if err == nil {
				_, err = p.Wait(within(t))
				typedOnly("wait", err)
			}
			_, err = i.Destroy(within(t))
			typedOnly("destroy", err)
		}
		select {
		case n := <-stopped:
			t.Logf("%d were killed, %d sandboxes were made", n, made)
			spec, base := s.spec(t, 1)
			s.again(t, spec, base).must(t, "true")
			eventually(t, "no command is alive", func() bool { return len(alive(t, mark)) == 0 })
			return
		default:
		}
		if made > 2000 {
			close(stop)
		}
	}
}

// commandFlood starts more commands than may run.
func commandFlood(t *testing.T, s *suite) {
	b := s.box(t, small)
	mark := token()
	started := 0
	for ; started < 20*processLimit; started++ {
		if _, err := b.Start(within(t), sandbox.Cmd{Args: []string{b.attacker, "tree", "quiet", mark}, Detached: started%2 == 0}); err != nil {
			t.Logf("after %d: %v", started, err)
			if b.Err() == nil {
				typed(t, "one command too many", err, cairn.CodeUnavailable, cairn.CodeToolFailed)
			} else {
				breach(t, b, "processes", "memory")
			}
			break
		}
	}
	if _, err := b.Destroy(within(t)); err != nil {
		t.Error(err)
	}
	gone(t, mark)
	s.box(t, nil).must(t, "true")
}
