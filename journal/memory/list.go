package memory

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

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

func cloneSummary(s cairn.Summary) cairn.Summary {
	s.Waiting = slices.Clone(s.Waiting)
	if s.LastError != nil {
		e := *s.LastError
		s.LastError = &e
	}
	return s
}

// Summary implements [journal.Lister].
func (s *Store) Summary(ctx context.Context, k cairn.SessionKey) (cairn.Summary, error) {
	if err := s.enter(ctx); err != nil {
		return cairn.Summary{}, err
	}
	defer s.mu.Unlock()
	h, err := s.session(k)
	if err != nil {
		return cairn.Summary{}, err
	}
	return cloneSummary(h.summary), nil
}

// Summaries implements [journal.Lister]. Session ids are ULIDs: the order of
// their bytes is that of their making.
func (s *Store) Summaries(ctx context.Context, t cairn.TenantID, f journal.SummaryFilter) ([]cairn.Summary, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	var page []cairn.Summary
	sessions := s.tenant(t).sessions
	newest := slices.SortedFunc(maps.Values(sessions), func(a, b *session) int { return b.no - a.no })
	before := len(sessions)
	if f.Before != "" {
		at, ok := sessions[f.Before]
		if !ok {
			return nil, nil
		}
		before = at.no
	}
	for _, session := range newest {
		row := session.summary
		switch {
		case session.no >= before:
		case f.Agent != "" && row.Agent != f.Agent:
		case len(f.Status) > 0 && !slices.Contains(f.Status, row.Status):
		case len(page) == limitOf(f.Limit):
			return page, nil
		default:
			page = append(page, cloneSummary(row))
		}
	}
	return page, nil
}

// Ask implements [journal.Lister].
func (s *Store) Ask(ctx context.Context, t cairn.TenantID, id cairn.AskID) (journal.AskRow, error) {
	if err := s.enter(ctx); err != nil {
		return journal.AskRow{}, err
	}
	defer s.mu.Unlock()
	row := s.tenant(t).asks[id]
	if row == nil {
		return journal.AskRow{}, fmt.Errorf("%w: ask %s", journal.ErrNotFound, id)
	}
	return cloneAsk(row), nil
}

func cloneAsk(row *journal.AskRow) journal.AskRow {
	a := *row
	a.Ask.Args = bytes.Clone(a.Ask.Args)
	return a
}

// Asks implements [journal.Lister]: oldest first is the order of opening.
func (s *Store) Asks(ctx context.Context, t cairn.TenantID, f journal.AskFilter) ([]journal.AskRow, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	own := s.tenant(t)
	from := 0
	if f.After != "" {
		i := slices.Index(own.opened, f.After)
		if i < 0 {
			return nil, fmt.Errorf("%w: ask %s, after which the page begins", journal.ErrNotFound, f.After)
		}
		from = i + 1
	}
	var page []journal.AskRow
	for _, id := range own.opened[from:] {
		row := own.asks[id]
		switch {
		case f.Session != "" && row.Session.ID != f.Session:
		case row.Status != cmp.Or(f.Status, cairn.AskOpen):
		case len(page) == limitOf(f.Limit):
			return page, nil
		default:
			page = append(page, cloneAsk(row))
		}
	}
	return page, nil
}

// Budget implements [journal.Lister]. Of a budget nobody drew from, nothing was
// drawn.
func (s *Store) Budget(ctx context.Context, t cairn.TenantID, id string) (cairn.Money, error) {
	if err := s.enter(ctx); err != nil {
		return 0, err
	}
	defer s.mu.Unlock()
	return s.tenant(t).budgets[id], nil
}

// Totals implements [journal.Lister].
func (s *Store) Totals(ctx context.Context, t cairn.TenantID) ([]journal.Total, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	sums := map[string]*journal.Total{}
	for _, h := range s.tenant(t).sessions {
		v := sums[h.summary.Agent]
		if v == nil {
			v = &journal.Total{Agent: h.summary.Agent}
			sums[v.Agent] = v
		}
		v.Sessions++
		v.Usage = v.Usage.Add(h.summary.Usage)
		v.Cost += h.summary.Cost
		v.Reserved += h.summary.Reserved
	}
	var totals []journal.Total
	for _, agent := range slices.Sorted(maps.Keys(sums)) {
		totals = append(totals, *sums[agent])
	}
	return totals, nil
}

// PutAgent implements [journal.Catalog].
func (s *Store) PutAgent(ctx context.Context, t cairn.TenantID, v journal.AgentVersion) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.mu.Unlock()
	own := s.tenant(t)
	if _, ok := own.agents[v.Digest]; !ok {
		v.Data = bytes.Clone(v.Data)
		own.agents[v.Digest] = v
	}
	own.current[v.Name] = v.Digest
	return nil
}

// Agent implements [journal.Catalog].
func (s *Store) Agent(ctx context.Context, t cairn.TenantID, name string, digest cairn.Digest) (journal.AgentVersion, error) {
	if err := s.enter(ctx); err != nil {
		return journal.AgentVersion{}, err
	}
	defer s.mu.Unlock()
	own := s.tenant(t)
	v, ok := own.agents[cmp.Or(digest, own.current[name])]
	if !ok {
		return journal.AgentVersion{}, fmt.Errorf("%w: agent %s %s", journal.ErrNotFound, name, digest)
	}
	v.Data = bytes.Clone(v.Data)
	return v, nil
}

// Agents implements [journal.Catalog].
func (s *Store) Agents(ctx context.Context, t cairn.TenantID) ([]journal.AgentVersion, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	own := s.tenant(t)
	var all []journal.AgentVersion
	for _, name := range slices.Sorted(maps.Keys(own.current)) {
		v := own.agents[own.current[name]]
		v.Data = bytes.Clone(v.Data)
		all = append(all, v)
	}
	return all, nil
}

// Versions implements [journal.Catalog].
func (s *Store) Versions(ctx context.Context, t cairn.TenantID, name string, limit int) ([]journal.AgentVersion, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	var all []journal.AgentVersion
	for _, v := range s.tenant(t).agents {
		if v.Name == name {
			v.Data = nil
			all = append(all, v)
		}
	}
	slices.SortFunc(all, func(a, b journal.AgentVersion) int {
		return cmp.Or(b.Created.Compare(a.Created), cmp.Compare(a.Digest, b.Digest))
	})
	return all[:min(len(all), max(limit, 0))], nil
}

// PutSnapshot implements [journal.Snapshots]. An older snapshot never replaces a
// newer one.
func (s *Store) PutSnapshot(ctx context.Context, k cairn.SessionKey, snap journal.Snapshot) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.mu.Unlock()
	h, err := s.session(k)
	if err != nil {
		return err
	}
	if before, ok := h.snapshots[snap.Fold]; !ok || before.Seq < snap.Seq {
		snap.Data = bytes.Clone(snap.Data)
		h.snapshots[snap.Fold] = snap
	}
	return nil
}

// Snapshot implements [journal.Snapshots].
func (s *Store) Snapshot(ctx context.Context, k cairn.SessionKey, fold int) (journal.Snapshot, error) {
	if err := s.enter(ctx); err != nil {
		return journal.Snapshot{}, err
	}
	defer s.mu.Unlock()
	h, err := s.session(k)
	if err != nil {
		return journal.Snapshot{}, err
	}
	snap, ok := h.snapshots[fold]
	if !ok {
		return journal.Snapshot{}, fmt.Errorf("%w: no snapshot of %s", journal.ErrNotFound, k)
	}
	snap.Data = bytes.Clone(snap.Data)
	return snap, nil
}
