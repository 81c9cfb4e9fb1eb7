package sqlite

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/internal/failpoint"
	"github.com/cairn-run/cairn/journal"
)

// Bounds of the writer.
const (
	maxQueue    = 1024     // jobs that wait
	maxGroup    = 1024     // jobs in one transaction
	maxGroupSum = 8 << 20  // bytes of payload in one transaction, but at least one job
	writerCache = 64 << 20 // bytes of pages the connection keeps
	walLooks    = 64       // looks at the WAL while it fills, if a job were to write one page
	walIdle     = time.Second

	defaultWALPages = 12 << 10
)

// job is one thing to write. Jobs of a group share its transaction.
type job struct {
	// run does the work in the transaction. An error that is none of SQLite's
	// refuses the job, which then must have written nothing.
	run func(*writer) error
	// then is called when the group is durable and run gave no error.
	then func(*writer)
	// undo is called when run was called and the group came to nothing.
	undo func()
	size int // bytes of payload
	err  error

	state atomic.Int32 // of the values below
	done  chan struct{}
}

const (
	jobQueued int32 = iota
	jobTaken
	jobAbandoned
)

// do queues a job and waits for its outcome. A job that is being written is
// waited for whatever happens to ctx: its outcome must be known.
func (s *Store) do(ctx context.Context, j *job) error {
	if s.closed.Load() {
		return journal.ErrClosed
	}
	j.done = make(chan struct{})
	select {
	case s.queue <- j:
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-s.stopped:
		return journal.ErrClosed
	}
	select {
	case <-j.done:
		return j.err
	case <-ctx.Done():
		if j.state.CompareAndSwap(jobQueued, jobAbandoned) {
			return context.Cause(ctx)
		}
	case <-s.stopped:
	}
	select {
	case <-j.done:
		return j.err
	case <-s.stopped:
	}
	select {
	case <-j.done:
		return j.err
	default:
		return journal.ErrClosed // it was never taken
	}
}

// writer owns the connection that writes. All but open runs in its goroutine.
type writer struct {
	store *Store
	conn  *conn
	statements
	begin, commit, rollback   *stmt
	savepoint, keep, undo     *stmt
	checkpoint, restart, size *stmt

	// sessions are the numbers of the sessions under live claims; tenants and
	// places those that were used since the start. A rolled back group empties
	// tenants and places, because it may have counted on.
	sessions map[cairn.SessionKey]number
	tenants  map[cairn.TenantID]int64
	places   map[int64]int64
	arrivals int64 // last inbox position

	walSoft int64 // pages in the WAL from which it is checkpointed
	wal     int64 // pages in the WAL when it was last looked at
	unseen  int   // jobs since then
	busy    bool  // there was a group since the idle timer was set
	armed   bool  // the idle timer is set
}

// number is what names a session in keys.
type number struct{ tenant, head int64 }

func (w *writer) open(ctx context.Context, name string) (err error) {
	if w.conn, err = connect(ctx, name); err != nil {
		return err
	}
	w.sessions = map[cairn.SessionKey]number{}
	w.armed = true
	w.forget()
	for text, p := range map[string]**stmt{
		"BEGIN IMMEDIATE": &w.begin, "COMMIT": &w.commit, "ROLLBACK": &w.rollback,
		"SAVEPOINT job": &w.savepoint, "RELEASE job": &w.keep, "ROLLBACK TO job": &w.undo,
		"PRAGMA wal_checkpoint(PASSIVE)": &w.checkpoint, "PRAGMA wal_checkpoint(RESTART)": &w.restart,
		"PRAGMA wal_checkpoint(NOOP)": &w.size,
	} {
		if *p, err = w.conn.prepare(text); err != nil {
			return err
		}
	}
	if err := w.prepare(w.conn); err != nil {
		return err
	}
	return w.remember()
}

// forget drops what was counted in memory.
func (w *writer) forget() {
	w.tenants = map[cairn.TenantID]int64{}
	w.places = map[int64]int64{}
}

// close closes the connection; SQLite checkpoints as the last one closes.
func (w *writer) close() error {
	if w.conn == nil {
		return nil
	}
	err := w.conn.close()
	w.conn = nil
	return err
}

// run is the writer's goroutine: it ends with Close or with a fatal error.
func (w *writer) run() {
	fatal := w.loop()
	s := w.store
	s.closed.Store(true)
	if fatal == nil {
		s.closeErr = errors.Join(s.closeReaders(), w.close(), s.unlock())
	}
	s.due.close()
	close(s.stopped)
	if fatal != nil && s.fatal != nil {
		s.fatal(fatal)
	}
}

func (w *writer) loop() error {
	idle := time.NewTimer(walIdle)
	defer idle.Stop()
	group := make([]*job, 0, maxGroup)
	for {
		closing := false
		select {
		case j := <-w.store.queue:
			group = append(group[:0], j)
		case <-idle.C:
			if w.busy {
				w.busy = false
				idle.Reset(walIdle)
				continue
			}
			w.armed = false
			if err := w.checkpointNow(w.checkpoint); err != nil {
				return err
			}
			continue
		case <-w.store.quit:
			closing = true
			group = group[:0]
		}
		group = w.drain(group)
		if closing && len(group) == 0 {
			return nil
		}
		if err := w.write(group); err != nil {
			return err
		}
		if err := w.tend(len(group)); err != nil {
			return err
		}
		if w.busy = true; !w.armed {
			w.armed = true
			idle.Reset(walIdle)
		}
		clear(group)
	}
}

// drain adds what is queued, without waiting for more.
func (w *writer) drain(group []*job) []*job {
	sum := 0
	for _, j := range group {
		sum += j.size
	}
	for len(group) < maxGroup && sum < maxGroupSum {
		select {
		case j := <-w.store.queue:
			group = append(group, j)
			sum += j.size
		default:
			return group
		}
	}
	return group
}

// write writes a group and answers its callers. It returns an error only when
// the store has to give up.
func (w *writer) write(group []*job) error {
	taken := group[:0]
	for _, j := range group {
		if j.state.CompareAndSwap(jobQueued, jobTaken) {
			taken = append(taken, j)
		}
	}
	if len(taken) == 0 {
		return nil
	}
	err := w.try(taken)
	if isFull(err) && len(taken) > 1 {
		// One that is too large must not take the others with it.
		for _, j := range taken {
			if err := w.settle(w.try([]*job{j}), []*job{j}); err != nil {
				w.answer(taken, fmt.Errorf("%w: %w", journal.ErrUnknown, err))
				return err
			}
		}
		return nil
	}
	return w.settle(err, taken)
}

// settle answers the callers of a group that was tried.
func (w *writer) settle(err error, group []*job) error {
	switch {
	case err == nil:
		for _, j := range group {
			if j.err == nil && j.then != nil {
				j.then(w)
			}
			w.reply(j)
		}
		return nil
	case isFull(err):
		w.answer(group, fmt.Errorf("%w: free some space on the disk of the data directory", journal.ErrFull))
		return nil
	case isBusy(err):
		w.answer(group, fmt.Errorf("journal: another process holds the database file: %w", err))
		return nil
	}
	w.store.closed.Store(true) // before anybody knows
	w.answer(group, fmt.Errorf("%w: %w", journal.ErrUnknown, err))
	return fmt.Errorf("journal: write %s: %w", w.store.file, err)
}

// answer gives the same error to all that have no answer yet.
func (w *writer) answer(group []*job, err error) {
	for _, j := range group {
		select {
		case <-j.done:
		default:
			j.err = err
			w.reply(j)
		}
	}
}

func (w *writer) reply(j *job) { close(j.done) }

// try runs a group in one transaction. After an error nothing of it is there,
// unless the error is of the device.
func (w *writer) try(group []*job) error {
	failpoint.Hit(failpoint.GroupBegin)
	if _, err := w.begin.exec(); err != nil {
		return err
	}
	for i, j := range group {
		if j.err = j.run(w); code(j.err) != 0 {
			return w.back(group[:i+1], j.err)
		}
	}
	failpoint.Hit(failpoint.GroupBeforeSync)
	if _, err := w.commit.exec(); err != nil {
		return w.back(group, err)
	}
	failpoint.Hit(failpoint.GroupAfterSync)
	return nil
}

// back undoes the transaction after an error.
func (w *writer) back(group []*job, err error) error {
	if _, e := w.rollback.exec(); e != nil && !isNoTransaction(e) { // SQLite may have rolled back by itself
		return errors.Join(e, fmt.Errorf("after: %v", err)) //nolint:errorlint // the failed rollback decides what is done
	}
	w.forget()
	for _, j := range group {
		j.err = nil
		if j.undo != nil {
			j.undo()
		}
	}
	return err
}

// whole runs f so that all or nothing of it stays when it is refused.
func (w *writer) whole(f func() error) error {
	if _, err := w.savepoint.exec(); err != nil {
		return err
	}
	refusal := f()
	if refusal != nil {
		if code(refusal) != 0 && !isRefusal(refusal) {
			return refusal // the group is undone
		}
		if _, err := w.undo.exec(); err != nil {
			return err
		}
		clear(w.tenants) // one of them may be undone
		if code(refusal) != 0 {
			refusal = fmt.Errorf("journal: refused: %v", refusal) //nolint:errorlint // it must not look like a failure of the store
		}
	}
	if _, err := w.keep.exec(); err != nil {
		return err
	}
	return refusal
}

// tend looks at the size of the WAL now and then and checkpoints.
func (w *writer) tend(jobs int) error {
	if w.unseen += jobs; int64(w.unseen) < w.walSoft/walLooks {
		return nil
	}
	w.unseen = 0
	if err := w.checkpointNow(w.size); err != nil {
		return err
	}
	switch {
	case w.wal >= w.walHard():
		return w.checkpointNow(w.restart)
	case w.wal >= w.walSoft:
		return w.checkpointNow(w.checkpoint)
	}
	return nil
}

// walHard is the number of pages from which a checkpoint waits for readers.
func (w *writer) walHard() int64 { return 4 * w.walSoft }

// checkpointNow runs a checkpoint. A full disk or a reader in the way only means
// that it is done later: everything is in the WAL.
func (w *writer) checkpointNow(how *stmt) error {
	if how != w.size {
		failpoint.Hit(failpoint.Checkpoint)
	}
	err := how.each(func(row []driver.Value) error {
		w.wal, _ = row[1].(int64)
		return nil
	})
	if err == nil || isFull(err) || isBusy(err) {
		return nil
	}
	return fmt.Errorf("journal: checkpoint %s: %w", w.store.file, err)
}
