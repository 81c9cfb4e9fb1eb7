package api

import (
	"context"
	"fmt"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/cairn-run/cairn"
	v1 "github.com/cairn-run/cairn/api/v1"
)

type (
	runsInput struct {
		ID    cairn.SessionID `path:"id" maxLength:"64" doc:"id of the session"`
		After cairn.Seq       `query:"after" doc:"only runs that began after this event: the next of the page before"`
		Limit int             `query:"limit" minimum:"1" maximum:"1000" default:"100"`
	}
	runsOutput struct{ Body v1.RunList }
	stepsInput struct {
		ID    cairn.SessionID `path:"id" maxLength:"64" doc:"id of the session"`
		Run   cairn.RunID     `query:"run" maxLength:"64" doc:"only steps of this run"`
		After cairn.Seq       `query:"after" doc:"only steps that began after this event: the next of the page before"`
		Limit int             `query:"limit" minimum:"1" maximum:"1000" default:"100"`
	}
	stepsOutput struct{ Body v1.StepList }
)

func (a *API) runRoutes() {
	tags := []string{"sessions"}
	operation(a, huma.Operation{
		OperationID: "list-runs", Method: http.MethodGet, Path: "/v1/sessions/{id}/runs", Tags: tags,
		Summary: "List the runs of a session, oldest first",
	}, a.listRuns)
	operation(a, huma.Operation{
		OperationID: "list-steps", Method: http.MethodGet, Path: "/v1/sessions/{id}/steps", Tags: tags,
		Summary: "List the model calls and tool calls of a session, oldest first",
	}, a.listSteps)
}

// listRuns reads runs from the history: they are not kept anywhere else.
func (a *API) listRuns(ctx context.Context, in *runsInput) (*runsOutput, error) {
	key := cairn.SessionKey{Tenant: identity(ctx).Tenant, ID: in.ID}
	if _, err := a.summary(ctx, key); err != nil {
		return nil, err
	}
	list := v1.RunList{Runs: []v1.Run{}}
	for e, err := range a.Journal.Events(ctx, key, in.After) {
		if err != nil {
			return nil, fmt.Errorf("runs of %s: %w", key, err)
		}
		if _, ok := e.Data.(cairn.RunStarted); ok && len(list.Runs) == in.Limit {
			list.Next = e.Seq - 1
			break
		}
		list.Runs = foldRun(list.Runs, e)
	}
	return &runsOutput{list}, nil
}

// foldRun adds an event to the runs it is about.
func foldRun(runs []v1.Run, e cairn.Event) []v1.Run {
	if d, ok := e.Data.(cairn.RunStarted); ok {
		return append(runs, v1.Run{
			ID: e.Run, Status: v1.StatusOpen, Digest: d.Digest, Sandbox: d.Sandbox, Budget: d.Budget,
			Started: e.At, Deadline: d.Deadline, FirstSeq: e.Seq, LastSeq: e.Seq,
		})
	}
	if len(runs) == 0 || runs[len(runs)-1].ID != e.Run {
		return runs
	}
	r := &runs[len(runs)-1]
	r.LastSeq = e.Seq
	end := func(status string, err *cairn.Error, sum cairn.RunSummary) {
		r.Status, r.Ended, r.Error, r.Summary = status, e.At, err, &sum
	}
	switch d := e.Data.(type) {
	case cairn.RunCompleted:
		end("completed", nil, d.Summary)
		r.Output, r.Degraded = d.Output, d.Degraded
	case cairn.RunFailed:
		end("failed", &d.Error, d.Summary)
	case cairn.RunCancelled:
		end("cancelled", nil, d.Summary)
	}
	return runs
}

func (a *API) listSteps(ctx context.Context, in *stepsInput) (*stepsOutput, error) {
	key := cairn.SessionKey{Tenant: identity(ctx).Tenant, ID: in.ID}
	if _, err := a.summary(ctx, key); err != nil {
		return nil, err
	}
	f := stepFolder{at: map[cairn.EffectID]int{}, asks: map[cairn.AskID]cairn.EffectID{}, run: in.Run, limit: in.Limit}
	for e, err := range a.Journal.Events(ctx, key, in.After) {
		if err != nil {
			return nil, fmt.Errorf("steps of %s: %w", key, err)
		}
		if f.fold(e); f.next > 0 && f.open == 0 {
			break // what follows is about other steps
		}
	}
	list := v1.StepList{Steps: f.steps, Next: f.next}
	if list.Steps == nil {
		list.Steps = []v1.Step{}
	}
	return &stepsOutput{list}, nil
}
