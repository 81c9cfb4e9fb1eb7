// Package sqlite is the journal in one SQLite file, without cgo: for a node that
// has its data directory to itself.
//
// One goroutine writes. Whatever is queued when it comes round goes into one
// transaction and one flush (WAL, synchronous=FULL); there is no waiting for
// more. Each commit in such a group is accepted or refused for itself. The same
// goroutine checkpoints. Readers use connections of their own, page, and hold
// no transaction between pages.
//
// An I/O error while writing is final: the callers get [journal.ErrUnknown], the
// store answers [journal.ErrClosed] from then on, and the process should end;
// opening the directory again finds out what is true. A full disk is an ordinary
// refusal, [journal.ErrFull].
package sqlite

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cairn-run/cairn/journal"
)

// dataFile is the database in the data directory.
const dataFile = "cairn.db"

// Options tune a store; the zero value works.
type Options struct {
	// Now is the clock of leases and timers; default [time.Now].
	Now func() time.Time
	// Fatal is called once, in a goroutine of the store, when an I/O error made it
	// give up. The process should end, with exit code 75: until then it holds the
	// lock, and the connections stay open, because closing them would write to a
	// device that has just failed.
	Fatal func(error)
	// WALPages is the size of the WAL, in pages of 4 KiB, from which it is
	// checkpointed; default 12,288 (48 MiB). At four times that size a checkpoint
	// waits for the readers that are in its way.
	WALPages int
}

// Store is an open data directory.
type Store struct {
	now   func() time.Time
	fatal func(error)
	file  string
	lock  *os.File
	shm   *os.File
	due   *due

	queue    chan *job
	quit     chan struct{} // closed by Close
	stopped  chan struct{} // closed when the writer has ended
	closing  sync.Once
	closed   atomic.Bool
	closeErr error // set before stopped is closed

	readers *sql.DB
	queries sync.Map // text → *sql.Stmt
}

var _ journal.Store = (*Store)(nil)

// Open opens the data directory, makes it if there is none, and brings its
// schema to this version. ErrLocked: another process has it. ErrTooNew: it was
// written by a newer binary.
func Open(ctx context.Context, dir string, o Options) (_ *Store, err error) {
	dir, err = filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("journal: make the data directory: %w", err)
	}
	if fs := networkFS(dir); fs != "" {
		return nil, fmt.Errorf("journal: %s is on a network file system (%s), where SQLite cannot keep its promises; choose a local directory", dir, fs)
	}
	s := &Store{
		now: o.Now, fatal: o.Fatal, file: filepath.Join(dir, dataFile), due: newDue(),
		queue: make(chan *job, maxQueue), quit: make(chan struct{}), stopped: make(chan struct{}),
	}
	if s.now == nil {
		s.now = time.Now
	}
	if s.lock, err = lock(dir); err != nil {
		return nil, err
	}
	if err = private(s.file); err != nil {
		return nil, errors.Join(err, s.unlock())
	}
	w := &writer{store: s, walSoft: int64(cmp.Or(o.WALPages, defaultWALPages))}
	defer func() {
		if err != nil {
			err = errors.Join(full(err), s.closeReaders(), w.close(), s.unlock())
		}
	}()
	s.readers, err = sql.Open("sqlite", dsn(s.file))
	if err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	if err := migrate(ctx, s.readers); err != nil {
		return nil, fmt.Errorf("journal: %s: %w", s.file, err)
	}
	if err := s.readers.Close(); err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	s.readers, err = sql.Open("sqlite", dsn(s.file, "query_only(1)", "cache_size(-4096)"))
	if err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	s.readers.SetMaxOpenConns(max(4, 2*runtime.GOMAXPROCS(0)))
	s.readers.SetMaxIdleConns(max(4, 2*runtime.GOMAXPROCS(0)))
	if err := w.open(ctx, dsn(s.file, fmt.Sprintf("cache_size(-%d)", writerCache>>10), fmt.Sprintf("journal_size_limit(%d)", w.walHard()*pageSize))); err != nil {
		return nil, fmt.Errorf("journal: open %s: %w", s.file, err)
	}
	if s.shm, err = reserveIndex(s.file+"-shm", w.walHard()); err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	if err := errors.Join(syncDir(dir), syncDir(filepath.Dir(dir))); err != nil {
		return nil, fmt.Errorf("journal: sync %s: %w", dir, err)
	}
	go w.run()
	return s, nil
}

// reserveIndex makes the shared-memory index of the WAL as large as it can
// become before the WAL is checkpointed. Were it to grow on a full disk, SQLite
// could not tell a commit that is already in the WAL from one that is not. The
// file stays open: closing it would drop the locks that SQLite has on it.
func reserveIndex(path string, frames int64) (*os.File, error) {
	const framesPerBlock, block = 4096, 32 << 10 // https://sqlite.org/walformat.html#the_wal_index_file_format
	size := (frames/framesPerBlock + 2) * block
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && info.Size() < size {
		_, err = f.WriteAt(make([]byte, size-info.Size()), info.Size())
	}
	if err != nil && !isNoSpace(err) {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// Close lets what is queued be written, and closes the store. The checkpoint
// that ends it leaves one file.
func (s *Store) Close() error {
	s.closing.Do(func() {
		s.closed.Store(true)
		close(s.quit)
	})
	<-s.stopped
	return s.closeErr
}

// closeReaders closes the connections that read.
func (s *Store) closeReaders() error {
	if s.readers == nil {
		return nil
	}
	var errs []error
	s.queries.Range(func(_, q any) bool {
		errs = append(errs, q.(*sql.Stmt).Close())
		return true
	})
	return errors.Join(append(errs, s.readers.Close())...)
}

// unlock gives the directory back. It comes after every connection is closed.
func (s *Store) unlock() error {
	var errs []error
	for _, f := range []*os.File{s.shm, s.lock} {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	return errors.Join(errs...)
}

// private makes the data file readable by its owner alone, also in a directory
// that others can read. SQLite gives its log and its index the same mode.
func private(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	return errors.Join(f.Chmod(0o600), f.Close())
}
