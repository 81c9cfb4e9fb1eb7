package api

import (
	"context"
	"errors"
	"net/http"
	"runtime"

	"github.com/danielgtaylor/huma/v2"

	"github.com/cairn-run/cairn"
	v1 "github.com/cairn-run/cairn/api/v1"
	"github.com/cairn-run/cairn/journal"
)

type (
	applyInput struct {
		Key    string `header:"Idempotency-Key" maxLength:"255" doc:"accepted for uniformity: a definition is known by its content"`
		DryRun bool   `query:"dry_run" doc:"check the definition as it would be, and store nothing"`
		Body   cairn.Agent
	}
	applyOutput struct {
		Status   int
		Location string `header:"Location"`
		Body     v1.Applied
	}
	agentInput struct {
		Name   string       `path:"name" maxLength:"63" doc:"name of the agent"`
		Digest cairn.Digest `query:"digest" maxLength:"71" doc:"this version instead of the current one"`
	}
	versionsInput struct {
		Name  string `path:"name" maxLength:"63" doc:"name of the agent"`
		Limit int    `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"at most so many"`
	}
	versionsOutput struct{ Body v1.AgentVersions }
	agentOutput    struct{ Body v1.AgentVersion }
	agentsOutput   struct{ Body v1.AgentList }
	totalsOutput   struct{ Body v1.Totals }
	circuitsOutput struct{ Body v1.CircuitList }
	healthOutput   struct{ Body v1.Health }
	versionBody    struct{ Body v1.Version }
)

func (a *API) agentRoutes() {
	tags := []string{"agents"}
	operation(a, huma.Operation{
		OperationID: "apply-agent", Method: http.MethodPost, Path: "/v1/agents", Tags: tags,
		Summary: "Apply a definition: it becomes the current version of its name", MaxBodyBytes: v1.MaxAgentBody,
		DefaultStatus: http.StatusCreated,
	}, a.applyAgent)
	operation(a, huma.Operation{
		OperationID: "list-agents", Method: http.MethodGet, Path: "/v1/agents", Tags: tags,
		Summary: "List the current version of every agent",
	}, func(ctx context.Context, _ *struct{}) (*agentsOutput, error) {
		rows, err := a.Journal.Agents(ctx, identity(ctx).Tenant)
		if err != nil {
			return nil, err
		}
		list := v1.AgentList{Agents: make([]v1.AgentVersion, len(rows))}
		for i, r := range rows {
			list.Agents[i] = v1.AgentVersionFrom(r.Name, r.Digest, r.Created, r.Data, false)
		}
		return &agentsOutput{list}, nil
	})
	operation(a, huma.Operation{
		OperationID: "get-agent", Method: http.MethodGet, Path: "/v1/agents/{name}", Tags: tags,
		Summary: "Show a version of an agent",
	}, func(ctx context.Context, in *agentInput) (*agentOutput, error) {
		v, err := a.Journal.Agent(ctx, identity(ctx).Tenant, in.Name, in.Digest)
		if errors.Is(err, journal.ErrNotFound) {
			return nil, cairn.Errorf(cairn.CodeNotFound, "there is no agent %q, or no such version of it: cairn agents, or GET /v1/agents, lists them", in.Name)
		} else if err != nil {
			return nil, err
		}
		return &agentOutput{v1.AgentVersionFrom(v.Name, v.Digest, v.Created, v.Data, true)}, nil
	})
	operation(a, huma.Operation{
		OperationID: "list-agent-versions", Method: http.MethodGet, Path: "/v1/agents/{name}/versions", Tags: tags,
		Summary: "List the versions of an agent, newest first",
	}, a.agentVersions)
	operation(a, huma.Operation{
		OperationID: "get-usage", Method: http.MethodGet, Path: "/v1/usage", Tags: []string{"usage"},
		Summary: "Tokens and cost of all sessions, by agent",
	}, a.totals)
}

func (a *API) circuitRoute() {
	operation(a, huma.Operation{
		OperationID: "list-circuits", Method: http.MethodGet, Path: "/v1/models/circuits", Tags: []string{"models"},
		Summary: "Which models failed lately, and which are not called for a while",
	}, func(context.Context, *struct{}) (*circuitsOutput, error) {
		list := v1.CircuitList{Circuits: []v1.Circuit{}}
		if a.Circuits == nil {
			return &circuitsOutput{list}, nil
		}
		for _, c := range a.Circuits() {
			list.Circuits = append(list.Circuits, v1.Circuit{
				Model: c.Model, State: string(c.Circuit), Failures: c.Failures, Since: c.Since, Until: c.Until, Code: c.Code, Message: c.Message,
			})
		}
		return &circuitsOutput{list}, nil
	})
}

// agentVersions looks at one version after the other: a definition may be large.
func (a *API) agentVersions(ctx context.Context, in *versionsInput) (*versionsOutput, error) {
	t := identity(ctx).Tenant
	current, err := a.Journal.Agent(ctx, t, in.Name, "")
	if errors.Is(err, journal.ErrNotFound) {
		return nil, cairn.Errorf(cairn.CodeNotFound, "there is no agent %q: cairn agents, or GET /v1/agents, lists them", in.Name)
	} else if err != nil {
		return nil, err
	}
	rows, err := a.Journal.Versions(ctx, t, in.Name, in.Limit)
	if err != nil {
		return nil, err
	}
	out := v1.AgentVersions{Current: current.Digest, Versions: make([]v1.AgentVersion, len(rows))}
	for i, r := range rows {
		v, err := a.Journal.Agent(ctx, t, in.Name, r.Digest)
		if err != nil {
			return nil, err
		}
		out.Versions[i] = v1.AgentVersionFrom(v.Name, v.Digest, v.Created, v.Data, false)
	}
	return &versionsOutput{out}, nil
}

// applyAgent answers 201 for a new version and 200 for one that was there.
func (a *API) applyAgent(ctx context.Context, in *applyInput) (*applyOutput, error) {
	apply := a.Agents.Apply
	if in.DryRun {
		apply = a.Agents.Check
	}
	v, created, err := apply(ctx, identity(ctx).Tenant, &in.Body)
	if err != nil {
		return nil, err
	}
	status := http.StatusOK
	if created && !in.DryRun {
		status = http.StatusCreated
	}
	return &applyOutput{
		Status: status, Location: "/v1/agents/" + v.Name + "?digest=" + string(v.Digest),
		Body: v1.Applied{AgentVersion: v1.AgentVersionFrom(v.Name, v.Digest, v.Created, v.Data, true), New: created, DryRun: in.DryRun},
	}, nil
}

func (a *API) totals(ctx context.Context, _ *struct{}) (*totalsOutput, error) {
	rows, err := a.Journal.Totals(ctx, identity(ctx).Tenant)
	if err != nil {
		return nil, err
	}
	out := v1.Totals{Agents: make([]v1.AgentTotal, len(rows))}
	for i, r := range rows {
		t := v1.Total{Sessions: r.Sessions, Usage: r.Usage, Cost: r.Cost, Reserved: r.Reserved}
		out.Agents[i] = v1.AgentTotal{Agent: r.Agent, Total: t}
		out.Total = out.Total.Add(t)
	}
	return &totalsOutput{out}, nil
}

func (a *API) healthRoutes() {
	tags := []string{"health"}
	free := []map[string][]string{} // no token
	operation(a, huma.Operation{
		OperationID: "get-health", Method: http.MethodGet, Path: "/v1/health", Tags: tags, Security: free,
		Summary: "Is the process up?",
	}, func(context.Context, *struct{}) (*healthOutput, error) {
		return &healthOutput{v1.Health{Status: "ok"}}, nil
	})
	operation(a, huma.Operation{
		OperationID: "get-ready", Method: http.MethodGet, Path: "/v1/ready", Tags: tags, Security: free,
		Summary: "Does the node take requests?",
	}, func(ctx context.Context, _ *struct{}) (*healthOutput, error) {
		if a.closing.Err() != nil {
			return nil, cairn.Errorf(cairn.CodeUnavailable, "the server is shutting down")
		}
		// A store that gave up says so to whoever reads anything.
		if _, err := a.Journal.Budget(ctx, cairn.DefaultTenant, ""); err != nil {
			a.Logger.Warn("api: not ready", "error", err)
			return nil, cairn.Errorf(cairn.CodeUnavailable, "the node is not ready; its log says why")
		}
		return &healthOutput{v1.Health{Status: "ok"}}, nil
	})
	operation(a, huma.Operation{
		OperationID: "get-version", Method: http.MethodGet, Path: "/v1/version", Tags: tags,
		Summary: "What is running?",
	}, func(context.Context, *struct{}) (*versionBody, error) {
		return &versionBody{v1.Version{Version: a.Version, API: "v1", Go: runtime.Version()}}, nil
	})
}
