package api

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/cairn-run/cairn"
	v1 "github.com/cairn-run/cairn/api/v1"
	"github.com/cairn-run/cairn/journal"
)

func (a *API) exportRoute() {
	operation(a, huma.Operation{
		OperationID: "export-session", Method: http.MethodGet, Path: "/v1/sessions/{id}/export", Tags: []string{"sessions"},
		Summary: "Export a session in a portable form",
		Description: "JSON, one object a line: a head of type export, the definitions of the agents it ran under (type agent), every event in order in the " +
			"envelope of the API, and an end of type end with the SHA-256 of all bytes before it. A file without the last line is not whole. " +
			"Results that are kept outside the history stand in their events. The files of the session are a download of their own (files/archive).",
		Responses: bytesOf("The session", v1.MediaNDJSON),
	}, a.exportSession)
}

func (a *API) exportSession(ctx context.Context, in *sessionPath) (*rawOutput, error) {
	key := cairn.SessionKey{Tenant: identity(ctx).Tenant, ID: in.ID}
	sum, err := a.summary(ctx, key)
	if err != nil {
		return nil, err
	}
	return a.transfer("export-session", func(ctx context.Context, w http.ResponseWriter, _ *http.Request) error {
		w.Header().Set("Content-Disposition", `attachment; filename="`+string(in.ID)+`.ndjson"`)
		return send(w, v1.MediaNDJSON, func(out io.Writer) error { return a.export(ctx, out, sum) })
	}), nil
}

// export writes a session up to the last event of its row, so that what goes on
// meanwhile does not stretch it.
func (a *API) export(ctx context.Context, w io.Writer, sum cairn.Summary) error {
	hash := sha256.New()
	e := json.NewEncoder(io.MultiWriter(w, hash))
	e.SetEscapeHTML(false)
	head := v1.ExportHead{Type: v1.ExportHeadType, Format: v1.ExportFormat, Version: a.Version, Exported: a.Now().UTC().Truncate(time.Millisecond), Session: v1.SessionFrom(sum)}
	if err := e.Encode(head); err != nil {
		return err
	}
	if err := a.exportAgents(ctx, e, sum); err != nil {
		return err
	}
	end := v1.ExportEnd{Type: v1.ExportEndType}
	for ev, err := range a.Journal.Events(ctx, sum.Session, 0) {
		if err != nil {
			return fmt.Errorf("export of %s: %w", sum.Session, err)
		}
		if ev.Seq > sum.Events {
			break
		}
		wire, err := v1.EventFrom(sum.Session.ID, ev)
		if err != nil {
			return err
		}
		if err := e.Encode(wire); err != nil {
			return err
		}
		end.Events++
		end.Last = ev.Seq
	}
	end.Digest = cairn.Digest("sha256:" + hex.EncodeToString(hash.Sum(nil)))
	return e.Encode(end)
}

// exportAgents writes every definition the session was pinned to, once.
func (a *API) exportAgents(ctx context.Context, e *json.Encoder, sum cairn.Summary) error {
	seen := map[cairn.Digest]bool{}
	one := func(name string, d cairn.Digest) error {
		if seen[d] {
			return nil
		}
		seen[d] = true
		v, err := a.Journal.Agent(ctx, sum.Session.Tenant, name, d)
		if errors.Is(err, journal.ErrNotFound) {
			return nil // the events still say which it was
		} else if err != nil {
			return err
		}
		return e.Encode(v1.ExportAgent{Type: v1.ExportAgentType, Name: v.Name, Digest: v.Digest, Definition: bytes.TrimSpace(v.Data)})
	}
	for ev, err := range a.Journal.Events(ctx, sum.Session, 0) {
		if err != nil {
			return fmt.Errorf("export of %s: %w", sum.Session, err)
		}
		if ev.Seq > sum.Events {
			break
		}
		switch d := ev.Data.(type) {
		case cairn.SessionCreated:
			err = one(d.Agent, d.Digest)
		case cairn.SessionMoved:
			err = one(d.Agent, d.Digest)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
