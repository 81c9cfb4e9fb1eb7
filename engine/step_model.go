package engine

import (
	"fmt"
	"strings"
	"time"

	"github.com/cairn-run/cairn"
)

// maxLost is how often in a row a model call may be lost with its process: an
// answer that kills the runtime must not be bought for ever.
const maxLost = 10

// drainWait keeps the owner that stopped a call from asking for the next attempt
// itself: it would have to be given up with the claim, and be paid for as lost.
const drainWait = 10 * time.Millisecond

// maxWait is how long a model may ask to wait when there is another one.
const maxWait = time.Minute

const defaultReflect = "Look back before you go on. What was the task, what has been done, what went wrong, and " +
	"what is the best next step? Answer in a few sentences; do not call tools."

// model is what is known of a model by name.
func (v *Env) model(name string) cairn.ModelInfo {
	for _, m := range v.Models {
		if m.Name == name {
			return m
		}
	}
	return cairn.ModelInfo{Name: name, Provider: provider(name)}
}

func provider(model string) string {
	p, _, _ := strings.Cut(model, "/")
	return p
}

// fallback is the model after the given one; empty: there is none.
func (v *Env) fallback(name string) string {
	all := append([]string{v.Agent.Model}, v.Agent.Fallback...)
	for i := len(all) - 2; i >= 0; i-- { // from the end: a name that stands there twice makes no circle
		if all[i] == name && all[i+1] != name {
			return all[i+1]
		}
	}
	return ""
}

// request plans a model call, or the next attempt at the open one, if the
// context and the budgets allow it.
func (p *planner) request(purpose cairn.Purpose, reflect *cairn.Reflect) {
	retry := p.s.Model
	name := p.s.Run.Model
	switch {
	case retry != nil:
		name, purpose = retry.Model, retry.Purpose
	case name == "":
		name = p.env.Agent.Model
	}
	m := p.env.model(name)
	out := p.maxOutput(m)
	if purpose == cairn.PurposeCompact {
		out = min(out, retry.Manifest.Params.MaxOutput)
	}
	if retry != nil && p.refit(&m, out) {
		if purpose == cairn.PurposeCompact {
			p.turn()
			return
		}
		retry = nil
	}
	if retry == nil && !p.fit(&m, out) {
		return
	}
	tokens := p.s.promptBound(p.env, name)
	if purpose == cairn.PurposeCompact {
		tokens = p.s.summaryBound(p.env, name)
	}
	var prompt []cairn.Part
	if retry == nil && purpose == cairn.PurposeReflect && p.s.Run.Purpose != purpose { // not said yet
		text := defaultReflect
		if reflect != nil && reflect.Prompt != "" {
			text = reflect.Prompt
		}
		prompt = []cairn.Part{cairn.Text(text)}
		tokens += sizeOf(prompt)
	}
	reserve := m.Bound(p.now, tokens, out)
	if !p.afford(reserve) {
		return
	}
	if prompt != nil {
		p.emit(cairn.MessageCreated{Content: prompt, Origin: originRuntime, Purpose: purpose})
	}
	d := cairn.ModelRequested{Attempt: 1, Model: name, Purpose: purpose, Reserved: reserve, Tokens: tokens}
	if retry != nil {
		d.Attempt, d.Manifest = retry.Attempt+1, retry.Manifest
		d.Manifest.Params.MaxOutput = out // of a fallback it may be another
		p.about(p.s.effect(retry.Seq), d)
		return
	}
	d.Manifest = p.manifest()
	d.Manifest.Params = cairn.ModelParams{
		MaxOutput: out, Temperature: p.env.Agent.Params.Temperature, TopP: p.env.Agent.Params.TopP,
		Stop: p.env.Agent.Params.Stop, NoTools: purpose == cairn.PurposeReflect,
	}
	if o := p.env.Agent.Output; o != nil {
		d.Manifest.Params.OutputSchema = o.Schema
	}
	p.about(p.next(), d)
}

// manifest says what a request is made of now, without its parameters.
func (p *planner) manifest() cairn.Manifest {
	c := &p.s.Context
	m := cairn.Manifest{From: c.From, To: p.s.Seq, Note: c.Note, Toolset: c.Toolset, Project: c.Project}
	if c.Note != 0 {
		m.Task, m.Plan, m.Prior = c.Task, c.Kept, c.Prior
	}
	return m
}

// maxOutput is the cap of an answer: there is no call without one. At least half of
// the window is left for the request.
func (p *planner) maxOutput(m cairn.ModelInfo) int64 {
	out := p.env.Agent.Params.MaxOutput
	if out == 0 {
		out = cairn.DefaultMaxOutput
	}
	if m.MaxOutput > 0 {
		out = min(out, m.MaxOutput)
	}
	if m.Window > 1 {
		out = min(out, m.Window/2)
	}
	return out
}

// modelOutcome records how an attempt ended.
func (p *planner) modelOutcome(d cairn.ModelOutcome) {
	m := p.s.Model
	if m == nil || m.Waiting || p.s.effect(m.Seq) != d.Effect || m.Attempt != d.Attempt {
		return // an attempt that is settled already
	}
	if d.Answer != nil {
		p.answered(d)
		return
	}
	err := d.Error
	if err == nil {
		err = &cairn.Error{Code: cairn.CodeInternal, Message: "the model driver gave neither an answer nor an error"}
	}
	p.modelFailed(*err, p.failedCost(d, err))
}

func (p *planner) modelLost() {
	p.modelFailed(cairn.Error{Code: cairn.CodeLost, Message: "the process died while the call was in flight", Retryable: true},
		p.unknownBill(nil))
}

// modelFailed decides what follows a failed attempt: another one, another model,
// a smaller context, or the end of the run.
func (p *planner) modelFailed(err cairn.Error, b bill) {
	m := p.s.Model
	id := p.s.effect(m.Seq)
	give := func() {
		p.about(id, cairn.ModelFailed{
			Attempt: m.Attempt, Error: err, Usage: b.usage, Cost: b.cost, Status: b.status, RawUsage: b.raw, Prices: b.table,
		})
	}
	again := func(model string, wait time.Duration) {
		p.about(id, cairn.ModelRetried{
			Attempt: m.Attempt, Error: err, Usage: b.usage, Cost: b.cost, Status: b.status, RawUsage: b.raw, Prices: b.table,
			NextAt: p.now.Add(wait), Model: model,
		})
	}
	info, fallback := p.env.model(m.Model), p.env.fallback(m.Model)
	if m.Stop || p.s.Run.Stop != nil || p.s.Move != nil { // the definition that it is moved to asks anew
		give()
		return
	}
	retries := orDefaultP(p.env.Agent.Limits.Retries, cairn.DefaultRetries)
	switch {
	case err.Code == cairn.CodeLost && m.Lost < maxLost:
		again(m.Model, 0)
	case err.Code == cairn.CodeCancelled: // the owner drains: the next one tries again
		again(m.Model, drainWait)
	case m.Purpose == cairn.PurposeCompact && (err.Code == cairn.CodeOverflow || err.Code == cairn.CodeRefused):
		give()
		p.compact(p.half(&info), "", 0)
	case err.Code == cairn.CodeOverflow: // the estimate was too small: cut on, while there is something to cut
		give()
		if !p.compact(min(p.s.Context.Bytes/2, p.half(&info)), "", 0) {
			p.end(outcomeFailed, &cairn.Error{
				Code:    cairn.CodeOverflow,
				Message: "the conversation does not fit the model's context window, and there is nothing left to remove: " + err.Message,
			})
		}
	case err.Code == cairn.CodeRefused:
		give()
		p.end(outcomeFailed, &err)
	case fallback != "" && (err.Code == cairn.CodeCircuitOpen || time.Duration(err.RetryAfter) > maxWait):
		again(fallback, 0) // another model can answer before this one may even be asked
	case err.Retryable && err.Code != cairn.CodeLost && m.Failures < retries:
		again(m.Model, backoff(id, m.Failures+1, time.Duration(err.RetryAfter)))
	case fallback != "":
		again(fallback, 0)
	case m.Purpose == cairn.PurposeCompact: // the turn itself is still worth a try
		give()
		p.compact(p.half(&info), "", 0)
	default:
		give()
		p.end(outcomeFailed, &err)
	}
}

// answered records an answer and plans the calls it makes.
func (p *planner) answered(d cairn.ModelOutcome) {
	m := *p.s.Model
	info := p.env.model(m.Model)
	b := p.price(d.Answer, d.Served)
	last, lastModel, cached := p.s.Context.Last, p.s.Context.Asked, p.s.Context.Cached
	moved := p.s.Context.Under != "" && p.s.Context.Under != p.s.Digest
	p.about(p.s.effect(m.Seq), cairn.ModelCompleted{
		Attempt: d.Attempt, Answer: *d.Answer, Purpose: m.Purpose, Took: d.Took, Cost: b.cost, Status: b.status, Prices: b.table,
	})
	answer := p.s.Seq
	if d.Broken != nil && last.To != 0 {
		p.emit(cacheBroken(&info, &m, last, lastModel, cached, moved, d))
	}
	if m.Purpose == cairn.PurposeCompact {
		if p.s.Run.Stop == nil { // it is there: a message that interrupted it does not make it worse
			p.summed(&info, answer, d.Answer)
		}
		return
	}

	calls, invalid := 0, 0
	limit := orDefault(p.env.Agent.Limits.Parallel, cairn.DefaultParallel)
	for _, part := range d.Answer.Content {
		if part.Kind != cairn.PartToolCall {
			continue
		}
		var check cairn.Check
		if calls < len(d.Checks) {
			check = d.Checks[calls]
		} else {
			check.Error = cairn.Errorf(cairn.CodeInternal, "this call was not checked")
		}
		switch {
		case m.Purpose == cairn.PurposeReflect:
			check.Error = cairn.Errorf(cairn.CodeInvalidArgs, "no tools in a reflect turn")
		case calls >= limit:
			check.Error = cairn.Errorf(cairn.CodeInvalidArgs, "at most %d calls at once; make this one in the next turn", limit)
		case m.Stop || p.s.Run.Stop != nil:
			check.Error = &cairn.Error{Code: cairn.CodeInterrupted, Message: "The run was interrupted before this call was made.", NotDone: true}
		}
		if check.Error != nil {
			invalid++
		}
		p.call(callOrigin{answer: answer, index: calls, id: part.CallID, prose: d.Answer.Content}, part.Tool, check)
		calls++
	}
	if m.Stop || p.s.Run.Stop != nil {
		return
	}
	p.judge(d, m.Purpose, calls, invalid)
}

// judge looks at a whole answer: is the run to go on, and how?
func (p *planner) judge(d cairn.ModelOutcome, purpose cairn.Purpose, calls, invalid int) {
	r := &p.s.Run
	switch {
	case purpose == cairn.PurposeReflect: // the run goes on, whatever was said
		p.emit(cairn.MessageCreated{Content: []cairn.Part{cairn.Text("Go on with the task.")}, Origin: originRuntime})
	case calls > 0 && calls == invalid:
		if limit := orDefault(p.env.Agent.Limits.Invalid, cairn.DefaultInvalid); r.Invalid >= limit {
			p.fail(cairn.CodeInvalidCalls, "%d answers in a row made only calls that could not be made", r.Invalid)
		}
	case calls > 0:
	case d.Answer.Stop == cairn.StopPause:
		p.emit(cairn.MessageCreated{Content: []cairn.Part{cairn.Text("Go on.")}, Origin: originRuntime})
	case d.Answer.Stop == cairn.StopRefusal:
		p.fail(cairn.CodeRefused, "the model refused: %s", clip(cairn.TextOf(d.Answer.Content), 200))
	case d.OutputError != "" && !p.s.Unseen:
		if r.Repairs >= p.repairs() {
			p.fail(cairn.CodeInvalidOutput, "the final answer does not fit output.schema after %d repairs: %s", r.Repairs, d.OutputError)
			return
		}
		p.emit(cairn.MessageCreated{
			Origin: originRuntime, Purpose: cairn.PurposeRepair,
			Content: []cairn.Part{cairn.Text(fmt.Sprintf("The answer does not fit the required JSON Schema: %s. Answer again with JSON "+
				"that fits it, and nothing else.", d.OutputError))},
		})
	}
}

func (p *planner) repairs() int {
	if o := p.env.Agent.Output; o != nil {
		return orDefaultP(o.Retries, cairn.DefaultRepairs)
	}
	return 0
}

// clip shortens a text for a message, at a rune.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && s[n]&0xC0 == 0x80 {
		n--
	}
	return s[:n] + "…"
}
