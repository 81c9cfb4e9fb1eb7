package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"github.com/cairn-run/cairn"
	v1 "github.com/cairn-run/cairn/api/v1"
	"github.com/cairn-run/cairn/journal"
)

type (
	asksInput struct {
		Session cairn.SessionID `query:"session" doc:"only asks of this session"`
		Status  cairn.AskStatus `query:"status" default:"open" enum:"open,approved,approved_edited,rejected,answered,expired,cancelled,superseded"`
		After   cairn.AskID     `query:"after" doc:"only asks after this one: the next of the page before"`
		Limit   int             `query:"limit" minimum:"1" maximum:"1000" default:"100"`
	}
	asksOutput struct{ Body v1.AskList }
	askPath    struct {
		ID cairn.AskID `path:"id" maxLength:"64" doc:"id of the ask"`
	}
	askOutput    struct{ Body v1.Ask }
	approveInput struct {
		ID   cairn.AskID `path:"id" maxLength:"64" doc:"id of the ask"`
		Key  string      `header:"Idempotency-Key" maxLength:"255" doc:"makes a repeated request the same request; with another body it is refused"`
		Body *v1.Approve
	}
	editInput struct {
		ID   cairn.AskID `path:"id" maxLength:"64" doc:"id of the ask"`
		Key  string      `header:"Idempotency-Key" maxLength:"255" doc:"makes a repeated request the same request; with another body it is refused"`
		Body v1.Edit
	}
	answerInput struct {
		ID   cairn.AskID `path:"id" maxLength:"64" doc:"id of the ask"`
		Key  string      `header:"Idempotency-Key" maxLength:"255" doc:"makes a repeated request the same request; with another body it is refused"`
		Body v1.Answer
	}
)

func (a *API) askRoutes() {
	tags := []string{"asks"}
	operation(a, huma.Operation{
		OperationID: "list-asks", Method: http.MethodGet, Path: "/v1/asks", Tags: tags,
		Summary: "List what waits for an answer, oldest first",
	}, a.listAsks)
	operation(a, huma.Operation{
		OperationID: "get-ask", Method: http.MethodGet, Path: "/v1/asks/{id}", Tags: tags,
		Summary: "Show an ask",
	}, func(ctx context.Context, in *askPath) (*askOutput, error) {
		row, err := a.ask(ctx, in.ID)
		if err != nil {
			return nil, err
		}
		return &askOutput{showAsk(row)}, nil
	})
	decide := func(verb cairn.AskVerb, summary string, limit int64) huma.Operation {
		return huma.Operation{
			OperationID: string(verb) + "-ask", Method: http.MethodPost, Path: "/v1/asks/{id}/" + string(verb), Tags: tags,
			Summary: summary, Description: "The first decision wins: a later one is refused with 409 and the ask as it was decided.",
			MaxBodyBytes: limit,
		}
	}
	for _, v := range []struct {
		verb    cairn.AskVerb
		summary string
	}{
		{cairn.VerbApprove, "Approve: make the call; of an unknown outcome: it took place; of a budget: spend more"},
		{cairn.VerbReject, "Reject: do not make the call; of an unknown outcome: it did not take place"},
	} {
		verb := v.verb
		operation(a, decide(verb, v.summary, v1.MaxBody), func(ctx context.Context, in *approveInput) (*askOutput, error) {
			var b v1.Approve
			if in.Body != nil {
				b = *in.Body
			}
			return a.decide(ctx, in.Key, b.Digest, cairn.Decision{Ask: in.ID, Verb: verb, Comment: b.Comment})
		})
	}
	operation(a, decide(cairn.VerbEdit, "Approve with other arguments; schema and policy are looked at again", v1.MaxBody), a.editAsk)
	operation(a, decide(cairn.VerbAnswer, "Answer a question, or give the result of a tool that the client executes, or of a call whose outcome is unknown", v1.MaxParts), a.answerAsk)
}

func (a *API) listAsks(ctx context.Context, in *asksInput) (*asksOutput, error) {
	rows, err := a.Journal.Asks(ctx, identity(ctx).Tenant, journal.AskFilter{
		Session: in.Session, Status: in.Status, After: in.After, Limit: in.Limit,
	})
	if errors.Is(err, journal.ErrNotFound) {
		return nil, cairn.Errorf(cairn.CodeInvalid, "there is no ask %s, after which the page was to begin", in.After)
	} else if err != nil {
		return nil, err
	}
	list := v1.AskList{Asks: make([]v1.Ask, len(rows))}
	for i, r := range rows {
		list.Asks[i] = showAsk(r)
	}
	if len(rows) == in.Limit {
		list.Next = rows[len(rows)-1].Ask.ID
	}
	return &asksOutput{list}, nil
}

func (a *API) editAsk(ctx context.Context, in *editInput) (*askOutput, error) {
	args, err := cairn.Canonical(in.Body.Args)
	if err != nil || len(args) == 0 || args[0] != '{' {
		return nil, badField("body.args", "give the arguments as a JSON object")
	}
	return a.decide(ctx, in.Key, in.Body.Digest, cairn.Decision{
		Ask: in.ID, Verb: cairn.VerbEdit, Args: args, Comment: in.Body.Comment,
	})
}

func (a *API) answerAsk(ctx context.Context, in *answerInput) (*askOutput, error) {
	var r v1.Result
	given := len(in.Body.Result.Content) > 0 || len(in.Body.Result.Structured) > 0 || in.Body.Result.IsError
	switch b := in.Body; {
	case b.Text != "" && given:
		return nil, badField("body", "give text or result, not both")
	case b.Text != "":
		r.Content = v1.Text(b.Text)
	case given:
		r = b.Result
	default:
		return nil, badField("body", "give text, or result")
	}
	var structured json.RawMessage
	if len(r.Structured) > 0 && string(r.Structured) != "null" {
		c, err := cairn.Canonical(r.Structured)
		if err != nil {
			return nil, cairn.Errorf(cairn.CodeInvalid, "result.structured: %w", err)
		}
		structured = c
	}
	if len(r.Content) == 0 && structured == nil {
		return nil, badField("body.result", "give content or structured")
	}
	content := r.Content.Parts()
	if content == nil {
		content = []cairn.Part{cairn.Text(string(structured))}
	}
	return a.decide(ctx, in.Key, "", cairn.Decision{
		Ask: in.ID, Verb: cairn.VerbAnswer, Comment: in.Body.Comment,
		Result: &cairn.ToolResult{Content: content, Structured: structured, IsError: r.IsError},
	})
}

// verbs says which answers each kind of ask takes. An answer to an unknown
// outcome says that the call took place, and what it gave.
var verbs = map[cairn.AskKind][]cairn.AskVerb{
	cairn.AskApproval:   {cairn.VerbApprove, cairn.VerbReject, cairn.VerbEdit},
	cairn.AskUnknown:    {cairn.VerbApprove, cairn.VerbReject, cairn.VerbAnswer},
	cairn.AskBudget:     {cairn.VerbApprove, cairn.VerbReject},
	cairn.AskClientTool: {cairn.VerbAnswer, cairn.VerbReject},
	cairn.AskQuestion:   {cairn.VerbAnswer, cairn.VerbReject},
}

// decide closes an ask and delivers the decision in one transaction, so that of
// two decisions one wins even while the owner of the session is down.
func (a *API) decide(ctx context.Context, key string, seen cairn.Digest, d cairn.Decision) (*askOutput, error) {
	id := identity(ctx)
	row, err := a.ask(ctx, d.Ask)
	if err != nil {
		return nil, err
	}
	if taken := verbs[row.Ask.Kind]; !slices.Contains(taken, d.Verb) {
		return nil, cairn.Errorf(cairn.CodeInvalid, "an ask of kind %s is decided by one of %s, not by %s", row.Ask.Kind, taken, d.Verb)
	}
	if seen != "" && seen != row.Ask.Digest {
		return nil, decided(row, "the ask is about another action than the one that was seen: look again")
	}
	now := a.Now()
	if row.Status == cairn.AskOpen && !row.Ask.Expires.IsZero() && !now.Before(row.Ask.Expires) {
		return nil, decided(row, fmt.Sprintf("the ask has expired; what was set for that case (%s) is done instead", row.Ask.OnExpire))
	}
	err = a.Journal.Post(ctx, cairn.Input{
		ID: a.inputID(id, key), To: row.Session, At: now, From: id.Principal, Data: cairn.Decide{Decision: d},
	}, nil, &journal.AskClose{Session: row.Session, ID: d.Ask, Status: d.Status(), By: id.Principal, At: now})
	if errors.Is(err, journal.ErrDecided) {
		if row, err = a.ask(ctx, d.Ask); err != nil {
			return nil, err
		}
		return nil, decided(row, fmt.Sprintf("the ask is %s already: the first decision stands", row.Status))
	} else if err != nil {
		return nil, err
	}
	if row, err = a.ask(ctx, d.Ask); err != nil {
		return nil, err
	}
	return &askOutput{showAsk(row)}, nil
}

// decided is the refusal of a decision, with the ask as it is.
func decided(row journal.AskRow, message string) *responseError {
	f := newError(http.StatusConflict, cairn.CodeConflict, message)
	ask := showAsk(row)
	f.info.Ask = &ask
	return f
}

func (a *API) ask(ctx context.Context, id cairn.AskID) (journal.AskRow, error) {
	row, err := a.Journal.Ask(ctx, identity(ctx).Tenant, id)
	if errors.Is(err, journal.ErrNotFound) {
		return row, newError(http.StatusNotFound, cairn.CodeNotFound, fmt.Sprintf("there is no ask %s", id))
	}
	return row, err
}

func showAsk(r journal.AskRow) v1.Ask {
	return v1.AskFrom(r.Session.ID, r.Ask, r.Status, r.By, r.Decided)
}
