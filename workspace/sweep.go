package workspace

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"

	"github.com/cairn-run/cairn"
)

// Swept says what a sweep removed.
type Swept struct {
	Sessions, Bases int
}

// Sweep removes the files of sessions that keep does not want, and bases that neither
// a session that is left nor base wants. A nil function keeps everything of its sort.
// Nothing may have the removed files mounted; an import that is not mentioned anywhere
// yet is base's to keep.
func (s *Store) Sweep(ctx context.Context, keep func(cairn.SessionKey) bool, base func(cairn.TenantID, cairn.Digest) bool) (Swept, error) {
	w, err := s.sweep(ctx, keep, base)
	return w, wrap(err, "removing leftovers of workspaces")
}

func (s *Store) sweep(ctx context.Context, keep func(cairn.SessionKey) bool, base func(cairn.TenantID, cairn.Digest) bool) (Swept, error) {
	var w Swept
	tenants, err := os.ReadDir(filepath.Join(s.dir, tenantsDir))
	if err != nil {
		return w, err
	}
	for _, t := range tenants {
		dir := filepath.Join(s.dir, tenantsDir, t.Name())
		used, tenant, err := s.sweepSessions(ctx, dir, keep, &w)
		if err != nil {
			return w, err
		}
		if base == nil {
			continue
		}
		if tenant == "" { // no session tells whose bases these are; a plain name does
			name, ok := strings.CutPrefix(t.Name(), "n-")
			if !ok {
				continue
			}
			tenant = cairn.TenantID(name)
		}
		bases, err := os.ReadDir(filepath.Join(dir, basesDir))
		if err != nil && !missing(err) {
			return w, err
		}
		for _, b := range bases {
			d := cairn.Digest("sha256:" + b.Name())
			if used[d] || base(tenant, d) {
				continue
			}
			if err := s.discard(filepath.Join(dir, basesDir, b.Name())); err != nil {
				return w, err
			}
			s.cache.forgetBase(tenant, d)
			w.Bases++
		}
	}
	return w, nil
}

// sweepSessions goes through the sessions of a tenant, and tells the bases that the
// ones that are left begin with.
func (s *Store) sweepSessions(ctx context.Context, dir string, keep func(cairn.SessionKey) bool, w *Swept) (map[cairn.Digest]bool, cairn.TenantID, error) {
	used := map[cairn.Digest]bool{}
	var tenant cairn.TenantID
	sessions, err := os.ReadDir(filepath.Join(dir, sessionsDir))
	if err != nil && !missing(err) {
		return nil, "", err
	}
	for _, e := range sessions {
		if err := ctx.Err(); err != nil {
			return nil, "", err
		}
		path := filepath.Join(dir, sessionsDir, e.Name())
		var r keyRecord
		b, err := os.ReadFile(filepath.Join(path, keyFile))
		if err == nil {
			err = json.Unmarshal(b, &r)
		}
		switch {
		case missing(err): // nobody could ask for it
			if err := s.discard(path); err != nil {
				return nil, "", err
			}
			w.Sessions++
			continue
		case err != nil || dirName(string(r.Key.ID)) != e.Name():
			s.o.Logger.Warn("the files of a session do not say whose they are, and stay", "directory", path, "error", err)
			continue
		}
		tenant = r.Key.Tenant
		if keep == nil || keep(r.Key) {
			used[r.Base] = true
			continue
		}
		if err := (&Tree{s: s, key: r.Key, base: r.Base}).Remove(ctx); err != nil {
			return nil, "", err
		}
		w.Sessions++
	}
	return used, tenant, nil
}
