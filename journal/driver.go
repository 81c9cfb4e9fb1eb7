package journal

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/cairn-run/cairn"
)

// Errors of a driver. But for ErrUnknown, nothing was written.
var (
	// ErrFenced: another owner has the session, or the lease is gone.
	ErrFenced = errors.New("journal: fenced: another owner has claimed the session")
	// ErrConflict: the next sequence number is not the one that was claimed.
	ErrConflict = errors.New("journal: conflict: the history has moved on")
	// ErrDecided: the ask was closed before.
	ErrDecided = errors.New("journal: the ask is already decided")
	// ErrMismatch: an input or draw with this id and other content was taken before.
	ErrMismatch = errors.New("journal: this id was used before with other content")
	// ErrNotFound: no such session, ask or agent.
	ErrNotFound = errors.New("journal: not found")
	// ErrExists: a session with this id exists.
	ErrExists = errors.New("journal: the session exists")
	// ErrFull: no space. What is open can be read; commits and opening succeed again when
	// there is space.
	ErrFull = errors.New("journal: storage is full")
	// ErrUnknown: it is not known whether the commit took place. Claim again,
	// load, and step the outcomes that are at hand; never retry in place.
	ErrUnknown = errors.New("journal: outcome of the commit is unknown")
	// ErrBudget: the shared budget does not hold that much.
	ErrBudget = errors.New("journal: shared budget exhausted")
	// ErrLocked: another process holds the data directory.
	ErrLocked = errors.New("journal: the data directory is in use")
	// ErrTooNew: the history was written by a newer binary.
	ErrTooNew = errors.New("journal: the session was written by a newer version of cairn")
	// ErrClosed: the store was closed, or gave up after an I/O error.
	ErrClosed = errors.New("journal: closed")
)

// Driver is what a store has to do. Safety is one compare-and-set on the head
// row of a session (epoch, next sequence) in the transaction that appends;
// leases and wake-ups only decide who tries and when, and may be late or wrong.
//
// A driver moves bytes: events and inputs are encoded by [Journal]. Package
// journaltest is its conformance suite.
type Driver interface {
	// Beat joins (zero Lease) or renews the lease of this process, on the store's
	// clock. ErrFenced: the lease ran out; drop all claims and join anew.
	Beat(ctx context.Context, l Lease, ttl time.Duration) (Lease, error)
	// Claim blocks until at least one session is free (never claimed, released, or
	// its owner's lease ran out) and due (inbox not empty, WakeAt passed, or Busy),
	// and takes up to max of them. Epoch+1 is durable before it returns. Sessions
	// whose Fold is above f.Fold are left to newer binaries. With f.Again it does
	// not block and takes that one session if its owner is l itself, whatever is
	// due: the way back from ErrUnknown (ErrFenced: another has it now).
	Claim(ctx context.Context, l Lease, f Filter, max int) ([]Claim, error)
	// Mail yields the names of sessions owned by the lease that got an input, as
	// a hint: it may be late, doubled or missing.
	Mail(ctx context.Context, l Lease) iter.Seq[cairn.SessionKey]
	// Load pages through the frames of a history across its lineage, from the
	// one that holds the event after `after`. No transaction is held between pages.
	Load(ctx context.Context, s cairn.SessionKey, after cairn.Seq) iter.Seq2[Frame, error]
	// Inbox returns up to max inputs not yet taken, in arrival order.
	Inbox(ctx context.Context, s cairn.SessionKey, max int) ([]Letter, error)
	// Deliver puts an input into an inbox: durable, not fenced, idempotent by id
	// for ever (the same id and digest again is nil, another digest ErrMismatch).
	// With Letter.New it creates the session's head first (ErrExists is only
	// returned for a different start; ErrNotFound: its lineage names a session that
	// is not there, or does not end where one of its commits does). With ask, the ask is closed by
	// compare-and-set in the same transaction, else ErrDecided. ErrNotFound: no
	// such session.
	Deliver(ctx context.Context, l Letter, ask *AskClose) error
	// Commit is atomic and guarded by the claim; at most one in flight per session.
	// Commits queued together share one transaction and one flush; a refused one
	// never harms its group.
	Commit(ctx context.Context, c Commit) (Claim, error)
	// Draw takes from (or with a negative amount gives back to) shared budgets,
	// all or none, in a transaction of its own, rows locked in id order.
	// Idempotent by id. ErrBudget: at least one does not hold it.
	Draw(ctx context.Context, d Draw) error
	// Tail yields the frames of all sessions of a tenant, gapless and ordered by
	// position, and ends at the present. It may lag.
	Tail(ctx context.Context, t cairn.TenantID, after Position) iter.Seq2[Entry, error]
	Close() error
}

// Lease is the membership of one process. Its expiry is kept by the store's
// clock; the holder measures TTL on its own monotonic clock from before Beat.
type Lease struct {
	ID string // a new one for every incarnation of a process
}

// Filter narrows what is claimed.
type Filter struct {
	Fold  int // the fold version of this binary
	Again *cairn.SessionKey
	// Epoch is, with Again, that of the claim that is taken back: another one means
	// that the session was released and claimed anew (ErrFenced). Zero: whichever.
	Epoch uint64
}

// Claim is the right to append to a session. It is data, not a lock: the store
// compares it inside the commit.
type Claim struct {
	Session cairn.SessionKey
	Epoch   uint64
	Next    cairn.Seq // sequence number of the next event
	Lease   string
}

// Frame is a run of consecutive events as one stored row.
type Frame struct {
	First cairn.Seq // sequence number of the first event
	Count int
	Data  []byte // encoded events
}

// Last is the sequence number of the last event.
func (f Frame) Last() cairn.Seq { return f.First + cairn.Seq(f.Count) - 1 }

// Letter is an encoded input on its way to an inbox.
type Letter struct {
	To     cairn.SessionKey
	ID     string
	Digest [32]byte // of Data
	At     time.Time
	Data   []byte
	New    *NewSession // creates the head
}

// NewSession is what the head row starts with.
type NewSession struct {
	// Lineage is the flat list of ranges a fork inherits; nil for a new history.
	Lineage []Range
	// Summary is the list row until the first commit.
	Summary cairn.Summary
}

// Range is a part of another session's history. It begins and ends where a
// commit does: a step is forked whole, and what it intended is closed by the
// fork's first event.
type Range struct {
	Session  cairn.SessionKey
	From, To cairn.Seq // inclusive
}

// AskRow is an ask as a versioned row: what any node needs to list it and to
// refuse a second decision while the owner is down.
type AskRow struct {
	Session cairn.SessionKey
	Ask     cairn.Ask
	Status  cairn.AskStatus
	// By and Decided are set once it is closed.
	By      cairn.Principal
	Decided time.Time
}

// AskClose closes an open ask by compare-and-set.
type AskClose struct {
	Session cairn.SessionKey
	ID      cairn.AskID
	Status  cairn.AskStatus
	By      cairn.Principal
	At      time.Time
}

// Commit is one atomic step of a session.
type Commit struct {
	Claim Claim
	// Frame holds the new events; Count zero: none. Frame.First must be Claim.Next.
	Frame Frame
	// Taken are the inbox ids consumed; id and digest are kept, so that a
	// duplicate is still recognised.
	Taken []string
	// Send goes to the inboxes of other sessions, in the same transaction.
	Send []Letter
	// Open inserts asks. Close closes asks that nobody has decided; if one of them
	// is decided already the whole commit is refused with ErrDecided, because the
	// decision is in the inbox and came first.
	Open  []AskRow
	Close []AskClose
	// WakeAt is the earliest timer; zero: none.
	WakeAt time.Time
	// Summary is the list row; nil: unchanged.
	Summary *cairn.Summary
	// Fold is the lowest fold version that can read what was written.
	Fold int
	// Busy says that effects are open: as soon as the session has no live owner
	// (it died, or released the claim), it is due.
	Busy bool
	// Release gives the claim up with the commit.
	Release bool
}

// Draw moves Amount out of (negative: back into) every one of the budgets.
type Draw struct {
	Tenant  cairn.TenantID
	ID      string
	Budgets []cairn.SharedBudget
	Amount  cairn.Money
}

// Position orders the frames of a tenant.
type Position uint64

// Entry is a frame with its place among all of a tenant's.
type Entry struct {
	Position Position
	Session  cairn.SessionKey
	Frame    Frame
}

// Lister reads list rows. They are written in the transactions of the journal,
// and may be read by anyone at any time.
type Lister interface {
	Summary(ctx context.Context, s cairn.SessionKey) (cairn.Summary, error)
	// Summaries lists a tenant's sessions, newest first, after the cursor
	// (a session id; empty: from the start).
	Summaries(ctx context.Context, t cairn.TenantID, f SummaryFilter) ([]cairn.Summary, error)
	Ask(ctx context.Context, t cairn.TenantID, id cairn.AskID) (AskRow, error)
	// Asks lists a tenant's asks, oldest first.
	Asks(ctx context.Context, t cairn.TenantID, f AskFilter) ([]AskRow, error)
	// Budget is what was drawn from a shared budget so far.
	Budget(ctx context.Context, t cairn.TenantID, id string) (cairn.Money, error)
	// Totals adds up usage and cost by agent.
	Totals(ctx context.Context, t cairn.TenantID) ([]Total, error)
}

// SummaryFilter narrows a list of sessions.
type SummaryFilter struct {
	Status []cairn.Status  // empty: all
	Agent  string          // empty: all
	Before cairn.SessionID // page: sessions older than this one
	Limit  int             // default 100, at most 1000
}

// AskFilter narrows a list of asks.
type AskFilter struct {
	Session cairn.SessionID
	Status  cairn.AskStatus // default open
	After   cairn.AskID
	Limit   int // default 100, at most 1000
}

// Total is what an agent's sessions used.
type Total struct {
	Agent    string      `json:"agent"`
	Sessions int         `json:"sessions"`
	Usage    cairn.Usage `json:"usage"`
	Cost     cairn.Money `json:"cost"`
	Reserved cairn.Money `json:"reserved"`
}

// Catalog keeps the versions of agent definitions.
type Catalog interface {
	// PutAgent stores a version and makes it the current one of its name. Putting
	// the same version again changes nothing but which one is current.
	PutAgent(ctx context.Context, t cairn.TenantID, v AgentVersion) error
	// Agent returns the version with this digest, or with an empty digest the
	// current one of the name.
	Agent(ctx context.Context, t cairn.TenantID, name string, digest cairn.Digest) (AgentVersion, error)
	// Agents lists the current versions by name.
	Agents(ctx context.Context, t cairn.TenantID) ([]AgentVersion, error)
	// Versions lists the versions of a name, the newest first, at most max and without
	// their Data; none: no error.
	Versions(ctx context.Context, t cairn.TenantID, name string, max int) ([]AgentVersion, error)
}

// AgentVersion is a stored definition.
type AgentVersion struct {
	Name    string
	Digest  cairn.Digest
	Created time.Time
	Data    []byte // canonical JSON of the definition
}

// Snapshots is a droppable cache of folded state.
type Snapshots interface {
	// PutSnapshot may be lost, and never fails a session.
	PutSnapshot(ctx context.Context, s cairn.SessionKey, snap Snapshot) error
	// Snapshot returns the newest one written by this fold version; ErrNotFound: none.
	Snapshot(ctx context.Context, s cairn.SessionKey, fold int) (Snapshot, error)
}

// Snapshot is a folded state.
type Snapshot struct {
	Seq  cairn.Seq // of the last event folded
	Fold int
	Data []byte
}

// Store is what a complete driver package gives.
type Store interface {
	Driver
	Lister
	Catalog
	Snapshots
}
