package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/cairn-run/cairn"
	v1 "github.com/cairn-run/cairn/api/v1"
	"github.com/cairn-run/cairn/journal"
)

type (
	moveInput struct {
		ID   cairn.SessionID `path:"id" maxLength:"64" doc:"id of the session"`
		Key  string          `header:"Idempotency-Key" maxLength:"255" doc:"makes a repeated request the same request; with another body, or without version after a new one was applied, it is refused"`
		Body v1.Move
	}
	moveOutput struct{ Body v1.Moving }
)

func (a *API) moveRoute() {
	operation(a, huma.Operation{
		OperationID: "move-session", Method: http.MethodPost, Path: "/v1/sessions/{id}/move", Tags: []string{"sessions"},
		Summary: "Let a session go on under another agent, or another version of its own",
		Description: "A session stays pinned to the version of its agent that it began with, until it is moved. It takes effect at the next model call: " +
			"the calls that are open end under the definition that made them. session.moving and session.moved record it.",
		DefaultStatus: http.StatusAccepted, MaxBodyBytes: v1.MaxBody,
	}, a.moveSession)
}

func (a *API) moveSession(ctx context.Context, in *moveInput) (*moveOutput, error) {
	b, tenant := in.Body, identity(ctx).Tenant
	sum, err := a.summary(ctx, cairn.SessionKey{Tenant: tenant, ID: in.ID})
	if err != nil {
		return nil, err
	}
	agent, err := a.Journal.Agent(ctx, tenant, b.Agent, b.Version)
	if errors.Is(err, journal.ErrNotFound) || err == nil && agent.Name != b.Agent {
		version := ""
		if b.Version != "" {
			version = fmt.Sprintf(" with version %q", b.Version)
		}
		return nil, cairn.Errorf(cairn.CodeNotFound, "there is no agent %q%s: apply its definition first (cairn apply, POST /v1/agents)", b.Agent, version)
	} else if err != nil {
		return nil, err
	}
	accepted, err := a.deliver(ctx, in.ID, in.Key, cairn.Move{Agent: agent.Name, Digest: agent.Digest, Reason: b.Reason})
	if err != nil {
		return nil, err
	}
	return &moveOutput{v1.Moving{Accepted: *accepted, Agent: agent.Name, Digest: agent.Digest, From: sum.Digest, Effective: v1.NextModelCall}}, nil
}
