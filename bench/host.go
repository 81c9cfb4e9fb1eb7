package main

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"sync/atomic"
	"time"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/kernel"
	"github.com/cairn-run/cairn/model"
	"github.com/cairn-run/cairn/tool"
)

// Tools of the agent that is measured.
const (
	readTool = "find_order"  // read: repeatable
	payTool  = "pay_invoice" // irreversible
)

// worker is an agent as people write them: instructions, two tools with schemas,
// rules. Its model asks for tool, turns times, and then says that it is done.
func worker(tool string, turns int) *cairn.Agent {
	schema := json.RawMessage(`{"type":"object","properties":{"number":{"type":"string","minLength":1,"maxLength":40},` +
		`"reason":{"type":"string","maxLength":400}},"required":["number"],"additionalProperties":false}`)
	entry := func(name, text string) cairn.ToolSource {
		return cairn.ToolSource{HTTP: &cairn.HTTPTool{Name: name, Description: text, Method: "POST", URL: "http://127.0.0.1:1/" + name, InputSchema: schema}}
	}
	return &cairn.Agent{
		Name: "worker", Model: fmt.Sprintf("%s/%s-%d", instantModel, tool, turns),
		Instructions: "You work at the support desk of a shop. Look at the order first. Never pay more than was asked. Answer briefly.",
		Tools: []cairn.ToolSource{
			entry(readTool, "Finds an order by its number."), entry(payTool, "Pays an invoice. Money moves."),
		},
		Effects: map[string]*cairn.EffectDecl{readTool: {Class: cairn.ClassRead}, payTool: {Class: cairn.ClassIrreversible}},
		Policy:  cairn.Policy{Deny: []string{payTool + ":reason=fraud*"}},
		Limits:  cairn.Limits{Steps: 1_000_000},
	}
}

// host is a node's, but that its model and its tools answer at once and in
// process: what is left is what the runtime costs.
type host struct {
	agent  *cairn.Agent
	models *model.Router
	tools  *tool.Catalog
	steps  atomic.Int64 // model and tool calls performed
	// asked, when it is set, is told when the model of a session is called.
	asked func(cairn.SessionKey)
}

var _ kernel.Host = (*host)(nil)

func newHost(a *cairn.Agent) (*host, error) {
	h := &host{
		agent: a, models: model.NewRouter(map[string]model.Driver{instantModel: instant{}}),
		tools: tool.New(tool.Options{HTTP: atOnce{}}),
	}
	if err := a.Validate(); err != nil {
		return nil, err
	}
	return h, h.tools.Validate(a)
}

func (h *host) Agent(context.Context, cairn.TenantID, string, cairn.Digest) (*cairn.Agent, error) {
	return h.agent, nil
}

func (h *host) Models(ctx context.Context, a *cairn.Agent) ([]cairn.ModelInfo, error) {
	info, err := h.models.Info(ctx, a.Model)
	return []cairn.ModelInfo{info}, err
}

func (h *host) Tools(a *cairn.Agent, pinned []cairn.ToolSpec) []cairn.ToolSpec {
	return h.tools.Tools(a, pinned)
}

func (h *host) Check(a *cairn.Agent, tools []cairn.ToolSpec, s cairn.SessionKey, name, args string) cairn.Check {
	return h.tools.Check(a, tools, s, name, args)
}

func (h *host) CheckOutput(a *cairn.Agent, text string) string { return h.tools.CheckOutput(a, text) }

func (h *host) Perform(ctx context.Context, j kernel.Job) cairn.InputData {
	e := j.Effect
	h.steps.Add(1)
	if e.Kind == cairn.EffectTool {
		res, err := h.tools.Call(ctx, e.Session, j.Agent, e.Tool, e.ID, e.Attempt, tool.Watch{})
		return cairn.ToolOutcome{Result: res, Error: asError(err)}
	}
	if h.asked != nil {
		h.asked(e.Session)
	}
	var out cairn.ModelOutcome
	for chunk, err := range h.models.Call(ctx, model.Call{Key: e.ID, Session: e.Session, Attempt: e.Attempt, Request: j.Request}) {
		switch {
		case err != nil:
			out.Error = model.AsFailure(err).Err
		case chunk.Delta != nil:
			j.Say(*chunk.Delta)
		case chunk.Answer != nil:
			out.Answer = chunk.Answer
		}
	}
	return out
}

func asError(err error) *cairn.Error {
	if err == nil {
		return nil
	}
	return cairn.AsError(err)
}

// instantModel is the provider of the model that answers at once.
const instantModel = "instant"

// instant is a model that answers at once: "TOOL-TURNS" calls TOOL until the
// conversation holds TURNS calls since the last message of the user.
type instant struct{}

func (instant) Info(_ context.Context, name string) (cairn.ModelInfo, error) {
	return cairn.ModelInfo{
		Name: name, Prices: cairn.Flat(cairn.Rates{Input: 3 * cairn.Dollar, Output: 15 * cairn.Dollar}), Priced: true, Window: 200_000, MaxOutput: 8192,
	}, nil
}

func (instant) Call(_ context.Context, c model.Call) iter.Seq2[model.Chunk, error] {
	return func(yield func(model.Chunk, error) bool) {
		answer, err := reply(c.Request)
		if err != nil {
			yield(model.Chunk{}, &model.Failure{Err: cairn.AsError(err)})
			return
		}
		if yield(model.Chunk{Delta: &cairn.Delta{Kind: cairn.PartText, Text: cairn.TextOf(answer.Content)}}, nil) {
			yield(model.Chunk{Answer: answer}, nil)
		}
	}
}

// reply is what the model answers.
func reply(r *cairn.ModelRequest) (*cairn.ModelAnswer, error) {
	_, name := model.Split(r.Model)
	var turns int
	called := readTool
	if _, err := fmt.Sscanf(name, readTool+"-%d", &turns); err != nil {
		called = payTool
		if _, err := fmt.Sscanf(name, payTool+"-%d", &turns); err != nil {
			return nil, cairn.Errorf(cairn.CodeInvalid, "the model is called %q", name)
		}
	}
	asked := 0
	for i := len(r.Messages) - 1; i >= 0 && r.Messages[i].Role != cairn.RoleUser; i-- {
		if r.Messages[i].Role == cairn.RoleAssistant {
			asked++
		}
	}
	a := &cairn.ModelAnswer{
		Model: name, Stop: cairn.StopEnd, Usage: cairn.Usage{Input: 200, CacheRead: int64(60 * len(r.Messages)), Output: 40},
		RawUsage: json.RawMessage(`{"input_tokens":200,"output_tokens":40}`),
		Content:  []cairn.Part{cairn.Text("The order was found and everything about it is in order. Is there anything else?")},
	}
	if asked < turns {
		a.Stop = cairn.StopToolUse
		a.Content = []cairn.Part{
			cairn.Text("Let me look at the order."),
			{Kind: cairn.PartToolCall, CallID: fmt.Sprintf("call_%d", len(r.Messages)), Tool: called, Args: fmt.Sprintf(`{"number": "A-%d", "reason": "the customer asked"}`, asked)},
		}
	}
	return a, nil
}

// atOnce is a driver of tools in process.
type atOnce struct{}

func (atOnce) Validate(*cairn.ToolSource) error { return nil }

func (atOnce) List(context.Context, tool.Target) ([]cairn.ToolSpec, error) { return nil, nil }

func (atOnce) Call(_ context.Context, c tool.Call) (*cairn.ToolResult, error) {
	return &cairn.ToolResult{Content: []cairn.Part{cairn.Text(
		`{"order":{"number":"A-1042","status":"shipped","carrier":"DHL","items":[{"sku":"K-7","count":1,"price":4900}],"customer":"c_88121"}}`)}}, nil
}

// intervals are the times between the model calls of a session: whole turns.
type intervals struct {
	last time.Time
	took []time.Duration
}

func (i *intervals) mark(cairn.SessionKey) {
	now := time.Now()
	if !i.last.IsZero() {
		i.took = append(i.took, now.Sub(i.last))
	}
	i.last = now
}
