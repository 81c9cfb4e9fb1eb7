package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/cairn-run/cairn"
	v1 "github.com/cairn-run/cairn/api/v1"
	"github.com/cairn-run/cairn/client"
)

// follower shows a session until its run ends, somebody has to answer, or the
// person leaves.
type follower struct {
	app    *app
	link   *link
	v      *view
	trace  trace
	story  story
	board  board
	screen *screen
	// wait stays while an ask is open and nobody here can answer it.
	wait bool
	// quiet prints no progress.
	quiet bool
	// target is the last event that was there when somebody looked: what comes
	// before is history, and nothing is asked about it.
	target cairn.Seq
	// restless says that a session at rest may have something in its inbox that
	// nobody has taken yet, and rest when to stop waiting for that.
	restless bool
	rest     <-chan time.Time
	// put is the ask that is being put to the person; skipped are those left open,
	// and answered those whose resolution is on its way.
	put      *prompt
	skipped  map[cairn.AskID]bool
	answered map[cairn.AskID]bool
	lines    <-chan string
	// deaf says that the input has ended: nobody here answers any more.
	deaf bool
	// output is the event that holds the final answer, said the one that the view
	// has the text of.
	output, said cairn.Seq
	// least is the event that the end of a run has to follow to be the one that is
	// waited for.
	least cairn.Seq
	// interrupted is when the person asked to leave.
	interrupted <-chan time.Time
	cancelled   bool
}

// patience is how long a stream looks for a node that went away: a server may be
// starting again, but another process of this machine has left its data
// directory to whoever comes next.
func (f *follower) patience() client.Option {
	if f.app.server != "" {
		return client.Patience(time.Minute)
	}
	return client.Patience(2 * time.Second)
}

// streamed is what a stream gave.
type streamed struct {
	item v1.StreamItem
	err  error
}

// errLeft: the person left, or another process has to go on.
var errLeft = errors.New("left")

// newFollower makes a follower of a session that may have a past.
func (a *app) newFollower(l *link, id cairn.SessionID, wait, quiet bool) *follower {
	f := &follower{
		app: a, link: l, v: newView(id), wait: wait, quiet: quiet, skipped: map[cairn.AskID]bool{}, answered: map[cairn.AskID]bool{},
		trace:  trace{style: a.err, loc: a.Location, most: 200, blocks: a.Terminal.Err},
		screen: &screen{w: a.Stderr, live: a.err.color && !quiet, width: a.Terminal.Width},
	}
	g := glyphsOf(a.Getenv)
	f.story = story{style: a.err, glyphs: g, loc: a.Location, prompts: f.interactive()}
	f.board = board{style: a.err, glyphs: g}
	return f
}

// interactive says that a person is there to answer.
func (f *follower) interactive() bool {
	return f.app.Terminal.In && f.app.Terminal.Err && !f.app.json && !f.deaf
}

// follow shows what comes after the view's last event. It returns nil when the
// run is over or has to wait, errLeft when the person left, and an error of code
// unavailable when the node went away.
func (f *follower) follow(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := f.look(ctx); err != nil {
		return err
	}
	if f.v.seq >= f.target {
		if done, err := f.settled(ctx); done || err != nil {
			return err
		}
	}
	items := make(chan streamed)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() {
		for item, err := range f.link.Stream(ctx, f.v.id, f.v.seq, f.patience()) {
			select {
			case items <- streamed{item, err}:
			case <-ctx.Done():
				return
			}
		}
	})
	if f.interactive() && f.lines == nil {
		f.lines = readLines(f.app.Stdin)
	}
	tick := time.NewTicker(spinPause)
	defer tick.Stop()
	if !f.screen.live {
		tick.Stop()
	}
	defer f.screen.show(nil)
	var failed <-chan error
	if n, ok := f.link.node.(Failing); ok {
		failed = n.Failed()
	}
	f.screen.show(f.below())
	for {
		select {
		case got := <-items:
			if got.err != nil {
				return got.err
			}
			done, err := f.take(ctx, got.item)
			if done || err != nil {
				return err
			}
		case line, ok := <-f.lines:
			if err := f.typed(ctx, line, ok); err != nil {
				return err
			}
		case s := <-f.app.Signals:
			if err := f.signal(ctx, s); err != nil {
				return err
			}
		case <-f.interrupted:
			return errLeft
		case <-f.rest:
			f.restless, f.rest = false, nil
			done, err := f.settled(ctx)
			if done || err != nil {
				return err
			}
		case err := <-failed:
			return &exit{ExitTemporary, fmt.Errorf("the store gave up: %w", err)}
		case <-tick.C: // pieces of answers come faster than anybody reads
			f.screen.show(f.below())
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// below is what stands below the lines now.
func (f *follower) below() []string {
	if !f.screen.live || f.put != nil {
		return nil
	}
	return f.board.lines(f.v, f.app.Now(), f.screen.width(), f.app.Terminal.Height())
}

// look asks how far the session has come.
func (f *follower) look(ctx context.Context) error {
	s, err := f.session(ctx)
	if err != nil {
		return err
	}
	f.target = max(f.target, s.LastSeq)
	if f.v.agent == "" {
		f.v.agent, f.v.digest = s.Agent, s.Digest
	}
	return nil
}

func (f *follower) session(ctx context.Context) (v1.Session, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return f.link.Session(ctx, f.v.id)
}

// take shows one thing of the stream and says whether there is no more to show.
func (f *follower) take(ctx context.Context, item v1.StreamItem) (bool, error) {
	if item.Delta != nil {
		f.v.delta(*item.Delta, f.app.Now())
		return false, nil
	}
	if item.Event == nil {
		return false, nil
	}
	if err := f.show(item.Event); err != nil {
		return false, err
	}
	f.restless, f.rest = false, nil
	if f.put != nil && !f.open(f.put.ask.ID) {
		f.put = nil
		f.screen.leave()
		f.screen.lines(f.app.err.dim("  answered elsewhere"))
	}
	if f.v.seq < f.target {
		return false, nil
	}
	return f.settled(ctx)
}

// show folds and prints an event.
func (f *follower) show(wire *v1.Event) error {
	e, err := wire.Cairn()
	if err != nil {
		return fmt.Errorf("event %d: %w", wire.Seq, err)
	}
	if e.Seq <= f.v.seq {
		return nil // it was shown over another link
	}
	f.v.event(e)
	switch {
	case e.Seq <= f.least: // it was there before what is waited for
	case f.app.json:
		if err := f.app.printJSON(wire); err != nil {
			return err
		}
	case f.screen.live:
		f.screen.replace(f.story.lines(f.v, e, f.screen.width()), f.below())
	case !f.quiet:
		f.screen.lines(f.trace.lines(f.v, e)...)
	}
	switch d := e.Data.(type) {
	case cairn.ModelCompleted:
		if d.Purpose != cairn.PurposeCompact && cairn.TextOf(d.Answer.Content) != "" {
			f.said = e.Seq
		}
	case cairn.RunStarted:
		f.output = 0
	case cairn.RunCompleted:
		f.output = d.Output
	}
	return nil
}

// open says whether an ask is open as far as the stream has told.
func (f *follower) open(id cairn.AskID) bool {
	for _, a := range f.v.asks {
		if a.ID == id {
			return true
		}
	}
	return false
}

// settled looks at the session when the stream gave a reason to: its run ended,
// it is paused, or something is asked. Only the session's own row, which is
// written with its events, says what holds: the stream may be in the middle of a
// step.
func (f *follower) settled(ctx context.Context) (bool, error) {
	if !f.v.ended() && len(f.v.asks) == 0 && f.v.status != cairn.StatusPaused && f.v.status != cairn.StatusIdle && !f.v.status.Final() {
		return false, nil
	}
	if f.interactive() && !f.v.ended() && f.put == nil && f.next() {
		return false, nil
	}
	s, err := f.session(ctx)
	if err != nil {
		return false, err
	}
	if s.LastSeq > f.v.seq || s.LastSeq <= f.least { // more is coming
		f.target = s.LastSeq
		return false, nil
	}
	switch {
	case s.Status.Final():
		f.v.status = s.Status
		return true, nil
	case f.restless:
		return false, nil
	case s.Status == cairn.StatusIdle:
		f.v.status = s.Status
		return true, nil
	case s.Status == cairn.StatusPaused:
		f.v.status = s.Status
		return !f.wait, nil
	case s.Status == cairn.StatusWaiting && f.unanswered():
		f.v.status = s.Status
		return !f.wait && f.put == nil, nil
	}
	return false, nil
}

// next puts the oldest open ask to the person.
func (f *follower) next() bool {
	for _, a := range f.v.asks {
		if !f.skipped[a.ID] && !f.answered[a.ID] {
			f.put = newPrompt(a)
			f.screen.lines(f.put.shown(f.app.err, f.app.Location)...)
			f.screen.ask(f.put.question(f.app.err))
			return true
		}
	}
	return false
}

// typed handles a line that the person typed.
func (f *follower) typed(ctx context.Context, line string, ok bool) error {
	if !ok { // the end of the input: nobody will answer
		f.lines, f.deaf = nil, true
		if f.put != nil {
			f.put = nil
			f.screen.leave()
			return f.leaveIfSettled(ctx)
		}
		return nil
	}
	if f.put == nil {
		return nil
	}
	f.screen.answered()
	answer, err := f.put.typed(line)
	switch {
	case err != nil:
		f.screen.lines(f.app.err.red(err.Error()))
	case answer.quit:
		for _, a := range f.v.asks {
			f.skipped[a.ID] = true
		}
		f.put = nil
		return f.leaveIfSettled(ctx)
	case answer.verb != "":
		id := f.put.ask.ID
		f.put = nil
		_, err := f.app.decide(ctx, f.link, id, answer)
		if err != nil {
			f.screen.lines(f.app.err.red(message(err)))
		}
		// What was refused for what it says is put again; what somebody else decided
		// comes over the stream, like what was decided here.
		f.answered[id] = err == nil || cairn.CodeOf(err) == cairn.CodeConflict
		f.next()
		return nil
	}
	if f.put != nil {
		f.screen.ask(f.put.question(f.app.err))
	}
	return nil
}

// unanswered says that something is asked that nobody here has answered.
func (f *follower) unanswered() bool {
	for _, a := range f.v.asks {
		if !f.answered[a.ID] {
			return true
		}
	}
	return false
}

// errSettled ends the loop from a place that has no other way to say so.
var errSettled = errors.New("settled")

func (f *follower) leaveIfSettled(ctx context.Context) error {
	if f.v.seq < f.target {
		return nil
	}
	done, err := f.settled(ctx)
	if err == nil && done {
		return errSettled
	}
	return err
}

// signal handles an interrupt: the first leaves, after a moment in which a second
// one cancels the session. A request to stop leaves at once.
func (f *follower) signal(ctx context.Context, s os.Signal) error {
	if s == syscall.SIGTERM {
		return errLeft
	}
	if f.put != nil {
		f.screen.leave()
		f.put = nil
	}
	switch {
	case f.cancelled:
		return errLeft
	case f.interrupted == nil:
		f.interrupted = time.After(f.app.Grace)
		f.tellAbove("leaving; the session stays. Interrupt again now to cancel it.")
		return nil
	}
	f.interrupted, f.cancelled = nil, true
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if _, err := f.link.Cancel(ctx, f.v.id, "interrupted at the terminal"); err != nil {
		return err
	}
	f.tellAbove("cancelling…")
	return nil
}

// tellAbove is a note while the session is shown: above the status line.
func (f *follower) tellAbove(text string) {
	if !f.app.json {
		f.screen.lines(f.app.err.dim(text))
	}
}

// readLines reads lines for as long as the process lives: a read of a terminal
// cannot be stopped. Nothing is read ahead of the one who takes the lines.
func readLines(r io.Reader) <-chan string {
	lines := make(chan string)
	go func() {
		defer close(lines)
		s := bufio.NewScanner(r)
		s.Buffer(nil, 1<<20)
		for s.Scan() {
			lines <- strings.TrimSpace(s.Text())
		}
	}()
	return lines
}
