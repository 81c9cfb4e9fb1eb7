package builtin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/sandbox"
	"github.com/cairn-run/cairn/tool"
	"github.com/cairn-run/cairn/tool/builtin/hand"
	"github.com/cairn-run/cairn/workspace"
)

// attempt is one call that touches files, while it is being made.
type attempt struct {
	d    *Driver
	c    tool.Call
	s    *session
	b    *box
	dir  string // the working directory when it began; empty: the default
	now  string // and when it ended
	told []string
	// named says that the result names what background commands left running.
	named bool
}

// look makes a call that only reads. Several of one session are made at once: each in
// an instance that shows the recorded files, or in the live one.
func (d *Driver) look(ctx context.Context, c tool.Call) (*cairn.ToolResult, error) {
	if err := d.usable(ctx, c); err != nil {
		return nil, err
	}
	s, leave := d.enter(cairn.SessionKey{Tenant: c.Tenant, ID: c.Session})
	defer leave()
	if s == nil {
		return nil, closing()
	}
	done, err := s.turns.read(ctx)
	if err != nil {
		return nil, notMade(ctx)
	}
	if s.live != nil {
		fits, err := d.fits(s, c)
		if err != nil {
			done()
			return nil, err
		}
		if !fits {
			done()
			if done, err = d.endStale(ctx, s, c); err != nil {
				return nil, err
			}
		}
	}
	defer done()
	b := s.live
	if b == nil {
		if b, err = d.create(ctx, s.key, c, false); err != nil {
			return nil, failed(ctx, err)
		}
	}
	resp, err := b.hand(ctx, request(c), nil)
	breach, gone := b.lost()
	if s.live == nil {
		if _, e := b.destroy(ctx); err == nil {
			err = e
		}
	} else {
		d.touch(s)
	}
	switch {
	case ctx.Err() != nil:
		return nil, stopped(ctx)
	case breach != nil:
		return breached(breach), nil
	case gone != nil:
		return nil, gone
	case err != nil:
		return nil, failed(ctx, err)
	}
	return answer(resp), nil
}

// fits says whether the live instance is what a call would be made in.
func (d *Driver) fits(s *session, c tool.Call) (bool, error) {
	spec, _, err := d.want(c.Definition)
	if err != nil {
		return false, err
	}
	breach, gone := s.live.lost()
	return breach == nil && gone == nil && s.live.same(c.Workspace, spec, environ(c.Definition)), nil
}

// endStale ends a live instance that is not what the call is made in: the session was
// rolled back or moved, or the instance has died. It returns a reader's turn.
func (d *Driver) endStale(ctx context.Context, s *session, c tool.Call) (func(), error) {
	done, err := s.turns.write(ctx)
	if err != nil {
		return nil, notMade(ctx)
	}
	if s.live != nil {
		fits, err := d.fits(s, c) // another call may have done it
		if err == nil && !fits {
			d.endAlone(s, d.whyStale(s))
		}
		if err != nil {
			done()
			return nil, err
		}
	}
	done()
	if done, err = s.turns.read(ctx); err != nil {
		return nil, notMade(ctx)
	}
	return done, nil
}

func (d *Driver) whyStale(s *session) string {
	switch breach, gone := s.live.lost(); {
	case breach != nil:
		return breach.Error()
	case gone != nil:
		return "the sandbox was lost"
	}
	return "the session went on from another state of its files"
}

// writing makes a call that may change files: do runs in an instance with exactly the
// recorded files, and what it changed is recorded, or put back when it says so by
// keep, when it fails and when it is stopped.
func (d *Driver) writing(ctx context.Context, c tool.Call, do func(ctx context.Context, a *attempt) (r *cairn.ToolResult, keep bool, err error)) (*cairn.ToolResult, error) {
	if err := d.usable(ctx, c); err != nil {
		return nil, err
	}
	s, leave := d.enter(cairn.SessionKey{Tenant: c.Tenant, ID: c.Session})
	defer leave()
	if s == nil {
		return nil, closing()
	}
	done, err := s.turns.write(ctx)
	if err != nil {
		return nil, notMade(ctx)
	}
	defer done()
	a := &attempt{d: d, c: c, s: s, dir: c.Workspace.Dir, now: c.Workspace.Dir}
	if err := a.open(ctx); err != nil {
		return nil, failed(ctx, err)
	}
	result, keep, err := do(ctx, a)
	breach, gone := a.b.lost()
	switch {
	case ctx.Err() != nil:
		a.undo(ctx)
		return nil, stopped(ctx)
	case breach != nil:
		a.undo(ctx)
		return breached(breach), nil
	case gone != nil:
		a.undo(ctx)
		return nil, gone
	case err != nil:
		a.undo(ctx)
		return nil, failed(ctx, err)
	case !keep:
		a.undo(ctx)
		return result, nil
	}
	if err := a.record(ctx); err != nil {
		breach, _ := a.b.lost()
		// What was written faster than the sandbox looks at its disk is found here.
		if over, ok := errors.AsType[*workspace.Oversize](err); ok {
			breach = &sandbox.Breach{Limit: "disk", Used: over.Bytes, Max: over.Max}
		}
		a.undo(ctx)
		if breach != nil && ctx.Err() == nil {
			return breached(breach), nil
		}
		return nil, failed(ctx, err)
	}
	return result, nil
}

// open finds or makes the instance.
func (a *attempt) open(ctx context.Context) error {
	d, s := a.d, a.s
	if s.live != nil {
		fits, err := d.fits(s, a.c)
		if err != nil {
			return err
		}
		if !fits {
			d.endAlone(s, d.whyStale(s))
		}
	}
	a.told = d.notes(s.key)
	if a.b = s.live; a.b != nil {
		return nil
	}
	if len(a.told) == 0 && len(a.c.Running) > 0 { // another process had it
		a.told = []string{
			"background commands were ended, because the runtime was started anew: " + strings.Join(a.c.Running, ", "),
			"what background commands changed since the last call that writes is lost",
		}
	}
	b, err := d.create(ctx, s.key, a.c, true)
	if err != nil {
		d.note(s.key, a.told...)
		return err
	}
	a.b = b
	return nil
}

// undo ends the instance with all it runs: the next call begins with the recorded
// files.
func (a *attempt) undo(ctx context.Context) {
	var notes []string
	if a.b == a.s.live {
		for _, j := range a.b.alive() {
			notes = append(notes, fmt.Sprintf("background command %d was ended with the call that failed, and the files were put back", j.id))
		}
	}
	var killed []string
	var err error
	if a.s.live == a.b {
		killed, err = a.d.endLive(ctx, a.s)
	} else {
		killed, err = a.b.destroy(ctx)
	}
	a.c.Left.Killed = append(a.c.Left.Killed, killed...)
	if err != nil {
		a.d.log.Error("a sandbox could not be ended", "session", a.s.key.ID, "error", err)
	}
	a.d.note(a.s.key, append(a.told, notes...)...)
}

// record makes what the call changed part of the session. While background commands
// live they are stopped where they are and the instance is kept.
func (a *attempt) record(ctx context.Context) error {
	b := a.b
	parent := a.c.Workspace
	was := b.reported
	if b != a.s.live { // a new instance: what was recorded is not running in it
		was = a.c.Running
	}
	alive := b.alive()
	var shot cairn.Snapshotted
	var err error
	switch {
	case len(alive) > 0:
		if shot, err = a.recordLive(ctx, parent); err != nil {
			return err
		}
	default:
		ended := b.news() // after the result was made
		var killed []string
		if a.s.live == b {
			killed, err = a.d.endLive(ctx, a.s)
		} else {
			killed, err = b.destroy(ctx)
		}
		if err != nil {
			return err
		}
		if len(killed) > 0 && !a.named {
			ended = append(ended, orphaned(killed))
		}
		defer a.d.note(a.s.key, ended...)
		if b.plain != "" {
			shot, err = b.tree.SnapshotPlain(ctx, parent)
		} else {
			shot, err = b.tree.Snapshot(ctx, parent)
		}
		if err != nil {
			return err
		}
	}
	shot.Snapshot.Dir = a.now
	for _, j := range alive {
		shot.Running = append(shot.Running, j.String())
	}
	if shot.Snapshot != parent || !slices.Equal(was, shot.Running) {
		a.c.Left.Files = &shot
	}
	b.at, b.reported = shot.Snapshot, shot.Running
	if len(alive) > 0 {
		a.d.keep(a.s, b, idleTime(a.c.Definition))
	}
	return nil
}

func (a *attempt) recordLive(ctx context.Context, parent cairn.Snapshot) (shot cairn.Snapshotted, err error) {
	b := a.b
	if err := b.Freeze(ctx); err != nil {
		return shot, err
	}
	defer func() {
		ctx, cancel := clean(ctx)
		defer cancel()
		if e := b.Thaw(ctx); err == nil {
			err = e
		}
	}()
	if b.plain != "" {
		return b.tree.SnapshotPlain(ctx, parent)
	}
	return b.tree.SnapshotLive(ctx, parent)
}

// change makes a call of write or edit.
func (d *Driver) change(ctx context.Context, c tool.Call) (*cairn.ToolResult, error) {
	return d.writing(ctx, c, func(ctx context.Context, a *attempt) (*cairn.ToolResult, bool, error) {
		resp, err := a.b.hand(ctx, request(c), nil)
		if err != nil {
			return nil, false, err
		}
		r := answer(resp)
		if notes := slices.Concat(a.told, a.b.news(), a.orphans(ctx)); len(notes) > 0 {
			r.Content = append(r.Content, cairn.Text("\n["+strings.Join(notes, "]\n[")+"]"))
		}
		return r, true, nil
	})
}

// request is what the file program is asked for a call of a file tool. Relative paths
// begin with the workspace, wherever a shell went.
func request(c tool.Call) hand.Request {
	return hand.Request{Op: c.Tool, Args: c.Args, Shell: c.Workspace.Dir, Max: int(min(max(c.MaxOutput, 1)*3/4, 96<<10))}
}

func answer(resp *hand.Response) *cairn.ToolResult {
	return &cairn.ToolResult{Content: []cairn.Part{cairn.Text(resp.Text)}, Structured: resp.Structured, IsError: resp.IsError}
}

// breached tells the model that its sandbox was ended, and by what.
func breached(b *sandbox.Breach) *cairn.ToolResult {
	fields := map[string]string{
		"memory": "environment.memory", "processes": "environment.processes", "disk": "environment.disk",
	}
	more := "it cannot be raised"
	if f, ok := fields[b.Limit]; ok {
		more = "whoever runs this agent can raise it with " + f
	}
	used := func(n int64) string {
		if b.Limit == "memory" || b.Limit == "disk" {
			return cairn.Bytes(n).String()
		}
		return fmt.Sprint(n)
	}
	return said(true, "Everything in the sandbox was killed: more %s was used (%s) than is allowed (%s). All changes of this call were put back. Do it with less; %s.", b.Limit, used(b.Used), used(b.Max), more)
}

// failed gives an error of the sandbox or the store the form of [tool.Driver].
func failed(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return stopped(ctx)
	}
	return cairn.AsError(err)
}

func notMade(ctx context.Context) error {
	e := stopped(ctx)
	e.NotDone = true
	return e
}

func closing() error {
	return &cairn.Error{Code: cairn.CodeUnavailable, Message: "the node is being stopped", Retryable: true, NotDone: true}
}
