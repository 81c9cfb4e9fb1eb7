package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"strings"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/journal"
)

// Bounds of a page of a list.
const (
	defaultLimit = 100
	maxLimit     = 1000
)

func limitOf(n int) int {
	if n <= 0 {
		return defaultLimit
	}
	return min(n, maxLimit)
}

// Summary implements [journal.Lister].
func (s *Store) Summary(ctx context.Context, k cairn.SessionKey) (cairn.Summary, error) {
	v, err := scanOne(ctx, s, scanSummary, `SELECT summary FROM head WHERE tenant = `+tenantNo+` AND session = ?`,
		string(k.Tenant), string(k.ID))
	return v, notFound(err, "session %s", k)
}

func scanSummary(r *sql.Rows) (v cairn.Summary, err error) {
	var b sql.RawBytes
	if err = r.Scan(&b); err == nil {
		err = json.Unmarshal(b, &v)
	}
	return v, err
}

// Summaries implements [journal.Lister]. Heads are numbered in the order they
// were made.
func (s *Store) Summaries(ctx context.Context, t cairn.TenantID, f journal.SummaryFilter) ([]cairn.Summary, error) {
	text := strings.Builder{}
	text.WriteString(`SELECT summary FROM head WHERE tenant = ` + tenantNo)
	args := []any{string(t)}
	if f.Before != "" {
		text.WriteString(` AND no < (SELECT no FROM head WHERE tenant = ` + tenantNo + ` AND session = ?)`)
		args = append(args, string(t), string(f.Before))
	}
	if f.Agent != "" {
		text.WriteString(` AND agent = ?`)
		args = append(args, f.Agent)
	}
	if len(f.Status) > 0 {
		// As JSON, so that the number of states does not make another statement.
		states, err := json.Marshal(f.Status)
		if err != nil {
			return nil, err
		}
		text.WriteString(` AND status IN (SELECT value FROM json_each(?))`)
		args = append(args, string(states))
	}
	text.WriteString(` ORDER BY no DESC LIMIT ?`)
	return scanAll(ctx, s, scanSummary, text.String(), append(args, limitOf(f.Limit))...)
}

const askColumns = `SELECT h.session, a.data, a.status, a.by_kind, a.by_id, a.decided
	FROM ask a JOIN head h ON h.no = a.session `

func scanAsk(t cairn.TenantID) func(*sql.Rows) (journal.AskRow, error) {
	return func(r *sql.Rows) (journal.AskRow, error) {
		a := journal.AskRow{Session: cairn.SessionKey{Tenant: t}}
		var data sql.RawBytes
		var decided int64
		err := r.Scan(&a.Session.ID, &data, &a.Status, &a.By.Kind, &a.By.ID, &decided)
		if err == nil {
			err = json.Unmarshal(data, &a.Ask)
		}
		a.Decided = moment(decided)
		return a, err
	}
}

// Ask implements [journal.Lister].
func (s *Store) Ask(ctx context.Context, t cairn.TenantID, id cairn.AskID) (journal.AskRow, error) {
	a, err := scanOne(ctx, s, scanAsk(t), askColumns+`WHERE a.tenant = `+tenantNo+` AND a.id = ?`, string(t), string(id))
	return a, notFound(err, "ask %s", id)
}

// Asks implements [journal.Lister]: oldest first is the order of opening.
func (s *Store) Asks(ctx context.Context, t cairn.TenantID, f journal.AskFilter) ([]journal.AskRow, error) {
	after := int64(0)
	if f.After != "" {
		var err error
		after, err = scanOne(ctx, s, func(r *sql.Rows) (no int64, err error) {
			err = r.Scan(&no)
			return no, err
		},
			`SELECT no FROM ask WHERE tenant = `+tenantNo+` AND id = ?`, string(t), string(f.After))
		if err != nil {
			return nil, notFound(err, "ask %s, after which the page begins", f.After)
		}
	}
	text := askColumns + `WHERE a.tenant = ` + tenantNo + ` AND a.no > ?`
	args := []any{string(t), after}
	if f.Session != "" {
		text += ` AND a.session = (SELECT no FROM head WHERE tenant = a.tenant AND session = ?)`
		args = append(args, string(f.Session))
	}
	if f.Status == "" || f.Status == cairn.AskOpen {
		text += ` AND a.status = 'open'` // spelled out for the index of open asks
	} else {
		text += ` AND a.status = ?`
		args = append(args, string(f.Status))
	}
	return scanAll(ctx, s, scanAsk(t), text+` ORDER BY a.no LIMIT ?`, append(args, limitOf(f.Limit))...)
}

// Budget implements [journal.Lister]. Of a budget nobody drew from, nothing was
// drawn.
func (s *Store) Budget(ctx context.Context, t cairn.TenantID, id string) (cairn.Money, error) {
	m, err := scanOne(ctx, s, func(r *sql.Rows) (m cairn.Money, err error) {
		err = r.Scan(&m)
		return m, err
	},
		`SELECT drawn FROM budget WHERE tenant = `+tenantNo+` AND id = ?`, string(t), id)
	if errors.Is(err, journal.ErrNotFound) {
		return 0, nil
	}
	return m, err
}

// Totals implements [journal.Lister].
func (s *Store) Totals(ctx context.Context, t cairn.TenantID) ([]journal.Total, error) {
	return scanAll(ctx, s, func(r *sql.Rows) (v journal.Total, err error) {
		u := &v.Usage
		err = r.Scan(&v.Agent, &v.Sessions, &u.Input, &u.CacheRead, &u.CacheWrite5m, &u.CacheWrite1h, &u.Output,
			&u.Reasoning, &v.Cost, &v.Reserved)
		return v, err
	}, `SELECT agent, count(*), sum(input), sum(cache_read), sum(cache_write_5m), sum(cache_write_1h), sum(output),
		sum(reasoning), sum(cost), sum(reserved) FROM head WHERE tenant = `+tenantNo+` GROUP BY agent ORDER BY agent`, string(t))
}
