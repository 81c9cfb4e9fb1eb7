package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/journal"
)

// PutAgent implements [journal.Catalog].
func (s *Store) PutAgent(ctx context.Context, t cairn.TenantID, v journal.AgentVersion) error {
	if len(v.Data) > maxPayload {
		return errTooLarge
	}
	return s.do(ctx, &job{size: len(v.Data), run: func(w *writer) error {
		tenant, err := w.tenant(t, true)
		if err != nil {
			return err
		}
		if _, err := w.versionAdd.exec(tenant, string(v.Digest), v.Name, nanos(v.Created), v.Data); err != nil {
			return err
		}
		_, err = w.versionSet.exec(tenant, v.Name, string(v.Digest))
		return err
	}})
}

const agentColumns = `SELECT v.name, v.digest, v.created, v.data FROM agent_version v `

// Agent implements [journal.Catalog].
func (s *Store) Agent(ctx context.Context, t cairn.TenantID, name string, digest cairn.Digest) (journal.AgentVersion, error) {
	query, key := agentColumns+`WHERE v.tenant = `+tenantNo+` AND v.digest = ?`, string(digest)
	if digest == "" {
		query, key = agentColumns+`JOIN agent a ON a.tenant = v.tenant AND a.digest = v.digest
			WHERE a.tenant = `+tenantNo+` AND a.name = ?`, name
	}
	v, err := scanOne(ctx, s, scanAgent, query, string(t), key)
	if errors.Is(err, journal.ErrNotFound) {
		err = fmt.Errorf("%w: agent %s %s", journal.ErrNotFound, name, digest)
	}
	return v, err
}

// Agents implements [journal.Catalog].
func (s *Store) Agents(ctx context.Context, t cairn.TenantID) ([]journal.AgentVersion, error) {
	return scanAll(ctx, s, scanAgent, agentColumns+`JOIN agent a ON a.tenant = v.tenant AND a.digest = v.digest
		WHERE a.tenant = `+tenantNo+` ORDER BY a.name`, string(t))
}

// Versions implements [journal.Catalog].
func (s *Store) Versions(ctx context.Context, t cairn.TenantID, name string, limit int) ([]journal.AgentVersion, error) {
	return scanAll(ctx, s, scanAgent, `SELECT v.name, v.digest, v.created, NULL FROM agent_version v
		WHERE v.tenant = `+tenantNo+` AND v.name = ? ORDER BY v.created DESC, v.digest LIMIT ?`, string(t), name, max(limit, 0))
}

func scanAgent(r *sql.Rows) (v journal.AgentVersion, err error) {
	var created int64
	err = r.Scan(&v.Name, &v.Digest, &created, &v.Data)
	v.Created = moment(created)
	return v, err
}

// PutSnapshot implements [journal.Snapshots]. An older snapshot never replaces a
// newer one.
func (s *Store) PutSnapshot(ctx context.Context, k cairn.SessionKey, snap journal.Snapshot) error {
	if len(snap.Data) > maxPayload {
		return errTooLarge
	}
	return s.do(ctx, &job{size: len(snap.Data), run: func(w *writer) error {
		tenant, head, err := w.head(k)
		if err != nil {
			return err
		}
		_, err = w.snapshotSet.exec(tenant, integer(head[0]), int64(snap.Fold), int64(snap.Seq), snap.Data)
		return err
	}})
}

// Snapshot implements [journal.Snapshots].
func (s *Store) Snapshot(ctx context.Context, k cairn.SessionKey, fold int) (journal.Snapshot, error) {
	return scanOne(ctx, s, func(r *sql.Rows) (snap journal.Snapshot, err error) {
		err = r.Scan(&snap.Seq, &snap.Fold, &snap.Data)
		return snap, err
	}, `SELECT p.seq, p.fold, p.data FROM snapshot p JOIN head h ON h.tenant = p.tenant AND h.no = p.session
		WHERE h.tenant = `+tenantNo+` AND h.session = ? AND p.fold = ?`, string(k.Tenant), string(k.ID), fold)
}
