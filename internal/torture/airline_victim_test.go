package torture

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cairn-run/cairn/client"
	"github.com/cairn-run/cairn/internal/failpoint"
)

// onTheWay are failpoints on the way of a call, for kills at places that the world
// does not see.
var onTheWay = []failpoint.Point{
	failpoint.ToolBefore, failpoint.ToolAfter, failpoint.CommitTool, failpoint.ToolAfter, failpoint.CommitTool,
	failpoint.CommitModel, failpoint.ModelBefore, failpoint.ModelAfter, failpoint.PerformBefore, failpoint.CommitBefore,
	failpoint.CommitAfter, failpoint.GroupHead, failpoint.GroupFrame, failpoint.GroupBeforeSync, failpoint.GroupAfterSync,
	failpoint.TakeoverStepped, failpoint.LoadAfter, failpoint.DeliverAfter, failpoint.InboxRead, failpoint.CommitEnd,
}

// victim is a runtime that is killed and started again, until it is no longer
// needed.
type victim struct {
	k       *killer
	c       *client.Client
	plays   []*play
	life    atomic.Int64 // which process of its it is
	strikes chan strike

	rng    *rand.Rand
	points []failpoint.Point // where its next processes die by themselves
	byself uint64            // how many have

	mu    sync.Mutex
	calls map[int64]int // tool calls in flight in the world, by life
	sum   kills
}

// kills counts kills by what they struck.
type kills struct {
	moments  map[moment]int // by the world
	points   map[failpoint.Point]int
	effects  int // with any effect in flight
	tools    int // with a tool call in flight
	lives    int
	sessions int // in progress, summed over all kills
}

func (k kills) total() int {
	n := 0
	for _, m := range k.moments {
		n += m
	}
	for _, p := range k.points {
		n += p
	}
	return n
}

func newKills() kills { return kills{moments: map[moment]int{}, points: map[failpoint.Point]int{}} }

// add adds the kills of another victim.
func (k *kills) add(o kills) {
	for m, n := range o.moments {
		k.moments[m] += n
	}
	for p, n := range o.points {
		k.points[p] += n
	}
	k.effects += o.effects
	k.tools += o.tools
	k.lives += o.lives
	k.sessions += o.sessions
}

// strike asks for a kill of a life. The answer is when it was killed; zero: it
// was dead already.
type strike struct {
	life  int64
	at    moment
	reply chan time.Time
}

// newVictim prepares a runtime in a directory: data/, victim.log, failpoints.
func newVictim(dir, binary, scripts, bill string, seed uint64) (*victim, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if err := os.Symlink(scripts, filepath.Join(dir, "scripts")); err != nil {
		return nil, err
	}
	socket := filepath.Join(dir, "data", "cairn.sock")
	v := &victim{
		k: &killer{
			o: Options{Dir: dir, Victim: binary}, effects: bill,
			counts: filepath.Join(dir, "failpoints"), socket: socket,
		},
		c:       client.Unix(socket, "torture"),
		strikes: make(chan strike), rng: rand.New(rand.NewPCG(seed, 7)),
		points: onTheWay, calls: map[int64]int{}, sum: newKills(),
	}
	var err error
	v.k.stderr, err = os.Create(filepath.Join(dir, "victim.log"))
	return v, err
}

// enter notes that a tool call has arrived in the world, and from which life.
func (v *victim) enter() int64 {
	life := v.life.Load()
	v.mu.Lock()
	defer v.mu.Unlock()
	v.calls[life]++
	return life
}

func (v *victim) leave(life int64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.calls[life]--
}

// strike kills a life and waits until the next one has begun. Zero: it was dead
// already.
func (v *victim) strike(ctx context.Context, life int64, at moment) time.Time {
	s := strike{life: life, at: at, reply: make(chan time.Time, 1)}
	select {
	case v.strikes <- s:
		return <-s.reply
	case <-ctx.Done():
		return time.Time{}
	}
}

// run keeps the runtime going until ctx is done, and then kills it for good. The
// first process has no failpoint.
func (v *victim) run(ctx context.Context) error {
	defer func() { _ = v.k.stderr.Close() }()
	defer v.k.end()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
			return nil
		case s := <-v.strikes:
			when, err := v.hit(ctx, s)
			s.reply <- when
			if err != nil {
				return err
			}
		case <-v.k.done:
			err := v.k.exit
			point, rerr := v.died()
			if rerr != nil {
				return rerr
			}
			if !point {
				return fmt.Errorf("the runtime died by itself: %w; see %s", err, v.k.stderr.Name())
			}
			v.count(v.open(), func(*kills) {})
			if err := v.start(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// open is how many sessions are in progress.
func (v *victim) open() int {
	n := 0
	for _, p := range v.plays {
		if p.open() {
			n++
		}
	}
	return n
}

// hit kills the process, if it is the life that is meant, and starts the next.
func (v *victim) hit(ctx context.Context, s strike) (time.Time, error) {
	if s.life != v.life.Load() {
		return time.Time{}, nil
	}
	n := v.open()
	when := time.Now()
	v.mu.Lock()
	call := v.calls[s.life] > 0
	v.mu.Unlock()
	if err := v.k.kill(); err != nil {
		return time.Time{}, err
	}
	if v.k.exit == nil {
		return time.Time{}, errors.New("the runtime ended by itself and well")
	}
	point, err := v.died()
	if err != nil {
		return time.Time{}, err
	}
	if point { // it had killed itself a moment before
		v.count(n, func(*kills) {})
		return time.Time{}, v.start(ctx)
	}
	v.count(n, func(k *kills) {
		k.moments[s.at]++
		if call {
			k.tools++
		}
	})
	return when, v.start(ctx)
}

func (v *victim) count(open int, f func(*kills)) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.sum.sessions += open
	f(&v.sum)
}

// died says whether the process that is dead was killed by its failpoint.
func (v *victim) died() (byPoint bool, err error) {
	v.k.life = nil
	c, err := failpoint.Read(v.k.counts)
	if err != nil {
		return false, err
	}
	byPoint = c.Killed() > v.byself
	v.byself = c.Killed()
	v.mu.Lock()
	defer v.mu.Unlock()
	if c.InFlight() > 0 {
		v.sum.effects++
	}
	for _, p := range failpoint.Points() {
		if n := int(c.Kills(p)); n > v.sum.points[p] {
			v.sum.points[p] = n
			if p == failpoint.ToolBefore || p == failpoint.ToolAfter {
				v.sum.tools++
			}
		}
	}
	return byPoint, nil
}

// start begins the next life. Every third one is to die at a failpoint.
func (v *victim) start(ctx context.Context) error {
	at := ""
	if v.life.Load() > 0 && len(v.points) > 0 && v.rng.IntN(3) == 0 {
		at = fmt.Sprintf("%s:%d", v.points[0], 1+v.rng.IntN(4))
		v.points = v.points[1:]
	}
	v.life.Add(1)
	v.mu.Lock()
	v.sum.lives++
	v.mu.Unlock()
	return v.k.start(ctx, at)
}
