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
	sessionPath struct {
		ID cairn.SessionID `path:"id" maxLength:"64" doc:"id of the session"`
	}
	createInput struct {
		Key  string `header:"Idempotency-Key" maxLength:"255" doc:"makes a repeated request the same request; with another body it is refused"`
		Body v1.CreateSession
	}
	createOutput struct {
		Location string `header:"Location"`
		Body     v1.Session
	}
	sessionOutput struct{ Body v1.Session }
	listInput     struct {
		Status []cairn.Status  `query:"status" doc:"only these, separated by commas" enum:"queued,running,waiting,paused,idle,cancelling,completed,failed,cancelled"`
		Agent  string          `query:"agent" doc:"only sessions of this agent"`
		Before cairn.SessionID `query:"before" doc:"only sessions older than this one: the next of the page before"`
		Limit  int             `query:"limit" minimum:"1" maximum:"1000" default:"100"`
	}
	listOutput   struct{ Body v1.SessionList }
	messageInput struct {
		ID   cairn.SessionID `path:"id" maxLength:"64" doc:"id of the session"`
		Key  string          `header:"Idempotency-Key" maxLength:"255" doc:"makes a repeated request the same request; with another body it is refused"`
		Body v1.PostMessage
	}
	controlInput struct {
		ID   cairn.SessionID `path:"id" maxLength:"64" doc:"id of the session"`
		Key  string          `header:"Idempotency-Key" maxLength:"255" doc:"makes a repeated request the same request; with another body it is refused"`
		Body *v1.Control
	}
	acceptedOutput struct{ Body v1.Accepted }
	usageOutput    struct{ Body v1.SessionUsage }
)

func (a *API) sessionRoutes() {
	tags := []string{"sessions"}
	operation(a, huma.Operation{
		OperationID: "create-session", Method: http.MethodPost, Path: "/v1/sessions", Tags: tags,
		Summary: "Start a session", DefaultStatus: http.StatusCreated, MaxBodyBytes: v1.MaxParts,
	}, a.createSession)
	operation(a, huma.Operation{
		OperationID: "list-sessions", Method: http.MethodGet, Path: "/v1/sessions", Tags: tags,
		Summary: "List sessions, newest first",
	}, a.listSessions)
	operation(a, huma.Operation{
		OperationID: "get-session", Method: http.MethodGet, Path: "/v1/sessions/{id}", Tags: tags,
		Summary: "Show a session",
	}, a.getSession)
	operation(a, huma.Operation{
		OperationID: "post-message", Method: http.MethodPost, Path: "/v1/sessions/{id}/messages", Tags: tags,
		Summary: "Send a message: it starts a run, or steers or interrupts the one that is going on", DefaultStatus: http.StatusAccepted, MaxBodyBytes: v1.MaxParts,
	}, a.postMessage)
	for _, c := range []struct {
		action  cairn.ControlAction
		summary string
	}{
		{cairn.ControlPause, "Stop before the next effect"},
		{cairn.ControlResume, "Go on after a pause"},
		{cairn.ControlCancel, "Stop everything in the session; final"},
	} {
		operation(a, huma.Operation{
			OperationID: string(c.action) + "-session", Method: http.MethodPost, Tags: tags,
			Path: "/v1/sessions/{id}/" + string(c.action), Summary: c.summary, DefaultStatus: http.StatusAccepted, MaxBodyBytes: v1.MaxBody,
		}, a.control(c.action))
	}
	operation(a, huma.Operation{
		OperationID: "get-session-usage", Method: http.MethodGet, Path: "/v1/sessions/{id}/usage", Tags: tags,
		Summary: "Tokens and cost of a session, by model",
	}, a.sessionUsage)
}

// createSession delivers the start of a session. A repeated request finds the
// session it made: its id and its input are derived from the key.
func (a *API) createSession(ctx context.Context, in *createInput) (*createOutput, error) {
	id := identity(ctx)
	b := in.Body
	if err := checkBudget(b.Budget); err != nil {
		return nil, err
	}
	agent, err := a.Journal.Agent(ctx, id.Tenant, b.Agent, "")
	if errors.Is(err, journal.ErrNotFound) {
		return nil, cairn.Errorf(cairn.CodeNotFound, "there is no agent %q: apply its definition first (cairn apply, POST /v1/agents)", b.Agent)
	} else if err != nil {
		return nil, err
	}
	key := cairn.SessionKey{Tenant: id.Tenant, ID: a.sessionID(id, in.Key)}
	project := ""
	if b.Workspace != "" {
		if err := a.base(ctx, b.Workspace); err != nil {
			return nil, err
		}
		if project, err = a.project(ctx, key, b.Workspace); err != nil {
			return nil, err
		}
	}
	start := func(d cairn.Digest) error {
		now := a.Now()
		return a.Journal.Post(ctx, cairn.Input{
			ID: a.inputID(id, in.Key), To: key, At: now, From: id.Principal,
			Data: cairn.Start{
				Agent: b.Agent, Digest: d, Content: b.Input.Parts(), Title: b.Title, Once: b.Once,
				Budget:   cairn.Budget{Run: b.Budget.Run, Session: b.Budget.Session, OnBreach: b.Budget.OnBreach},
				Metadata: b.Metadata, Workspace: b.Workspace, Project: project,
			},
		}, &journal.NewSession{Summary: cairn.Summary{
			Session: key, Agent: b.Agent, Digest: d, Status: cairn.StatusQueued, Title: b.Title, Created: now, Updated: now,
		}}, nil)
	}
	err = start(agent.Digest)
	if in.Key != "" && (errors.Is(err, journal.ErrMismatch) || errors.Is(err, journal.ErrExists)) {
		// The agent may have got a new version since the first request: the same
		// request then means the version it was pinned to.
		if pinned, perr := a.pinned(ctx, key); perr == nil && pinned != agent.Digest {
			err = start(pinned)
		}
	}
	if err != nil {
		return nil, err
	}
	sum, err := a.summary(ctx, key)
	if err != nil {
		return nil, err
	}
	out := v1.SessionFrom(sum)
	out.Workspace = b.Workspace
	return &createOutput{Location: "/v1/sessions/" + string(key.ID), Body: out}, nil
}

// pinned is the version of the agent a session was started with.
func (a *API) pinned(ctx context.Context, s cairn.SessionKey) (cairn.Digest, error) {
	for e, err := range a.Journal.Events(ctx, s, 0) {
		if err != nil {
			return "", err
		}
		if c, ok := e.Data.(cairn.SessionCreated); ok {
			return c.Digest, nil
		}
		break
	}
	sum, err := a.Journal.Summary(ctx, s)
	return sum.Digest, err
}

func checkBudget(b v1.SessionBudget) error {
	for path, m := range map[string]cairn.Money{"body.budget.run": b.Run, "body.budget.session": b.Session} {
		if m < 0 {
			return badField(path, "an amount cannot be negative")
		}
	}
	return nil
}

func (a *API) listSessions(ctx context.Context, in *listInput) (*listOutput, error) {
	rows, err := a.Journal.Summaries(ctx, identity(ctx).Tenant, journal.SummaryFilter{
		Status: in.Status, Agent: in.Agent, Before: in.Before, Limit: in.Limit,
	})
	if errors.Is(err, journal.ErrNotFound) {
		return nil, cairn.Errorf(cairn.CodeInvalid, "there is no session %s, before which the page was to end", in.Before)
	} else if err != nil {
		return nil, err
	}
	list := v1.SessionList{Sessions: make([]v1.Session, len(rows))}
	for i, r := range rows {
		list.Sessions[i] = v1.SessionFrom(r)
	}
	if len(rows) == in.Limit {
		list.Next = rows[len(rows)-1].Session.ID
	}
	return &listOutput{list}, nil
}

func (a *API) getSession(ctx context.Context, in *sessionPath) (*sessionOutput, error) {
	key := cairn.SessionKey{Tenant: identity(ctx).Tenant, ID: in.ID}
	sum, err := a.summary(ctx, key)
	if err != nil {
		return nil, err
	}
	out := v1.SessionFrom(sum)
	if out.Workspace, err = firstTree(ctx, a.Journal, sum); err != nil {
		return nil, err
	}
	return &sessionOutput{out}, nil
}

func (a *API) postMessage(ctx context.Context, in *messageInput) (*acceptedOutput, error) {
	accepted, err := a.deliver(ctx, in.ID, in.Key, cairn.Post{Content: in.Body.Content.Parts(), Interrupt: in.Body.Interrupt})
	if err != nil {
		return nil, err
	}
	return &acceptedOutput{*accepted}, nil
}

func (a *API) control(action cairn.ControlAction) func(context.Context, *controlInput) (*acceptedOutput, error) {
	return func(ctx context.Context, in *controlInput) (*acceptedOutput, error) {
		reason := ""
		if in.Body != nil {
			reason = in.Body.Reason
		}
		accepted, err := a.deliver(ctx, in.ID, in.Key, cairn.Control{Action: action, Reason: reason})
		if err != nil {
			return nil, err
		}
		return &acceptedOutput{*accepted}, nil
	}
}

// sessionUsage adds up what the journal says was settled, by model.
func (a *API) sessionUsage(ctx context.Context, in *sessionPath) (*usageOutput, error) {
	key := cairn.SessionKey{Tenant: identity(ctx).Tenant, ID: in.ID}
	sum, err := a.summary(ctx, key)
	if err != nil {
		return nil, err
	}
	models, err := a.modelUsage(ctx, key, sum.Events)
	if err != nil {
		return nil, fmt.Errorf("usage of %s: %w", key, err)
	}
	return &usageOutput{v1.SessionUsage{
		Session: in.ID, Runs: sum.Runs, ModelCalls: sum.ModelCalls, ToolCalls: sum.ToolCalls,
		Usage: sum.Usage, Cost: sum.Cost, Reserved: sum.Reserved, Models: models,
	}}, nil
}
