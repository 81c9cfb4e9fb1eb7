// Package airline is the airline desk of tau-bench as a tool server of our own:
// the recorded databases, the 14 tools over them, and a durable state. Its
// results are, byte for byte, those of the recorded trajectories, so that a
// runtime can be driven through them and killed on the way.
//
// The databases, the definitions and the recording are those of tau-bench
// (https://github.com/sierra-research/tau-bench, MIT, Copyright 2024 Sierra) and
// are read where they lie. The behaviour of the tools, its oddities too, is that
// of the reference; what is odd is marked.
//
// A call of a tool that writes carries an idempotency key. What it did is
// flushed to the desk's file under that key before it is answered; a call with a
// key that is there gets the recorded answer and changes nothing.
package airline

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"sync"

	"github.com/cairn-run/cairn/internal/effectserver/ledger"
)

// Errors of [Desk.Call]. An answer of the desk itself, such as "Error:
// reservation not found", is a text and not an error.
var (
	ErrUnknownTool = errors.New("airline: the desk has no such tool")
	ErrArguments   = errors.New("airline: the arguments do not fit the tool")
	ErrKeyReused   = errors.New("airline: the idempotency key was used for another call")
)

// Desk is one airline with its own state over a shared [Database]. Its methods
// may be called at the same time.
type Desk struct {
	db  *Database
	log *ledger.Ledger

	mu           sync.Mutex
	users        map[string]*user // what differs from the database
	reservations map[string]*reservation
	writes       []Write
	byKey        map[string]int // index in writes
	repeats      int
}

// Write is a call that was carried out.
type Write struct {
	Key  string          `json:"key,omitempty"`
	Tool string          `json:"tool,omitempty"`
	Args json.RawMessage `json:"args,omitempty"`
	Text string          `json:"text"` // the answer
	// Changed says that the call changed the database: an "Error: …" did not.
	Changed bool `json:"changed,omitempty"`
	// Repeat marks a line that only says that a key was asked for again.
	Repeat bool `json:"repeat,omitempty"`
}

// Open loads the databases of dbDir and opens the desk whose state is in
// dataDir. It waits, until ctx ends, for a process that still has the desk.
func Open(ctx context.Context, dbDir, dataDir string) (*Desk, error) {
	db, err := Load(dbDir)
	if err != nil {
		return nil, err
	}
	return db.Open(ctx, dataDir)
}

// Open opens a desk over the database. Its state is the file writes.jsonl in
// dataDir, carried out again.
func (db *Database) Open(ctx context.Context, dataDir string) (*Desk, error) {
	d := &Desk{db: db, users: map[string]*user{}, reservations: map[string]*reservation{}, byKey: map[string]int{}}
	var err error
	d.log, err = ledger.Open(ctx, filepath.Join(dataDir, "writes.jsonl"), func(line json.RawMessage) error {
		var w Write
		if err := json.Unmarshal(line, &w); err != nil {
			return err
		}
		if w.Repeat {
			d.repeats++
			return nil
		}
		v := &view{desk: d}
		text, err := tools[w.Tool].call(v, w.Args)
		if err != nil {
			return err
		}
		if text != w.Text {
			return fmt.Errorf("%s gives another answer than it did: the databases are not those the desk was opened with", w.Tool)
		}
		d.accept(v, w)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("airline: %w", err)
	}
	return d, nil
}

// Close lets go of the desk's file.
func (d *Desk) Close() error { return d.log.Close() }

// call runs the tool, or says that there is none.
func (t tool) call(v *view, args json.RawMessage) (string, error) {
	if t.run == nil {
		return "", ErrUnknownTool
	}
	return t.run(v, args)
}

// Call calls a tool and returns the text of its answer. The key names the call
// of a tool that writes; an empty key is a new call every time, and reads ignore
// it. The change is durable when Call returns; after an error of the file it may
// be there or not, and the desk takes no more writes.
func (d *Desk) Call(ctx context.Context, name string, args json.RawMessage, key string) (string, error) {
	if len(args) == 0 {
		args = json.RawMessage("{}")
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	t := tools[name]
	v := &view{desk: d}
	if !t.keyed {
		return t.call(v, args)
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, args); err != nil {
		return "", fmt.Errorf("%w: %w", ErrArguments, err)
	}
	w := Write{Key: key, Tool: name, Args: compact.Bytes()}
	// A call that has begun is carried out, whether or not its caller is still there.
	ctx = context.WithoutCancel(ctx)
	if i, ok := d.byKey[key]; ok && key != "" {
		first := d.writes[i]
		if first.Tool != name || !bytes.Equal(first.Args, w.Args) {
			return "", ErrKeyReused
		}
		if err := d.log.Append(ctx, Write{Key: key, Repeat: true}); err != nil {
			return "", err
		}
		d.repeats++
		return first.Text, nil
	}
	var err error
	if w.Text, err = t.call(v, w.Args); err != nil {
		return "", err
	}
	w.Changed = v.changed()
	if err := d.log.Append(ctx, w); err != nil {
		return "", err
	}
	d.accept(v, w)
	return w.Text, nil
}

// accept makes what a call changed the state of the desk.
func (d *Desk) accept(v *view, w Write) {
	maps.Copy(d.users, v.users)
	maps.Copy(d.reservations, v.reservations)
	if w.Key != "" {
		d.byKey[w.Key] = len(d.writes)
	}
	d.writes = append(d.writes, w)
}

// Writes returns the calls of writing tools that were carried out, in order,
// refused ones too; a key is there once.
func (d *Desk) Writes() []Write {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.writes)
}

// Repeats is how many calls were answered from the record of an earlier one.
func (d *Desk) Repeats() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.repeats
}

// Hash is the hash of the whole database as it is now, in hex. Two desks have
// the same hash if, and only if, every user, reservation and flight is the same.
func (d *Desk) Hash() (string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	h := sha256.New()
	_, _ = h.Write(d.db.digest[:])
	// The database is the same for all: only what differs from it is hashed, and
	// what was changed and changed back does not differ.
	if err := hashChanges(h, "user", d.users, d.db.users); err != nil {
		return "", err
	}
	if err := hashChanges(h, "reservation", d.reservations, d.db.reservations); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func hashChanges[T any](h interface{ Write([]byte) (int, error) }, kind string, now, before map[string]*T) error {
	for _, id := range slices.Sorted(maps.Keys(now)) {
		text, err := dumps(now[id])
		if err != nil {
			return err
		}
		if b, ok := before[id]; ok {
			old, err := dumps(b)
			if err != nil {
				return err
			}
			if old == text {
				continue
			}
		}
		_, _ = fmt.Fprintf(h, "%s %q %s\n", kind, id, text)
	}
	return nil
}

// view is the database as one call sees it. What the call changes is a copy that
// belongs to the view until the desk accepts it.
type view struct {
	desk         *Desk
	users        map[string]*user
	reservations map[string]*reservation
}

func (v *view) changed() bool { return len(v.users)+len(v.reservations) > 0 }

// user returns a user to look at, nil if there is none.
func (v *view) user(id string) *user {
	if u, ok := v.users[id]; ok {
		return u
	}
	if u, ok := v.desk.users[id]; ok {
		return u
	}
	return v.desk.db.users[id]
}

// changeUser returns a user to change; it must be there.
func (v *view) changeUser(id string) *user {
	u, ok := v.users[id]
	if !ok {
		if v.users == nil {
			v.users = map[string]*user{}
		}
		u = v.user(id).clone()
		v.users[id] = u
	}
	return u
}

// reservation returns a reservation to look at, nil if there is none.
func (v *view) reservation(id string) *reservation {
	if r, ok := v.reservations[id]; ok {
		return r
	}
	if r, ok := v.desk.reservations[id]; ok {
		return r
	}
	return v.desk.db.reservations[id]
}

// put files a reservation, a new one or a changed copy.
func (v *view) put(r *reservation) {
	if v.reservations == nil {
		v.reservations = map[string]*reservation{}
	}
	v.reservations[r.ID] = r
}
