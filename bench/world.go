package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/blob"
	"github.com/cairn-run/cairn/blob/dir"
	"github.com/cairn-run/cairn/journal"
	"github.com/cairn-run/cairn/journal/sqlite"
	"github.com/cairn-run/cairn/kernel"
)

// counted is a store that counts commits and tells who waits for a session that
// it has come to rest.
type counted struct {
	journal.Store
	commits atomic.Int64
	mu      sync.Mutex
	waiting map[cairn.SessionKey]chan struct{}
}

// Commit counts what was committed.
func (c *counted) Commit(ctx context.Context, co journal.Commit) (journal.Claim, error) {
	claim, err := c.Store.Commit(ctx, co)
	if err != nil {
		return claim, err
	}
	c.commits.Add(1)
	if s := co.Summary; s != nil && (s.Status == cairn.StatusIdle || s.Status.Final()) {
		c.mu.Lock()
		if done, ok := c.waiting[co.Claim.Session]; ok {
			close(done)
			delete(c.waiting, co.Claim.Session)
		}
		c.mu.Unlock()
	}
	return claim, nil
}

// rest returns a channel that is closed when the session is idle or over.
func (c *counted) rest(s cairn.SessionKey) <-chan struct{} {
	done := make(chan struct{})
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting[s] = done
	return done
}

// openJournal opens a store and its blobs in a directory.
func openJournal(ctx context.Context, folder string) (*counted, *journal.Journal, error) {
	store, err := sqlite.Open(ctx, folder, sqlite.Options{})
	if err != nil {
		return nil, nil, err
	}
	blobs, err := dir.Open(filepath.Join(folder, "blobs"))
	if err != nil {
		return nil, nil, errors.Join(err, store.Close())
	}
	c := &counted{Store: store, waiting: map[cairn.SessionKey]chan struct{}{}}
	return c, journal.New(c, blob.New(blobs, blob.Options{})), nil
}

// world is a kernel over a journal on the disk, with a host in process.
type world struct {
	store   *counted
	journal *journal.Journal
	host    *host
	digest  cairn.Digest // of the host's agent
	folder  string
	stop    context.CancelFunc
	ended   chan error
}

// newWorld starts a kernel for one agent.
func (b *bench) newWorld(ctx context.Context, a *cairn.Agent) (*world, error) {
	folder, err := b.folder("world")
	if err != nil {
		return nil, err
	}
	h, err := newHost(a)
	if err != nil {
		return nil, err
	}
	w := &world{host: h, digest: a.Digest(), folder: folder, ended: make(chan error, 1)}
	if w.store, w.journal, err = openJournal(ctx, folder); err != nil {
		return nil, err
	}
	run, stop := context.WithCancel(ctx)
	w.stop = stop
	k := kernel.New(w.journal, h, kernel.NewLive(), kernel.Options{Logger: slog.New(slog.NewTextHandler(b.log, nil))})
	go func() { w.ended <- k.Run(run) }()
	return w, nil
}

func (w *world) close() error {
	w.stop()
	return errors.Join(<-w.ended, w.store.Close(), os.RemoveAll(w.folder))
}

// patience bounds the wait for one session.
const patience = 5 * time.Minute

// session runs one session from its start to its end.
func (w *world) session(ctx context.Context) error {
	key := cairn.SessionKey{Tenant: cairn.DefaultTenant, ID: cairn.NewSessionID(ulid.MustNew(ulid.Now(), rand.Reader).String())}
	done := w.store.rest(key)
	if err := start(ctx, w.journal, key, w.host.agent.Name, w.digest, true); err != nil {
		return err
	}
	select {
	case <-done:
		return nil
	case err := <-w.ended:
		w.ended <- err
		return fmt.Errorf("the kernel has ended: %w", err)
	case <-time.After(patience):
		return fmt.Errorf("%s did not end within %s", key, patience)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// start creates a session, as the API does.
func start(ctx context.Context, j *journal.Journal, key cairn.SessionKey, agent string, digest cairn.Digest, once bool) error {
	now := time.Now().UTC()
	return j.Post(ctx, cairn.Input{
		ID: "start", To: key, At: now, From: cairn.Principal{Kind: "user", ID: "bench"},
		Data: cairn.Start{Agent: agent, Digest: digest, Once: once, Content: []cairn.Part{cairn.Text(
			"Hello, I ordered a kettle two weeks ago, number A-1042, and it has not come yet. Can you see where it is?")}},
	}, &journal.NewSession{Summary: cairn.Summary{
		Session: key, Agent: agent, Digest: digest, Status: cairn.StatusQueued, Created: now, Updated: now,
	}}, nil)
}

// versionOf is a definition as the catalogue keeps it.
func versionOf(a *cairn.Agent) (journal.AgentVersion, error) {
	data, err := json.Marshal(a)
	if err == nil {
		data, err = cairn.Canonical(data)
	}
	return journal.AgentVersion{Name: a.Name, Digest: a.Digest(), Created: time.Now().UTC(), Data: data}, err
}
