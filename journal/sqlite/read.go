package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"iter"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/journal"
)

// A page of a reader ends with so many rows or bytes, and with it its read
// transaction: one that stays open keeps the WAL from being reused.
const (
	pageRows  = 256
	pageBytes = 1 << 20
)

// tenantNo is the number of a tenant whose name is the next parameter.
const tenantNo = `(SELECT no FROM tenant WHERE name = ?)`

// query runs a query, prepared at its first use, on a reading connection.
func (s *Store) query(ctx context.Context, text string, args ...any) (*sql.Rows, error) {
	if s.closed.Load() {
		return nil, journal.ErrClosed
	}
	q, ok := s.queries.Load(text)
	if !ok {
		p, err := s.readers.PrepareContext(ctx, text)
		if err != nil {
			return nil, s.readError(err)
		}
		if q, ok = s.queries.LoadOrStore(text, p); ok {
			_ = p.Close() //nolint:sqlclosecheck // another was faster; the one that is kept is closed with the store
		}
	}
	rows, err := q.(*sql.Stmt).QueryContext(ctx, args...)
	if err != nil {
		return nil, s.readError(err)
	}
	return rows, nil
}

// readError is ErrClosed for whatever goes wrong while the store closes.
func (s *Store) readError(err error) error {
	if s.closed.Load() {
		return journal.ErrClosed
	}
	return fmt.Errorf("journal: read %s: %w", s.file, err)
}

// scanAll returns all rows of a query that is bounded by itself.
func scanAll[T any](ctx context.Context, s *Store, scan func(*sql.Rows) (T, error), text string, args ...any) (all []T, err error) {
	rows, err := s.query(ctx, text, args...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		v, err := scan(rows)
		if err != nil {
			return nil, s.readError(err)
		}
		all = append(all, v)
	}
	if err := rows.Err(); err != nil {
		return nil, s.readError(err)
	}
	return all, nil
}

// scanOne returns the first row; ErrNotFound: there is none.
func scanOne[T any](ctx context.Context, s *Store, scan func(*sql.Rows) (T, error), text string, args ...any) (T, error) {
	all, err := scanAll(ctx, s, scan, text, args...)
	if err == nil && len(all) == 0 {
		err = journal.ErrNotFound
	}
	if err != nil {
		return *new(T), err
	}
	return all[0], nil
}

// origin is a session as the log knows it.
type origin struct {
	number
	lineage []journal.Range
}

// origin looks a session up.
func (s *Store) origin(ctx context.Context, k cairn.SessionKey) (origin, error) {
	return scanOne(ctx, s, func(r *sql.Rows) (o origin, err error) {
		var lineage []byte
		if err = r.Scan(&o.tenant, &o.head, &lineage); err == nil && lineage != nil {
			err = json.Unmarshal(lineage, &o.lineage)
		}
		return o, err
	}, `SELECT tenant, no, lineage FROM head WHERE tenant = `+tenantNo+` AND session = ?`, string(k.Tenant), string(k.ID))
}

// Load implements [journal.Driver]. Frames are whole: where a range of the
// lineage ends within a frame, the frame holds events beyond it.
func (s *Store) Load(ctx context.Context, k cairn.SessionKey, after cairn.Seq) iter.Seq2[journal.Frame, error] {
	return func(yield func(journal.Frame, error) bool) {
		own, err := s.origin(ctx, k)
		if err != nil {
			yield(journal.Frame{}, err)
			return
		}
		from := cairn.Seq(1)
		for _, r := range own.lineage {
			from = r.To + 1
			if r.To <= after {
				continue
			}
			o, err := s.origin(ctx, r.Session)
			if err != nil {
				yield(journal.Frame{}, fmt.Errorf("%s, of which %s is a fork: %w", r.Session, k, err))
				return
			}
			if !s.frames(ctx, o.number, max(r.From, after+1), r.To, yield) {
				return
			}
		}
		s.frames(ctx, own.number, max(from, after+1), maxSeq, yield)
	}
}

// maxSeq is larger than any sequence number.
const maxSeq = cairn.Seq(1<<63 - 1)

// frames yields the frames that hold events from one number up to another; false
// ends it.
func (s *Store) frames(ctx context.Context, n number, from, to cairn.Seq, yield func(journal.Frame, error) bool) bool {
	for {
		page, more, err := s.framePage(ctx, n, from, to)
		if err != nil {
			yield(journal.Frame{}, err)
			return false
		}
		for _, f := range page {
			if !yield(f, nil) {
				return false
			}
			from = f.Last() + 1
		}
		if !more {
			return true
		}
	}
}

// The + 0 in LIMIT keeps SQLite from preparing the statement anew for every value
// that is bound to it: 10 % of the CPU of a restart.
func (s *Store) framePage(ctx context.Context, n number, from, to cairn.Seq) (page []journal.Frame, more bool, err error) {
	rows, err := s.query(ctx, `SELECT first, count, data FROM frame
		WHERE tenant = ?1 AND session = ?2 AND first <= ?4 AND first >= ifnull(
			(SELECT max(first) FROM frame WHERE tenant = ?1 AND session = ?2 AND first <= ?3), 0)
		ORDER BY first LIMIT ?5 + 0`, n.tenant, n.head, from, to, pageRows)
	if err != nil {
		return nil, false, err
	}
	defer func() { _ = rows.Close() }()
	seen, size := 0, 0
	for rows.Next() {
		var f journal.Frame
		if err := rows.Scan(&f.First, &f.Count, &f.Data); err != nil {
			return nil, false, s.readError(err)
		}
		seen++
		if f.Last() < from {
			continue // it ends before
		}
		page = append(page, f)
		if size += len(f.Data); size >= pageBytes {
			return page, true, nil
		}
	}
	if err := rows.Err(); err != nil {
		return nil, false, s.readError(err)
	}
	return page, seen == pageRows, nil
}

// Tail implements [journal.Driver].
func (s *Store) Tail(ctx context.Context, t cairn.TenantID, after journal.Position) iter.Seq2[journal.Entry, error] {
	return func(yield func(journal.Entry, error) bool) {
		for {
			page, more, err := s.tailPage(ctx, t, after)
			if err != nil {
				yield(journal.Entry{}, err)
				return
			}
			for _, e := range page {
				if !yield(e, nil) {
					return
				}
				after = e.Position
			}
			if !more {
				return
			}
		}
	}
}

func (s *Store) tailPage(ctx context.Context, t cairn.TenantID, after journal.Position) (page []journal.Entry, more bool, err error) {
	const last = 1<<positionBits - 1
	rows, err := s.query(ctx, `SELECT f.place & ?4, h.session, f.first, f.count, f.data
		FROM tenant t JOIN frame f ON f.place > (t.no << ?5 | ?2) AND f.place <= (t.no << ?5 | ?4) JOIN head h ON h.no = f.session
		WHERE t.name = ?1 ORDER BY f.place LIMIT ?3 + 0`, string(t), min(uint64(after), last), pageRows, last, positionBits)
	if err != nil {
		return nil, false, err
	}
	defer func() { _ = rows.Close() }()
	size := 0
	for rows.Next() {
		e := journal.Entry{Session: cairn.SessionKey{Tenant: t}}
		if err := rows.Scan(&e.Position, &e.Session.ID, &e.Frame.First, &e.Frame.Count, &e.Frame.Data); err != nil {
			return nil, false, s.readError(err)
		}
		page = append(page, e)
		if size += len(e.Frame.Data); size >= pageBytes {
			return page, true, nil
		}
	}
	if err := rows.Err(); err != nil {
		return nil, false, s.readError(err)
	}
	return page, len(page) == pageRows, nil
}

// Inbox implements [journal.Driver].
func (s *Store) Inbox(ctx context.Context, k cairn.SessionKey, limit int) ([]journal.Letter, error) {
	all, err := scanAll(ctx, s, func(r *sql.Rows) (journal.Letter, error) {
		l := journal.Letter{To: k}
		var at int64
		var digest []byte
		err := r.Scan(&l.ID, &at, &digest, &l.Data)
		copy(l.Digest[:], digest)
		l.At = moment(at)
		return l, err
	}, `SELECT i.id, i.at, i.digest, i.data FROM head h JOIN inbox i ON i.tenant = h.tenant AND i.session = h.no
		WHERE h.tenant = `+tenantNo+` AND h.session = ? ORDER BY i.pos LIMIT ? + 0`, string(k.Tenant), string(k.ID), max(limit, 0))
	if err != nil || len(all) > 0 {
		return all, err
	}
	if _, err := s.origin(ctx, k); err != nil {
		return nil, err // ErrNotFound rather than an empty inbox
	}
	return nil, nil
}

func notFound(err error, format string, args ...any) error {
	if errors.Is(err, journal.ErrNotFound) {
		return fmt.Errorf("%w: "+format, append([]any{journal.ErrNotFound}, args...)...)
	}
	return err
}
