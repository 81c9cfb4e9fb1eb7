package sqlite

import (
	"maps"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/cairn-run/cairn"
)

// due is what the store keeps in memory about who may be claimed and who is
// alive. It is a hint made from the database: every candidate is looked at again
// in the transaction that claims it. Leases are kept here alone: the lock on the
// directory makes this the only process, so that no lease outlives it, and a
// beat succeeds when the disk is full.
type due struct {
	mu      sync.Mutex
	changed chan struct{} // closed when there is something new to claim

	ready  []int64 // numbers of heads that may be due, in order
	queued map[int64]struct{}
	// newer are the due heads that no claim so far could read, with their fold.
	newer map[int64]int
	// wake is the earliest timer of an unowned session that is not in ready, in
	// nanoseconds since 1970. Timers up to woken are all in ready, or were.
	wake, woken int64

	leases map[string]*lease
}

// noTimer stands for a timer that never fires.
const noTimer = math.MaxInt64

// lease is a live lease with what its holder has not heard of.
type lease struct {
	expires time.Time
	mail    map[cairn.SessionKey]struct{}
	signal  chan struct{} // of capacity one
}

func newDue() *due {
	return &due{
		changed: make(chan struct{}), queued: map[int64]struct{}{}, newer: map[int64]int{},
		wake: noTimer, leases: map[string]*lease{},
	}
}

func (d *due) notify() {
	close(d.changed)
	d.changed = make(chan struct{})
}

// push makes heads candidates.
func (d *due) push(heads ...int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.pushLocked(heads)
}

func (d *due) pushLocked(heads []int64) {
	added := false
	for _, no := range heads {
		if _, ok := d.queued[no]; ok {
			continue
		}
		delete(d.newer, no)
		d.queued[no] = struct{}{}
		d.ready = append(d.ready, no)
		added = true
	}
	if added {
		d.notify()
	}
}

// pop takes the next candidate.
func (d *due) pop() (no int64, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.ready) == 0 {
		return 0, false
	}
	no = d.ready[0]
	if d.ready = d.ready[1:]; len(d.ready) == 0 {
		d.ready = nil // let the array go
	}
	delete(d.queued, no)
	return no, true
}

// tooNew puts a due head aside for claims with this fold.
func (d *due) tooNew(no int64, fold int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.newer[no] = fold
}

// timer notes that an unowned session is due at a time.
func (d *due) timer(no, at int64, now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if at <= now.UnixNano() {
		d.pushLocked([]int64{no})
		return
	}
	d.woken = min(d.woken, at-1) // the clock was set back: this one is still to come
	if at < d.wake {
		d.wake = at
		d.notify()
	}
}

// look says what a claim has to do: fenced, the lease is gone; try, there may be
// something to claim. Otherwise it waits for the signal or for so long.
func (d *due) look(id string, fold int, now time.Time) (fenced, try bool, signal <-chan struct{}, wait time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.liveLocked(id, now) {
		return true, false, nil, 0
	}
	for no, f := range d.newer {
		if f <= fold {
			d.pushLocked([]int64{no})
		}
	}
	wait = time.Duration(noTimer)
	for _, l := range d.leases {
		wait = min(wait, l.expires.Sub(now))
	}
	if d.wake != noTimer {
		wait = min(wait, time.Unix(0, d.wake).Sub(now))
	}
	return false, len(d.ready) > 0 || wait <= 0, d.changed, wait
}

// join makes a lease.
func (d *due) join(id string, expires time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.leases[id] = &lease{expires: expires, mail: map[cairn.SessionKey]struct{}{}, signal: make(chan struct{}, 1)}
	d.notify() // it may run out before what claims wait for
}

// renew makes a lease live on; false: it has run out.
func (d *due) renew(id string, now, expires time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.liveLocked(id, now) {
		return false
	}
	l := d.leases[id]
	earlier := expires.Before(l.expires)
	if l.expires = expires; earlier {
		d.notify()
	}
	return true
}

func (d *due) live(id string, now time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.liveLocked(id, now)
}

func (d *due) liveLocked(id string, now time.Time) bool {
	l := d.leases[id]
	return l != nil && now.Before(l.expires)
}

// expired forgets the leases that ran out and returns their ids.
func (d *due) expired(now time.Time) []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var ids []string
	for id, l := range d.leases {
		if !now.Before(l.expires) {
			ids = append(ids, id)
			delete(d.leases, id)
			close(l.signal)
		}
	}
	slices.Sort(ids)
	return ids
}

// wakes says which timers are to be looked up: those after, up to now; false:
// none is due.
func (d *due) wakes(now time.Time) (after int64, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.woken, d.wake <= now.UnixNano()
}

// woke takes the sessions whose timers were due up to now, and the next timer.
func (d *due) woke(heads []int64, now time.Time, next int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.woken, d.wake = now.UnixNano(), next
	d.pushLocked(heads)
}

// post tells the owner of a session that it got an input.
func (d *due) post(id string, s cairn.SessionKey) {
	d.mu.Lock()
	defer d.mu.Unlock()
	l := d.leases[id]
	if l == nil {
		return
	}
	l.mail[s] = struct{}{} // bounded by the sessions it owns
	select {
	case l.signal <- struct{}{}:
	default:
	}
}

// collect takes the mail of a lease; false: the lease is gone.
func (d *due) collect(id string) (mail []cairn.SessionKey, signal <-chan struct{}, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	l := d.leases[id]
	if l == nil {
		return nil, nil, false
	}
	mail = slices.Collect(maps.Keys(l.mail))
	clear(l.mail)
	return mail, l.signal, true
}

// close ends all leases, so that nobody waits for mail any more.
func (d *due) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, l := range d.leases {
		close(l.signal)
	}
	clear(d.leases)
}
