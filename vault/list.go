package vault

import (
	"context"
	"errors"

	"github.com/cairn-run/cairn"
)

// Entry is a secret that is kept somewhere, without its value.
type Entry struct {
	Ref string `json:"ref"`
	// Problem says why it cannot be used; empty: it can.
	Problem string `json:"problem,omitzero"`
}

// List says what is kept in age files (default [DefaultFile]) and what was put
// into the keyring from here, and whether it can be had. No value is shown.
func (v *Vault) List(ctx context.Context, files ...string) ([]Entry, error) {
	if len(files) == 0 {
		files = []string{DefaultFile}
	}
	var all []Entry
	for _, file := range files {
		names, err := v.Names(file)
		if err != nil {
			return nil, err
		}
		for _, n := range names {
			all = append(all, v.entry(ctx, Ref{Source: Age, Place: file, Name: n}))
		}
	}
	notes, err := v.notes()
	if err != nil {
		return nil, fileError(err)
	}
	for _, s := range notes {
		r, err := ParseRef(s)
		if err != nil || r.Source != Keyring {
			continue // not ours
		}
		e := v.entry(ctx, r)
		all = append(all, e)
	}
	return all, nil
}

func (v *Vault) entry(ctx context.Context, r Ref) Entry {
	e := Entry{Ref: r.String()}
	if _, err := v.Get(ctx, r); err != nil {
		e.Problem = "it cannot be had"
		if known, ok := errors.AsType[*cairn.Error](err); ok {
			e.Problem = known.Message
		}
	}
	return e
}
