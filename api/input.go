package api

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"

	"github.com/oklog/ulid/v2"

	"github.com/cairn-run/cairn"
	v1 "github.com/cairn-run/cairn/api/v1"
	"github.com/cairn-run/cairn/journal"
)

// named hashes a client's key together with whose it is, so that two principals
// never meet in one key.
func named(id Identity, what, key string) [sha256.Size]byte {
	h := sha256.New()
	for _, s := range []string{what, string(id.Tenant), id.Principal.Kind, id.Principal.ID, key} {
		_, _ = fmt.Fprintf(h, "%d:%s", len(s), s) // a hash takes everything
	}
	return [sha256.Size]byte(h.Sum(nil))
}

// inputID is the id of the input that a request is.
func (a *API) inputID(id Identity, key string) string {
	if key == "" {
		return "in_" + a.NewID()
	}
	sum := named(id, "input", key)
	return "key_" + hex.EncodeToString(sum[:16])
}

// sessionID is the id of the session that a request creates: with a key the same
// one every time. A key that is a ULID lends the id its time, so that sessions of
// such clients sort by when they were made.
func (a *API) sessionID(id Identity, key string) cairn.SessionID {
	if key == "" {
		return cairn.NewSessionID(a.NewID())
	}
	sum := named(id, "session", key)
	made := ulid.ULID(sum[:16])
	if k, err := ulid.ParseStrict(key); err == nil {
		copy(made[:6], k[:6]) // the first six bytes are the time
	}
	return cairn.NewSessionID(made.String())
}

// deliver puts an input to a session into its inbox.
func (a *API) deliver(ctx context.Context, session cairn.SessionID, key string, data cairn.InputData) (*v1.Accepted, error) {
	id := identity(ctx)
	to := cairn.SessionKey{Tenant: id.Tenant, ID: session}
	input := a.inputID(id, key)
	accepted := &v1.Accepted{Session: session, Input: input}
	summary, err := a.summary(ctx, to)
	if err != nil {
		return nil, err
	}
	if summary.Status.Final() {
		done, err := a.doneBefore(ctx, summary, input, key, data)
		if err != nil {
			return nil, err
		}
		if done {
			return accepted, nil
		}
		return nil, cairn.Errorf(cairn.CodeConflict, "the session is %s and takes no more input: start a new one (cairn run, POST /v1/sessions)", summary.Status)
	}
	err = a.Journal.Post(ctx, cairn.Input{ID: input, To: to, At: a.Now(), From: id.Principal, Data: data}, nil, nil)
	if err != nil {
		return nil, err
	}
	return accepted, nil
}

// doneBefore says that a session which takes no more input did already what it is
// told: it was cancelled, or has this very message.
func (a *API) doneBefore(ctx context.Context, s cairn.Summary, input, key string, data cairn.InputData) (bool, error) {
	switch d := data.(type) {
	case cairn.Control:
		return d.Action == cairn.ControlCancel && s.Status == cairn.StatusCancelled, nil
	case cairn.Post:
		if key == "" {
			return false, nil
		}
		for e, err := range a.Journal.Events(ctx, s.Session, 0) {
			if err != nil {
				return false, err
			}
			if m, ok := e.Data.(cairn.MessageCreated); ok && m.Input == input {
				return true, nil
			}
		}
	}
	return false, nil
}

// summary reads the list row of a session.
func (a *API) summary(ctx context.Context, s cairn.SessionKey) (cairn.Summary, error) {
	sum, err := a.Journal.Summary(ctx, s)
	if errors.Is(err, journal.ErrNotFound) {
		return sum, newError(http.StatusNotFound, cairn.CodeNotFound, fmt.Sprintf("there is no session %s", s.ID))
	}
	return sum, err
}
