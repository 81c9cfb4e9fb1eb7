package sqlite

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/cairn-run/cairn/journal"
)

// lockFile is held, as a lock of the operating system, by the one process that
// has the data directory open. It goes with the process, however that ends; what
// stands in the file only says who it is.
const lockFile = "cairn.lock"

// A process that was killed while it started another one leaves the lock with that
// one, until it executes its program: some milliseconds. The system gives no signal of
// it, so it is looked at again.
const (
	lockWait = 2 * time.Second
	lockPoll = 5 * time.Millisecond
)

// maxHolder bounds what is read of a lock file, in bytes.
const maxHolder = 4 << 10

// holder is the content of the lock file.
type holder struct {
	PID     int       `json:"pid"`
	Host    string    `json:"host"`
	Started time.Time `json:"started"`
}

// errHeld says that another process has the lock.
var errHeld = errors.New("held")

// lock takes the data directory for this process.
func lock(dir string) (*os.File, error) {
	path := filepath.Join(dir, lockFile)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	err = lockFileOf(f)
	for until := time.Now().Add(lockWait); errors.Is(err, errHeld) && time.Now().Before(until) && holderIsDead(f); err = lockFileOf(f) {
		<-time.After(lockPoll)
	}
	if err != nil {
		defer func() { _ = f.Close() }()
		if errors.Is(err, errHeld) {
			return nil, fmt.Errorf("%w: %s", journal.ErrLocked, heldBy(f, dir))
		}
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	host, _ := os.Hostname() // it is only told to people
	b, err := json.Marshal(holder{PID: os.Getpid(), Host: host, Started: time.Now().UTC().Truncate(time.Second)})
	if err == nil {
		err = f.Truncate(0)
	}
	if err == nil {
		_, err = f.WriteAt(append(b, '\n'), 0)
	}
	if err != nil && !isNoSpace(err) { // a full disk must not keep the node from its reads
		_ = f.Close()
		return nil, fmt.Errorf("write %s: %w", path, err)
	}
	return f, nil
}

// holderIsDead says that the process that the lock file names is not there any more.
func holderIsDead(f *os.File) bool {
	b := make([]byte, maxHolder)
	n, _ := f.ReadAt(b, 0)
	h, err := parseHolder(b[:n])
	host, _ := os.Hostname()
	return err == nil && h.Host == host && !alive(h.PID)
}

// heldBy says who has the lock and what to do.
func heldBy(f *os.File, dir string) string {
	b := make([]byte, maxHolder)
	n, _ := f.ReadAt(b, 0)
	h, err := parseHolder(b[:n])
	if err != nil {
		return fmt.Sprintf("%s is held by another process; stop it, or choose another data directory", dir)
	}
	return fmt.Sprintf("%s is held by process %d on %s since %s; stop it, talk to it through its API, or choose another data directory",
		dir, h.PID, h.Host, h.Started.Format(time.RFC3339))
}

// parseHolder reads the content of a lock file.
func parseHolder(b []byte) (holder, error) {
	var h holder
	if err := json.Unmarshal(b, &h); err != nil {
		return holder{}, err
	}
	if h.PID <= 0 {
		return holder{}, errors.New("no process id")
	}
	return h, nil
}
