package kernel

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/engine"
	"github.com/cairn-run/cairn/internal/failpoint"
	"github.com/cairn-run/cairn/journal"
)

// Options are the settings of a kernel. The zero value of each works.
type Options struct {
	Now         func() time.Time // default time.Now
	Logger      *slog.Logger     // default: discard
	LeaseTTL    time.Duration    // default 10 s; renewed every third of it
	MaxSessions int              // owned at once; default 16384
	CacheBytes  int              // of states kept after release; default 32 MiB
	Sandbox     string           // the driver that commands run in; it is recorded with each run
	SnapshotLag int              // events after which a snapshot is written on release; default 200
}

// Kernel owns sessions: it claims those that are due, one goroutine each, and
// lets go of them when there is nothing to do. What it does not own costs
// nothing.
type Kernel struct {
	j    *journal.Journal
	host Host
	live *Live
	o    Options

	mu     sync.Mutex
	owners map[cairn.SessionKey]*owner
	lease  journal.Lease
	// fenceAt is when effects must stop being started, on the monotonic clock.
	fenceAt atomic.Pointer[time.Time]
	cache   stateCache

	slots    chan struct{}
	work     sync.WaitGroup // owners
	late     sync.WaitGroup // performers of sessions that are no longer ours
	drain    chan struct{}
	drained  sync.Once
	stopped  chan struct{} // closed when Run returns
	over     chan struct{} // closed with overdue
	lateOnce sync.Once
	overdue  atomic.Bool // the time to drain is up: nothing at all is begun
	fatal    chan error
}

// New returns a kernel that has not started.
func New(j *journal.Journal, h Host, live *Live, o Options) *Kernel {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.LeaseTTL == 0 {
		o.LeaseTTL = 10 * time.Second
	}
	if o.MaxSessions == 0 {
		o.MaxSessions = 16384
	}
	if o.CacheBytes == 0 {
		o.CacheBytes = 32 << 20
	}
	if o.SnapshotLag == 0 {
		o.SnapshotLag = 200
	}
	return &Kernel{
		j: j, host: h, live: live, o: o, owners: map[cairn.SessionKey]*owner{},
		cache: stateCache{max: o.CacheBytes}, slots: make(chan struct{}, o.MaxSessions),
		drain: make(chan struct{}), over: make(chan struct{}), stopped: make(chan struct{}), fatal: make(chan error, 1),
	}
}

// Run works until ctx is done, Drain is called, or the store gives up; then it
// returns when everything it started has stopped. It is called once.
func (k *Kernel) Run(ctx context.Context) error {
	defer close(k.stopped)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if err := k.join(ctx); err != nil {
		return fmt.Errorf("kernel: join: %w", err)
	}
	var services sync.WaitGroup
	services.Go(func() { k.beat(ctx) })
	services.Go(func() { k.mail(ctx) })
	claimed := make(chan struct{})
	services.Go(func() { defer close(claimed); k.claim(ctx) })
	var err error
	select {
	case <-ctx.Done():
	case err = <-k.fatal:
	case <-k.drain:
		<-claimed // what was claimed last is let go like the rest
		k.work.Wait()
		select { // the store may have given up meanwhile
		case err = <-k.fatal:
		default:
		}
	}
	cancel(err)
	services.Wait()
	k.work.Wait()
	k.late.Wait()
	return err
}

// Drain starts nothing new, waits until what is under way is recorded, and
// returns with Run. When ctx is done first, what is still under way is stopped,
// and how it stopped is recorded.
func (k *Kernel) Drain(ctx context.Context) {
	k.drained.Do(func() { close(k.drain) })
	select {
	case <-k.stopped:
		return
	case <-ctx.Done():
	}
	k.overdue.Store(true) // before the owners are told: what begins after this stops itself
	k.lateOnce.Do(func() { close(k.over) })
	k.mu.Lock()
	for _, o := range k.owners {
		for f := o; f != nil; f = f.former {
			f.stopPerformers(errDraining)
		}
	}
	k.mu.Unlock()
	<-k.stopped
}

var (
	errDraining = errors.New("the runtime is shutting down")
	errFenced   = errors.New("another owner has the session")
)

func (k *Kernel) draining() bool {
	select {
	case <-k.drain:
		return true
	default:
		return false
	}
}

func (k *Kernel) giveUp(err error) {
	select {
	case k.fatal <- err:
	default:
	}
}

// join gets a lease.
func (k *Kernel) join(ctx context.Context) error {
	from := time.Now() // monotonic: the store's TTL began later than this
	failpoint.Hit(failpoint.BeatBefore)
	k.mu.Lock()
	old := k.lease
	k.mu.Unlock()
	l, err := k.j.Beat(ctx, old, k.o.LeaseTTL)
	if err != nil {
		return err
	}
	failpoint.Hit(failpoint.BeatAfter)
	until := from.Add(k.o.LeaseTTL - k.o.LeaseTTL/5)
	k.fenceAt.Store(&until)
	k.mu.Lock()
	k.lease = l
	k.mu.Unlock()
	return nil
}

// mayAct says whether the lease is certain to hold: asked right before every
// external effect.
func (k *Kernel) mayAct() bool {
	until := k.fenceAt.Load()
	return until != nil && time.Now().Before(*until)
}

// beat renews the lease. Without it nothing is started; with a new one everything
// is claimed again.
func (k *Kernel) beat(ctx context.Context) {
	t := time.NewTicker(k.o.LeaseTTL / 3)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		err := k.join(ctx)
		switch {
		case err == nil || ctx.Err() != nil:
		case errors.Is(err, journal.ErrFenced):
			k.o.Logger.Warn("the lease ran out; claiming everything again")
			k.mu.Lock()
			k.lease = journal.Lease{}
			for _, o := range k.owners {
				o.fence()
			}
			k.mu.Unlock()
			if err := k.join(ctx); err != nil && ctx.Err() == nil {
				k.o.Logger.Error("cannot join", "err", err)
			}
		case errors.Is(err, journal.ErrClosed):
			k.giveUp(err)
			return
		default:
			k.o.Logger.Error("cannot renew the lease", "err", err)
		}
	}
}

// mail tells owners that their inbox got something.
func (k *Kernel) mail(ctx context.Context) {
	for ctx.Err() == nil {
		k.mu.Lock()
		l := k.lease
		k.mu.Unlock()
		for s := range k.j.Mail(ctx, l) {
			k.mu.Lock()
			o := k.owners[s]
			k.mu.Unlock()
			if o != nil {
				o.nudge()
			}
		}
		if !pause(ctx, 100*time.Millisecond) {
			return
		}
	}
}

// claimBatch bounds how many sessions are claimed at once.
const claimBatch = 256

// claim takes what is due, as far as there is room.
func (k *Kernel) claim(ctx context.Context) {
	claiming, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-k.drain:
			cancel()
		case <-claiming.Done():
		}
	}()
	for {
		n := k.reserve(claiming)
		if n == 0 {
			return
		}
		k.mu.Lock()
		l := k.lease
		k.mu.Unlock()
		failpoint.Hit(failpoint.ClaimBefore)
		claims, err := k.j.Claim(claiming, l, journal.Filter{Fold: engine.Version}, n)
		failpoint.Hit(failpoint.ClaimAfter)
		for range n - len(claims) {
			<-k.slots
		}
		for _, c := range claims {
			k.own(ctx, c)
		}
		switch {
		case claiming.Err() != nil:
			return
		case errors.Is(err, journal.ErrClosed):
			k.giveUp(err)
			return
		case err != nil:
			if !errors.Is(err, journal.ErrFenced) {
				k.o.Logger.Error("cannot claim", "err", err)
			}
			if !pause(claiming, 100*time.Millisecond) {
				return
			}
		}
	}
}

// reserve waits for a free slot and takes up to a batch of them; 0: ctx is done.
func (k *Kernel) reserve(ctx context.Context) int {
	select {
	case k.slots <- struct{}{}:
	case <-ctx.Done():
		return 0
	}
	n := 1
	for n < claimBatch {
		select {
		case k.slots <- struct{}{}:
			n++
		default:
			return n
		}
	}
	return n
}

// own starts the goroutine of a claimed session. ctx is that of Run: when it is
// done, the owner leaves everything as a crash would.
func (k *Kernel) own(ctx context.Context, c journal.Claim) {
	o := newOwner(k, c)
	k.mu.Lock()
	former := k.owners[c.Session]
	k.owners[c.Session] = o
	k.mu.Unlock()
	if former != nil { // it was fenced: its lease ran out
		o.former = former
		former.fence()
	}
	k.work.Go(func() {
		if former != nil {
			// What it has in flight and must not be repeated is not unknown: its outcome
			// comes into the inbox. Nobody asks about it while it is under way.
			<-former.ended
			former.owed.Wait()
			k.mu.Lock()
			o.former = nil
			k.mu.Unlock()
		}
		o.run(ctx)
		close(o.ended)
		o.owed.Wait() // until then a new owner finds it here
		k.mu.Lock()
		if k.owners[c.Session] == o {
			delete(k.owners, c.Session)
		}
		k.mu.Unlock()
		<-k.slots
	})
}

// Owned is the number of sessions that are being worked on.
func (k *Kernel) Owned() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.owners)
}

// pause waits; false: ctx is done.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
