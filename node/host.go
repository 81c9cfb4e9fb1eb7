package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/blob"
	"github.com/cairn-run/cairn/internal/failpoint"
	"github.com/cairn-run/cairn/journal"
	"github.com/cairn-run/cairn/kernel"
	"github.com/cairn-run/cairn/model"
	"github.com/cairn-run/cairn/model/script"
	"github.com/cairn-run/cairn/tool"
)

// maxAgents bounds the definitions kept in memory; they are read again from the
// catalogue when they are needed.
const maxAgents = 1024

// host is what the kernel sees of the rest of the node.
type host struct {
	journal *journal.Journal
	models  *model.Router
	tools   *tool.Catalog
	// release ends what still runs in the sandbox of a session; nil: nothing does.
	release func(context.Context, cairn.SessionKey) ([]string, error)

	mu     sync.Mutex
	agents map[agentKey]*cairn.Agent
}

type agentKey struct {
	tenant cairn.TenantID
	digest cairn.Digest
}

var _ kernel.Host = (*host)(nil)

func newHost(j *journal.Journal, m *model.Router, t *tool.Catalog) *host {
	return &host{journal: j, models: m, tools: t, agents: map[agentKey]*cairn.Agent{}}
}

// apply validates a definition and stores it.
func (h *host) apply(ctx context.Context, t cairn.TenantID, a *cairn.Agent, now time.Time) (journal.AgentVersion, bool, error) {
	v, created, err := h.check(ctx, t, a, now)
	if err == nil {
		err = h.journal.PutAgent(ctx, t, v)
	}
	return v, created, err
}

// check validates a definition and says whether its version is new.
func (h *host) check(ctx context.Context, t cairn.TenantID, a *cairn.Agent, now time.Time) (journal.AgentVersion, bool, error) {
	if err := a.Validate(); err != nil {
		return journal.AgentVersion{}, false, err
	}
	if err := h.tools.Validate(a); err != nil {
		return journal.AgentVersion{}, false, err
	}
	for i, name := range append([]string{a.Model}, a.Fallback...) {
		if _, err := h.models.Info(ctx, name); err != nil {
			path := "model"
			if i > 0 {
				path = fmt.Sprintf("fallback[%d]", i-1)
			}
			return journal.AgentVersion{}, false, &cairn.FieldError{Path: path, Problem: cairn.AsError(err).Message}
		}
	}
	data, err := json.Marshal(a)
	if err != nil {
		return journal.AgentVersion{}, false, err
	}
	if data, err = cairn.Canonical(data); err != nil {
		return journal.AgentVersion{}, false, err
	}
	v := journal.AgentVersion{Name: a.Name, Digest: a.Digest(), Created: now.UTC(), Data: data}
	was, err := h.journal.Agent(ctx, t, a.Name, v.Digest)
	known := err == nil
	if known {
		v.Created = was.Created
	} else if !errors.Is(err, journal.ErrNotFound) {
		return v, false, err
	}
	return v, !known, nil
}

// Agent returns the definition with this digest.
func (h *host) Agent(ctx context.Context, t cairn.TenantID, name string, d cairn.Digest) (*cairn.Agent, error) {
	key := agentKey{t, d}
	h.mu.Lock()
	a := h.agents[key]
	h.mu.Unlock()
	if a != nil {
		return a, nil
	}
	v, err := h.journal.Agent(ctx, t, name, d)
	if errors.Is(err, journal.ErrNotFound) {
		return nil, cairn.Errorf(cairn.CodeNotFound, "there is no agent %s with version %s", name, d)
	}
	if err != nil {
		return nil, err
	}
	a = &cairn.Agent{}
	if err := json.Unmarshal(v.Data, a); err != nil {
		return nil, fmt.Errorf("agent %s, version %s: %w", name, d, err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.agents) >= maxAgents {
		clear(h.agents)
	}
	h.agents[key] = a
	return a, nil
}

// Models returns what is known of the agent's model and its fallbacks. One that
// nothing is known of is left to fail when it is called.
func (h *host) Models(ctx context.Context, a *cairn.Agent) ([]cairn.ModelInfo, error) {
	var all []cairn.ModelInfo
	for _, name := range append([]string{a.Model}, a.Fallback...) {
		info, err := h.models.Info(ctx, name)
		if err != nil {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			if cairn.CodeOf(err) != cairn.CodeNotFound {
				return nil, err // without its prices nothing could be reserved: try again
			}
			provider, _ := model.Split(name)
			info = cairn.ModelInfo{Name: name, Provider: provider}
		}
		all = append(all, info)
	}
	return all, nil
}

// Tools joins declared and discovered tools.
func (h *host) Tools(a *cairn.Agent, pinned []cairn.ToolSpec) []cairn.ToolSpec {
	return h.tools.Tools(a, pinned)
}

// Check looks at a call before it is made.
func (h *host) Check(a *cairn.Agent, tools []cairn.ToolSpec, s cairn.SessionKey, name, args string) cairn.Check {
	return h.tools.Check(a, tools, s, name, args)
}

// CheckOutput looks at a final answer.
func (h *host) CheckOutput(a *cairn.Agent, text string) string { return h.tools.CheckOutput(a, text) }

// Perform does an effect.
func (h *host) Perform(ctx context.Context, j kernel.Job) cairn.InputData {
	e := j.Effect
	switch e.Kind {
	case cairn.EffectModel:
		return h.call(ctx, j)
	case cairn.EffectReconcile:
		failpoint.Hit(failpoint.ReconcileBefore)
		found, res, err := h.tools.Reconcile(ctx, e.Session, j.Agent, j.Tools, e.Tool, e.ID, e.Attempt)
		failpoint.Hit(failpoint.ReconcileAfter)
		return cairn.ReconcileOutcome{Finding: found, Result: res, Error: asError(ctx, err)}
	case cairn.EffectToolset:
		tools, err := h.tools.Discover(ctx, e.Session.Tenant, j.Agent)
		return cairn.ToolsetOutcome{Tools: tools, Error: asError(ctx, err)}
	case cairn.EffectTool:
		failpoint.Hit(failpoint.ToolBefore)
		var left tool.Left
		res, err := h.tools.Call(ctx, e.Session, j.Agent, e.Tool, e.ID, e.Attempt, tool.Watch{
			Run: e.Run, Left: &left,
			Say: func(text string) { j.Say(cairn.Delta{Kind: cairn.PartOutput, Text: text}) },
		})
		failpoint.Hit(failpoint.ToolAfter)
		return cairn.ToolOutcome{Result: res, Error: asError(ctx, err), Killed: left.Killed, Files: left.Files}
	case cairn.EffectRelease:
		if h.release == nil {
			return cairn.ReleaseOutcome{}
		}
		killed, err := h.release(ctx, e.Session)
		return cairn.ReleaseOutcome{Killed: killed, Error: asError(ctx, err)}
	case cairn.EffectDraw: // the kernel's own
	}
	return cairn.ToolOutcome{Error: cairn.Errorf(cairn.CodeInternal, "no performer for %s", e.Kind)}
}

// asError types an error; what a stopped performer says is that it was stopped.
func asError(ctx context.Context, err error) *cairn.Error {
	if err == nil {
		return nil
	}
	e := cairn.AsError(err)
	if ctx.Err() != nil && !e.NotDone && (e.Code == cairn.CodeInternal || errors.Is(err, context.Canceled)) {
		return &cairn.Error{Code: cairn.CodeCancelled, Message: "stopped: " + context.Cause(ctx).Error(), Err: err}
	}
	return e
}

// call makes one attempt at a model call.
func (h *host) call(ctx context.Context, j kernel.Job) cairn.InputData {
	failpoint.Hit(failpoint.ModelBefore)
	var out cairn.ModelOutcome
	said := false
	for chunk, err := range h.models.Call(ctx, model.Call{
		Key: j.Effect.ID, Session: j.Effect.Session, Attempt: j.Effect.Attempt, Request: j.Request,
	}) {
		if err != nil {
			f := model.AsFailure(err)
			out.Error, out.Usage, out.RawUsage = asError(ctx, f.Err), f.Usage, f.RawUsage
			break
		}
		if chunk.Delta != nil {
			if !said {
				said = true
				failpoint.Hit(failpoint.ModelFirst)
			}
			j.Say(*chunk.Delta)
		}
		if chunk.Answer != nil {
			out.Answer = chunk.Answer
		}
	}
	failpoint.Hit(failpoint.ModelAfter)
	out.Served = h.served(ctx, j.Request.Model, out.Answer)
	if out.Answer == nil && out.Error == nil {
		out.Error = &cairn.Error{Code: cairn.CodeCut, Message: "the stream ended before the answer was complete", Retryable: true}
	}
	return out
}

// served is what is known of the model that an answer names, if that is not the one
// that was asked: an alias or a router may stand for a dearer one.
func (h *host) served(ctx context.Context, asked string, a *cairn.ModelAnswer) *cairn.ModelInfo {
	provider, name := model.Split(asked)
	if a == nil || a.Model == "" || a.Model == name {
		return nil
	}
	answered := a.Model
	if provider == script.Provider {
		answered = script.Served(name, a.Model)
	}
	info, err := h.models.Info(ctx, provider+"/"+answered)
	if err != nil || !info.Priced {
		return nil // then the price of what was asked holds
	}
	return &info
}

// result reads the recorded result of a tool call.
func (n *Node) result(ctx context.Context, s cairn.SessionKey, seq cairn.Seq) (*cairn.ToolResult, error) {
	for e, err := range n.journal.Events(ctx, s, seq-1) {
		if err != nil {
			return nil, err
		}
		if e.Seq != seq {
			break
		}
		switch d := e.Data.(type) {
		case cairn.ToolCallCompleted:
			return &d.Result, nil
		case cairn.ToolCallFailed:
			if d.Result != nil {
				return d.Result, nil
			}
		case cairn.EffectReconciled:
			if d.Result != nil {
				return d.Result, nil
			}
		}
		break
	}
	return nil, cairn.Errorf(cairn.CodeNotFound, "event %d is not the result of a call", seq)
}

// blobs says in the journal's words that the disk is full.
type blobs struct{ *blob.Store }

// Put stores a payload.
func (b blobs) Put(ctx context.Context, t cairn.TenantID, data []byte) (cairn.Digest, error) {
	d, err := b.Store.Put(ctx, t, data)
	if errors.Is(err, blob.ErrFull) {
		return d, fmt.Errorf("%w: %w", journal.ErrFull, err)
	}
	return d, err
}
