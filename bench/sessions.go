package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/cairn-run/cairn"
	v1 "github.com/cairn-run/cairn/api/v1"
	"github.com/cairn-run/cairn/client"
)

// settle leaves a server that has nothing to do alone before its memory is read.
func (b *bench) settle(ctx context.Context) { pause(ctx, time.Duration(b.Seconds)*time.Second) }

// idleSessions measures the memory of a server whose sessions have all made a run
// and wait for the next message.
func idleSessions(ctx context.Context, b *bench) (_ []row, err error) {
	data, err := b.folder("idle")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.drop(data)) }()
	if err := script(data, "replies:\n"+plan+"  - text: It is on its way.\n"); err != nil {
		return nil, err
	}
	s, _, err := b.serve(ctx, data)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.kill()) }()
	empty, _, err := memory(s.cmd.Process.Pid)
	if err != nil {
		return nil, err
	}
	if err := s.create(ctx, b.Sessions, false); err != nil {
		return nil, err
	}
	idle := func(x v1.Session) bool { return x.Status == cairn.StatusIdle }
	if err := s.until(ctx, "idle", idle); err != nil {
		return nil, err
	}
	s.client.Close()
	b.settle(ctx)
	worked, peak, err := memory(s.cmd.Process.Pid)
	if err != nil {
		return nil, err
	}
	n, err := s.goroutines()
	if err != nil {
		return nil, err
	}
	// The same sessions in a server that has not worked for them.
	again, _, err := b.serve(ctx, data)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, again.kill()) }()
	b.settle(ctx)
	rest, _, err := memory(again.cmd.Process.Pid)
	if err != nil {
		return nil, err
	}
	name := short(float64(b.Sessions)) + " idle sessions, "
	next := &beside{"no session", mb(empty)}
	return []row{
		{Name: name + "after their runs", Measured: mb(worked), Unit: "MB", Beside: next, Goal: goalIf(b.Sessions >= 10_000, atMost(300))},
		{Name: name + "after a restart", Measured: mb(rest), Unit: "MB", Beside: next, Goal: goalIf(b.Sessions >= 10_000, atMost(300))},
		{Name: name + "highest while they ran", Measured: mb(peak), Unit: "MB", Beside: next},
		{Name: name + "goroutines", Measured: float64(n), Unit: "goroutines"},
	}, nil
}

func mb(bytes int64) float64 { return float64(bytes) / 1e6 }

// drop removes a data directory and what lies beside it.
func (b *bench) drop(data string) error {
	return errors.Join(os.RemoveAll(data), os.RemoveAll(scriptsOf(data)))
}

// restartSessions kills a server while the model works for all of its sessions,
// and starts it again with a model that answers at once.
func restartSessions(ctx context.Context, b *bench) (_ []row, err error) {
	data, err := b.folder("restart")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.drop(data)) }()
	const slow = "  - {text: It is on its way., delay: 10m}\n"
	if err := script(data, "replies:\n"+plan+slow); err != nil {
		return nil, err
	}
	s, _, err := b.serve(ctx, data)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.kill()) }()
	if err := s.create(ctx, b.Sessions, true); err != nil {
		return nil, err
	}
	asking := func(x v1.Session) bool { return x.ModelCalls == 2 }
	if err := s.until(ctx, "in its second model call", asking); err != nil {
		return nil, err
	}
	if err := s.kill(); err != nil {
		return nil, err
	}
	if err := script(data, "replies:\n"+plan+"  - text: It is on its way.\n"); err != nil {
		return nil, err
	}
	again, ready, err := b.serveProfiled(ctx, "restart", data)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, again.kill()) }()
	unfinished := client.SessionQuery{Limit: 1, Status: []cairn.Status{
		cairn.StatusQueued, cairn.StatusRunning, cairn.StatusWaiting, cairn.StatusIdle, cairn.StatusPaused, cairn.StatusCancelling,
	}}
	for {
		page, err := again.client.Sessions(ctx, unfinished)
		if err != nil {
			return nil, err
		}
		if len(page.Sessions) == 0 {
			break
		}
		if time.Since(again.began) > patience {
			return nil, fmt.Errorf("%s is still %s", page.Sessions[0].ID, page.Sessions[0].Status)
		}
		pause(ctx, 20*time.Millisecond)
	}
	finished := time.Since(again.began)
	if err := again.stop(); err != nil {
		return nil, err
	}
	if b.profiles != "" {
		if err := b.top("restart"); err != nil {
			return nil, err
		}
	}
	used := again.cmd.ProcessState.UserTime() + again.cmd.ProcessState.SystemTime()
	moving, stepped, err := b.moved(ctx, data, again.began)
	if err != nil {
		return nil, err
	}
	name := short(float64(b.Sessions)) + " unfinished sessions, restart until "
	return []row{
		{Name: name + "ready", Measured: ready.Seconds(), Unit: "s"},
		{Name: name + "all moving", Measured: moving.Seconds(), Unit: "s", Goal: goalIf(b.Sessions >= 10_000, atMost(5))},
		{Name: name + "all made a step", Measured: stepped.Seconds(), Unit: "s", Goal: goalIf(b.Sessions >= 10_000, atMost(5))},
		{Name: name + "all finished", Measured: finished.Seconds(), Unit: "s", Beside: &beside{"CPU used", used.Seconds()}},
	}, nil
}

// moved reads in the journal when the last session recorded its first fact after
// a start, and when the last one recorded its first answer.
func (b *bench) moved(ctx context.Context, data string, began time.Time) (moving, stepped time.Duration, err error) {
	store, j, err := openJournal(ctx, data)
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	first, answer := map[cairn.SessionKey]time.Duration{}, map[cairn.SessionKey]time.Duration{}
	for entry, err := range j.Tail(ctx, cairn.DefaultTenant, 0) {
		if err != nil {
			return 0, 0, err
		}
		events, err := j.Decode(ctx, cairn.DefaultTenant, entry.Frame)
		if err != nil {
			return 0, 0, err
		}
		for _, e := range events {
			since := e.At.Sub(began)
			if since < 0 {
				continue
			}
			if _, ok := first[entry.Session]; !ok {
				first[entry.Session] = since
			}
			if _, ok := answer[entry.Session]; !ok && e.Type() == (cairn.ModelCompleted{}).EventType() {
				answer[entry.Session] = since
			}
		}
	}
	if len(first) != b.Sessions || len(answer) != b.Sessions {
		return 0, 0, fmt.Errorf("of %d sessions %d moved and %d made a step", b.Sessions, len(first), len(answer))
	}
	for s := range first {
		moving, stepped = max(moving, first[s]), max(stepped, answer[s])
	}
	return moving, stepped, nil
}

// startToReady times the start of a server until it answers, on an empty data
// directory and on one that was used and left by a killed process.
func startToReady(ctx context.Context, b *bench) (_ []row, err error) {
	var empty, used []time.Duration
	for range b.Starts {
		data, err := b.folder("empty")
		if err != nil {
			return nil, err
		}
		s, took, err := b.serve(ctx, data)
		if err != nil {
			return nil, err
		}
		empty = append(empty, took)
		if err := errors.Join(s.stop(), b.drop(data)); err != nil {
			return nil, err
		}
	}
	data, err := b.folder("used")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.drop(data)) }()
	if err := script(data, "replies:\n"+plan+"  - text: It is on its way.\n"); err != nil {
		return nil, err
	}
	s, _, err := b.serve(ctx, data)
	if err != nil {
		return nil, err
	}
	sessions := b.Sessions / 5
	if err := s.create(ctx, sessions, false); err != nil {
		return nil, errors.Join(err, s.kill())
	}
	for range b.Starts {
		if err := s.kill(); err != nil {
			return nil, err
		}
		var took time.Duration
		if s, took, err = b.serve(ctx, data); err != nil {
			return nil, err
		}
		used = append(used, took)
	}
	if err := s.stop(); err != nil {
		return nil, err
	}
	info, err := os.Stat(filepath.Join(data, "cairn.db"))
	if err != nil {
		return nil, err
	}
	return []row{
		{Name: "start to ready, empty", Measured: millis(at(empty, 0.5)), Unit: "ms", Goal: atMost(300)},
		{
			Name:     fmt.Sprintf("start to ready, killed, %s sessions, %s MB", short(float64(sessions)), short(mb(info.Size()))),
			Measured: millis(at(used, 0.5)), Unit: "ms", Goal: atMost(300),
		},
	}, nil
}

// buildBinary builds the command as a release is built: from nothing but the
// sources and the downloaded modules.
func buildBinary(ctx context.Context, b *bench) (_ []row, err error) {
	folder, err := b.folder("build")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	out := filepath.Join(folder, "cairn")
	var env []string
	name := "build, warm cache"
	if b.Cold {
		name = "build, empty cache"
		env = []string{"GOCACHE=" + filepath.Join(folder, "cache")}
	}
	took, err := build(ctx, out, env...)
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(out)
	if err != nil {
		return nil, err
	}
	return []row{
		{Name: "binary", Measured: mb(info.Size()), Unit: "MB"},
		{Name: name, Measured: took.Seconds(), Unit: "s"},
	}, nil
}
