package kernel

import (
	"context"
	"encoding/json"
	"errors"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/engine"
	"github.com/cairn-run/cairn/internal/failpoint"
	"github.com/cairn-run/cairn/journal"
)

// inboxPage is how many inputs are stepped in one commit.
const inboxPage = 64

// inboxPoll is how often an owner looks into its inbox without being told to: a
// hint may be lost.
const inboxPoll = 2 * time.Second

// owner is the one goroutine of a claimed session. Everything it knows is folded
// from the journal; only outcomes that are not committed yet are its own.
type owner struct {
	k     *Kernel
	claim journal.Claim
	key   cairn.SessionKey

	s       engine.State
	work    []cairn.Effect // what was open in s when it was committed or looked at last
	env     *engine.Env
	envFor  envKey
	missing *cairn.Error // why the definition cannot be had
	h       history
	snapped cairn.Seq
	page    int       // inputs looked at for decisions; zero: inboxPage
	looked  time.Time // when perform last looked what is due
	// taken says that the takeover is recorded and nobody else has owned the session
	// since: what is open and not under way here was not begun by anyone.
	taken bool

	// former is the owner of the session under the lease that this process lost.
	former *owner
	ended  chan struct{}  // closed when run has returned
	owed   sync.WaitGroup // calls that must not be repeated, until their outcome is handed on

	wake  chan struct{} // cap 1: something is to be looked at
	mu    sync.Mutex
	begun map[cairn.EffectID]*performer
	done  []cairn.Input // outcomes, in the order they came
	// once are the calls begun here that must not be repeated and whose outcome is
	// not recorded: it is owed to the session, whoever owns it.
	once   map[cairn.EffectID]bool
	fenced bool
	mail   bool // the inbox may hold something
}

func newOwner(k *Kernel, c journal.Claim) *owner {
	return &owner{k: k, claim: c, key: c.Session, ended: make(chan struct{}), wake: make(chan struct{}, 1), begun: map[cairn.EffectID]*performer{}, once: map[cairn.EffectID]bool{}, mail: true}
}

func (o *owner) ring() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// nudge says that the inbox got something.
func (o *owner) nudge() {
	o.mu.Lock()
	o.mail = true
	o.mu.Unlock()
	o.ring()
}

// fence says that the session is no longer ours.
func (o *owner) fence() {
	o.mu.Lock()
	o.fenced = true
	o.mu.Unlock()
	o.ring()
}

func (o *owner) isFenced() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.fenced
}

// run works until the session is released or lost.
func (o *owner) run(ctx context.Context) {
	backoff := 100 * time.Millisecond
	for {
		began := time.Now()
		err := o.drive(ctx)
		if time.Since(began) > time.Minute { // it worked for a while: this is another trouble
			backoff = 100 * time.Millisecond
		}
		switch {
		case err == nil:
			return
		case ctx.Err() != nil:
			o.abandon(ctx)
			return
		case errors.Is(err, journal.ErrFenced):
			o.abandon(ctx)
			return
		case errors.Is(err, journal.ErrClosed):
			o.abandon(ctx)
			o.k.giveUp(err)
			return
		case errors.Is(err, journal.ErrUnknown), errors.Is(err, journal.ErrConflict):
			// What was written is not known: the state is dropped, the performers and
			// their outcomes are kept, and the history is read again under a new epoch.
			o.k.o.Logger.Warn("the outcome of a commit is unknown; claiming again", "session", o.key, "err", err)
			if err := o.again(ctx); err != nil {
				o.abandon(ctx)
				if !errors.Is(err, journal.ErrFenced) {
					o.k.giveUp(err)
				}
				return
			}
		case errors.Is(err, journal.ErrFull):
			o.k.o.Logger.Warn("storage is full; waiting for space", "session", o.key)
		default:
			o.k.o.Logger.Error("session cannot go on; trying again", "session", o.key, "err", err)
		}
		if o.isFenced() || o.givenUp(ctx, backoff) {
			o.abandon(ctx)
			return
		}
		backoff = min(2*backoff, 10*time.Second)
	}
}

// again claims the session that this process owns under a new epoch.
func (o *owner) again(ctx context.Context) error {
	l := journal.Lease{ID: o.claim.Lease} // with a new one, it is another owner's by now
	claims, err := o.k.j.Claim(ctx, l, journal.Filter{Fold: engine.Version, Again: &o.key, Epoch: o.claim.Epoch}, 1)
	if err != nil {
		return err
	}
	if len(claims) != 1 {
		return journal.ErrFenced
	}
	// If the history has grown, it was by the commit in question, and the first one
	// recorded the takeover.
	o.taken = claims[0].Epoch == o.claim.Epoch+1 && (o.taken || claims[0].Next > o.claim.Next)
	o.claim = claims[0]
	o.s, o.h = engine.State{}, history{}
	return nil
}

// drive loads the session and steps it until it is released: nil.
func (o *owner) drive(ctx context.Context) (err error) {
	defer func() { // one session that cannot be stepped must not take the node with it, start after start
		if r := recover(); r != nil {
			o.k.o.Logger.Error("a session panicked", "session", o.key, "panic", r, "stack", string(debug.Stack()))
			err = cairn.Errorf(cairn.CodeInternal, "the session could not be stepped")
		}
	}()
	if err := o.load(ctx); err != nil {
		return err
	}
	var own []cairn.Input
	o.mu.Lock()
	o.mail = true
	if !o.taken {
		taking := cairn.Takeover{Epoch: o.claim.Epoch}
		for id := range o.begun {
			taking.Held = append(taking.Held, id)
		}
		for _, in := range o.done {
			taking.Held = append(taking.Held, effectOf(in.Data))
		}
		own = append(own, o.input(taking))
	}
	o.mu.Unlock()
	for {
		b, err := o.gather(ctx, own)
		if err != nil {
			return err
		}
		released, err := o.commit(ctx, b)
		if errors.Is(err, journal.ErrDecided) {
			// The decision is in the inbox and is stepped first now; it may lie behind
			// more inputs than were looked at.
			o.page = 2 * max(o.page, inboxPage)
			continue
		}
		if err != nil || released {
			return err
		}
		o.taken, o.page = true, 0
		own = o.perform(ctx)
		if len(own) > 0 {
			continue
		}
		if err := o.wait(ctx); err != nil {
			return err
		}
	}
}

// load folds the history, from the cached state or the snapshot if there is one.
func (o *owner) load(ctx context.Context) error {
	if o.s.Seq != 0 && o.s.Seq+1 == o.claim.Next {
		return nil
	}
	failpoint.Hit(failpoint.LoadBefore)
	o.s, o.h = engine.State{}, history{from: 1}
	if s, h, ok := o.k.cache.take(o.key); ok && s.Seq+1 <= o.claim.Next {
		o.s, o.h = s, h
	} else if o.claim.Next == 1 { // a new session: there is nothing to read
	} else if snap, err := o.k.j.Snapshot(ctx, o.key, engine.Version); err == nil && snap.Seq < o.claim.Next {
		if json.Unmarshal(snap.Data, &o.s) != nil || o.s.Seq != snap.Seq { // a cache: the log is the truth
			o.s = engine.State{}
		} else {
			o.h = history{}
		}
	}
	o.snapped = o.s.Seq
	if o.s.Seq+1 < o.claim.Next {
		for e, err := range o.k.j.Events(ctx, o.key, o.s.Seq) {
			if err != nil {
				return err
			}
			if e.Seq >= o.claim.Next {
				break
			}
			o.s = engine.Fold(o.s, e)
			o.h.add([]cairn.Event{e})
		}
	}
	if o.s.Seq+1 != o.claim.Next {
		return cairn.Errorf(cairn.CodeInternal, "history of %s ends at %d, its head says %d", o.key, o.s.Seq, o.claim.Next-1)
	}
	failpoint.Hit(failpoint.LoadAfter)
	return nil
}

// input makes an input of the owner's own.
func (o *owner) input(d cairn.InputData) cairn.Input {
	return cairn.Input{To: o.key, At: o.k.o.Now().UTC(), From: cairn.Principal{Kind: "runtime"}, Data: d}
}

// batch is what one commit is made of.
type batch struct {
	inputs []cairn.Input
	taken  []string
	// outcomes is how many of o.done are among the inputs.
	outcomes int
}

// gather collects what is to be stepped, in the order of [rank], and within it
// the owner's own inputs, what was learnt, and the inbox in the order it came.
func (o *owner) gather(ctx context.Context, own []cairn.Input) (batch, error) {
	var b batch
	o.mu.Lock()
	done := slices.Clone(o.done)
	mail := o.mail
	o.mail = false
	o.mu.Unlock()
	b.outcomes = len(done)
	b.inputs = slices.Concat(own, done)
	if mail {
		page := max(o.page, inboxPage)
		inbox, err := o.k.j.Inputs(ctx, o.key, page)
		if err != nil {
			o.nudge()
			return b, err
		}
		failpoint.Hit(failpoint.InboxRead)
		if len(inbox) >= inboxPage {
			o.nudge()
		}
		now := o.k.o.Now().UTC()
		for i, in := range inbox {
			if i >= inboxPage && o.rank(in.Data) == rankOther {
				continue // beyond the page only what is stepped first is taken
			}
			in.Stepped = now
			b.taken = append(b.taken, in.ID)
			b.inputs = append(b.inputs, in)
		}
	}
	slices.SortStableFunc(b.inputs, func(x, y cairn.Input) int { return o.rank(x.Data) - o.rank(y.Data) })
	if at := engine.WakeAt(o.s); !at.IsZero() && !o.k.o.Now().Before(at) {
		failpoint.Hit(failpoint.TimerFired)
		b.inputs = append(b.inputs, o.input(cairn.Wake{}))
	}
	return b, nil
}

// rank orders the inputs of a batch. A fork makes the history ours. A take-over
// speaks of what a former owner left open, so it comes before anything opens more.
// Decisions closed their ask when they were delivered, so they come before what
// could close it another way. A move closes what is asked about money and nothing
// else: among the other decisions it keeps its place, because what follows from
// them is to happen under the definition that was wanted by then.
func (o *owner) rank(d cairn.InputData) int {
	switch d := d.(type) {
	case cairn.Fork:
		return 0
	case cairn.Takeover:
		return 1
	case cairn.Decide:
		for _, a := range o.s.Asks {
			if a.ID == d.Ask && a.Kind == cairn.AskBudget {
				return 2
			}
		}
		return 3
	case cairn.Move:
		return 3
	}
	return rankOther
}

// rankOther is the rank of everything that has no reason to come first.
const rankOther = 4

// wait sleeps until something happened.
func (o *owner) wait(ctx context.Context) error {
	if o.k.draining() {
		o.mu.Lock()
		under := len(o.begun)
		o.mu.Unlock()
		if under == 0 {
			return nil
		}
	}
	d := inboxPoll
	if at := timer(o.s, o.work, o.looked); !at.IsZero() {
		d = min(d, max(0, at.Sub(o.k.o.Now())))
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-o.wake:
	case <-t.C:
		o.mu.Lock()
		o.mail = o.mail || d == inboxPoll
		o.mu.Unlock()
	case <-o.k.drain:
		// Nothing new is begun; what is under way wakes us when it is done.
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-o.wake:
		case <-t.C:
		}
	}
	if o.isFenced() {
		return journal.ErrFenced
	}
	return nil
}

// givenUp waits before another try; true: there is none, because the time to
// drain is up or ctx is done.
func (o *owner) givenUp(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return true
	case <-o.k.over:
		o.mu.Lock()
		under := len(o.begun)
		o.mu.Unlock()
		return under == 0 || !pause(ctx, d) // what was stopped has yet to report
	case <-t.C:
		return false
	}
}
