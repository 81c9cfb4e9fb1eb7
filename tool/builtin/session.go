package builtin

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/cairn-run/cairn"
)

const (
	// maxEnded bounds the sessions that still have to be told what was ended.
	maxEnded = 4096
	// idleAgain is when to look again whether a session is idle that was in use.
	idleAgain = 100 * time.Millisecond
	// maxEndedNotes bounds what is told of one.
	maxEndedNotes = 20
)

// session is what is held of a session while calls are made or something of it is
// alive.
type session struct {
	key   cairn.SessionKey
	turns turns
	refs  int // guarded by Driver.mu
	// live is the instance that background commands live in; nil: there is none. The
	// one who has the writer's turn changes it.
	live *box
	// used is when the last call ended, and idle how long after that the live instance
	// is ended by timer. All three are guarded by Driver.mu.
	used  time.Time
	idle  time.Duration
	timer *time.Timer
}

// enter returns the session of a key, made if it is not there; nil: the driver is
// closed. The function it returns must be called in the end.
func (d *Driver) enter(key cairn.SessionKey) (*session, func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil, func() {}
	}
	s := d.sessions[key]
	if s == nil {
		s = &session{key: key, turns: newTurns()}
		d.sessions[key] = s
	}
	s.refs++
	return s, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if s.refs--; s.refs == 0 && s.live == nil {
			delete(d.sessions, key)
		}
	}
}

func (d *Driver) known(key cairn.SessionKey) *session {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.sessions[key]
}

// keep makes an instance the session's live one. It is ended when no call was made for
// so long. The caller has the writer's turn.
func (d *Driver) keep(s *session, b *box, idle time.Duration) {
	if idle <= 0 {
		idle = defaultIdle
	}
	d.mu.Lock()
	s.live, s.used, s.idle = b, time.Now(), idle
	if s.timer == nil {
		s.timer = time.AfterFunc(idle, func() { d.tooLongIdle(s) })
	}
	waiting := d.waiting > 0
	d.mu.Unlock()
	if waiting {
		go d.makeRoom() // it ends by itself: it waits for nobody
	}
}

// touch says that a call was made.
func (d *Driver) touch(s *session) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s.used = time.Now()
}

// tooLongIdle ends what was left alone, when the time has come.
func (d *Driver) tooLongIdle(s *session) {
	done, ok := s.turns.tryWrite()
	if ok {
		defer done()
	}
	d.mu.Lock()
	if s.live == nil {
		d.mu.Unlock()
		return
	}
	left := s.idle - time.Since(s.used)
	if !ok {
		left = max(left, idleAgain) // a call is being made
	}
	if left > 0 {
		s.timer = time.AfterFunc(left, func() { d.tooLongIdle(s) })
		d.mu.Unlock()
		return
	}
	d.mu.Unlock()
	d.endAlone(s, "no call was made for too long (environment.idle)")
}

// endAlone ends a live instance outside a call; the next call tells the model. The
// caller has the writer's turn.
func (d *Driver) endAlone(s *session, why string) {
	alive := s.live.alive()
	notes := s.live.news(alive...)
	for _, j := range alive {
		notes = append(notes, fmt.Sprintf("background command %d was ended: %s", j.id, why))
	}
	if len(notes) > 0 {
		notes = append(notes, "what background commands changed since the last call that writes is lost")
	}
	ctx, cancel := clean(context.Background())
	defer cancel()
	killed, err := d.endLive(ctx, s)
	if err != nil {
		d.log.Error("a sandbox could not be ended", "session", s.key.ID, "error", err)
	}
	if len(killed) > 0 && len(alive) == 0 {
		notes = append(notes, orphaned(killed))
	}
	d.note(s.key, notes...)
}

// note keeps what the next call is to tell.
func (d *Driver) note(key cairn.SessionKey, notes ...string) {
	if len(notes) == 0 {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.ended) >= maxEnded {
		clear(d.ended)
	}
	all := slices.Concat(d.ended[key], notes)
	d.ended[key] = all[max(0, len(all)-maxEndedNotes):]
}

// notes takes what is to be told.
func (d *Driver) notes(key cairn.SessionKey) []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := d.ended[key]
	delete(d.ended, key)
	return all
}

// endLive ends the session's live instance with all it runs. The caller has the
// writer's turn.
func (d *Driver) endLive(ctx context.Context, s *session) (killed []string, err error) {
	b := s.live
	if b == nil {
		return nil, nil
	}
	killed, err = b.destroy(ctx)
	d.mu.Lock()
	s.live = nil
	if s.timer != nil {
		s.timer.Stop()
		s.timer = nil
	}
	if s.refs == 0 {
		delete(d.sessions, s.key)
	}
	d.mu.Unlock()
	return killed, err
}

// slot takes one of the places for instances. When there is none, the live instance
// that was left alone longest makes room.
func (d *Driver) slot(ctx context.Context) (func(), error) {
	free := func() { <-d.slots }
	select {
	case d.slots <- struct{}{}:
		return free, nil
	default:
	}
	d.mu.Lock()
	d.waiting++
	d.mu.Unlock()
	defer func() {
		d.mu.Lock()
		d.waiting--
		d.mu.Unlock()
	}()
	d.makeRoom()
	if err := take(ctx, d.slots); err != nil {
		return nil, &cairn.Error{Code: cairn.CodeUnavailable, Message: "too many sandboxes are alive; try again later", Retryable: true, NotDone: true, Err: err}
	}
	return free, nil
}

// makeRoom ends the live instance that was left alone longest, if there is one that
// nobody uses.
func (d *Driver) makeRoom() {
	tried := map[*session]bool{}
	for {
		var oldest *session
		d.mu.Lock()
		for _, s := range d.sessions {
			if s.live != nil && !tried[s] && (oldest == nil || s.used.Before(oldest.used)) {
				oldest = s
			}
		}
		d.mu.Unlock()
		if oldest == nil {
			return
		}
		tried[oldest] = true
		done, ok := oldest.turns.tryWrite()
		if !ok {
			continue
		}
		if oldest.live != nil {
			d.endAlone(oldest, "the node needed its place")
			done()
			return
		}
		done()
	}
}
