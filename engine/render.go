package engine

import (
	"fmt"
	"iter"
	"slices"

	"github.com/cairn-run/cairn"
)

// Render makes the request of a manifest from the events it names, in order of
// their numbers. The same events give the same bytes on any machine, and what
// was rendered for one turn is the beginning of what is rendered for the next,
// unless cache.broken says otherwise.
//
// Any history gives a request that is valid for its provider: results stand in
// the order of their calls, a call that was cut short has a synthetic result,
// what a user said while the model or a tool was busy follows their answers, and
// opaque blocks go back to the provider that made them and to no other.
func Render(a *cairn.Agent, tools []cairn.ToolSpec, model string, m cairn.Manifest, events iter.Seq2[cairn.Event, error]) (*cairn.ModelRequest, error) {
	r := renderer{provider: provider(model)}
	for i := range tools {
		r.reads = r.reads || tools[i].Name == cairn.BuiltinReadResult
	}
	var task, prior, note, plan, question []cairn.Part
	var project string
	for e, err := range events {
		if err != nil {
			return nil, err
		}
		if d, ok := e.Data.(cairn.SessionCreated); ok && e.Seq == m.Project {
			project = d.Project
		}
		if e.Seq < m.From || e.Seq > m.To || e.Seq == m.Note || e.Seq == m.Prior {
			switch d := e.Data.(type) {
			case cairn.PlanUpdated:
				if e.Seq == m.Plan {
					plan = []cairn.Part{cairn.Text("[The plan that was recorded last:]\n" + string(d.Plan))}
				}
			case cairn.MessageCreated:
				if e.Seq == m.Task {
					task = d.Content
				}
			case cairn.ContextCompacted:
				switch e.Seq {
				case m.Note:
					note = []cairn.Part{cairn.Text(d.Note)}
				case m.Prior:
					prior = []cairn.Part{cairn.Text(d.Note)}
				}
			}
			continue
		}
		if d, ok := e.Data.(cairn.MessageCreated); ok && d.Purpose == cairn.PurposeCompact {
			if e.Seq == m.To { // only the request that asks for a summary holds the question
				question = d.Content
			}
			continue
		}
		r.event(e)
	}
	r.join()
	if question != nil {
		// It asks about the last request that was answered, which did fit: what came
		// after that is not cut.
		r.messages = append(r.messages[:r.until:r.until], cairn.Message{Role: cairn.RoleUser, Content: question})
	}
	req := &cairn.ModelRequest{Model: model, System: instructions(a, project), Params: m.Params}
	if m.Note != 0 {
		if note == nil {
			return nil, fmt.Errorf("render: event %d, the note of the manifest, is missing", m.Note)
		}
		req.Messages = append(req.Messages, cairn.Message{Role: cairn.RoleUser, Content: slices.Concat(task, prior, note, plan)})
	}
	req.Messages = append(req.Messages, r.messages...)
	if len(req.Messages) > 0 && req.Messages[0].Role != cairn.RoleUser {
		req.Messages = append([]cairn.Message{{Role: cairn.RoleUser, Content: []cairn.Part{cairn.Text("(continue)")}}}, req.Messages...)
	}
	for i := range tools {
		req.Tools = append(req.Tools, tools[i].ToolDef)
	}
	if err := req.Validate(); err != nil {
		return nil, err
	}
	return req, nil
}

// renderer folds events into messages.
type renderer struct {
	provider string
	reads    bool // the model can read on in long results
	messages []cairn.Message
	// waiting holds what users said while the model or a tool was busy.
	waiting []cairn.Message
	asking  bool
	// asked is where the last request ends in messages, until the last one that was
	// answered.
	asked, until int
	// results of the open batch, in call order; calls maps effects to places in it.
	results []cairn.Part
	closed  []bool
	missing int
	answer  cairn.Seq
	calls   map[cairn.EffectID]int
}

func (r *renderer) event(e cairn.Event) {
	switch d := e.Data.(type) {
	case cairn.MessageCreated:
		r.waiting = append(r.waiting, cairn.Message{Role: cairn.RoleUser, Content: d.Content})
		r.flush()
	case cairn.ModelRequested:
		r.asking, r.asked = true, len(r.messages)
	case cairn.ModelFailed:
		r.asking = false
		r.flush()
	case cairn.ModelCompleted:
		if d.Purpose == cairn.PurposeCompact { // the summary comes back as the note
			r.asking = false
			r.flush()
			return
		}
		r.until = r.asked
		r.completed(e.Seq, d)
	case cairn.ToolCallRequested:
		if d.Answer == r.answer && d.Index < len(r.results) && !d.Hook {
			r.calls[e.Step] = d.Index
		}
	case cairn.ToolCallDenied:
		r.result(e.Step, "Denied: "+d.Reason, nil, true)
	case cairn.ToolCallCompleted:
		r.toolResult(e, d.Result)
	case cairn.ToolCallFailed:
		text := fmt.Sprintf("Error (%s): %s", d.Error.Code, d.Error.Message)
		if d.Result != nil {
			if said := shown(d.Result, r.handle(e.Seq)); said != "" {
				text = said
			}
		}
		r.result(e.Step, text, nil, true)
	case cairn.EffectReconciled:
		switch {
		case d.Finding == cairn.FoundNotDone:
			r.result(e.Step, "Error (not_performed): It was established that this call did not take place.", nil, true)
		case d.Result != nil:
			r.toolResult(e, *d.Result)
		default:
			r.result(e.Step, "It was established that this call took place. Its result was lost.", nil, false)
		}
	case cairn.RunCompleted, cairn.RunFailed, cairn.RunCancelled, cairn.SessionForked:
		r.asking = false
		r.join()
	}
}

// completed adds an answer, without what another provider's model made.
func (r *renderer) completed(seq cairn.Seq, d cairn.ModelCompleted) {
	r.cut()
	r.asking = false
	var content, results []cairn.Part
	for _, p := range d.Answer.Content {
		switch p.Kind {
		case cairn.PartOpaque, cairn.PartReasoning:
			if p.Provider != r.provider {
				continue
			}
		case cairn.PartToolResult:
			continue
		case cairn.PartToolCall:
			results = append(results, cairn.Part{Kind: cairn.PartToolResult, CallID: p.CallID, Tool: p.Tool})
		case cairn.PartText:
			if p.Text == "" {
				continue
			}
		case cairn.PartImage, cairn.PartFile:
		}
		if p.Provider != r.provider { // another provider's own form of it
			p.Provider, p.Opaque = "", nil
		}
		content = append(content, p)
	}
	if len(content) > 0 {
		r.messages = append(r.messages, cairn.Message{Role: cairn.RoleAssistant, Content: content})
	}
	r.answer, r.results, r.missing = seq, results, len(results)
	r.closed, r.calls = make([]bool, len(results)), map[cairn.EffectID]int{}
	r.flush()
}

// handle is the number by which the model can ask for the rest of a result; zero:
// it cannot.
func (r *renderer) handle(seq cairn.Seq) cairn.Seq {
	if !r.reads {
		return 0
	}
	return seq
}

func (r *renderer) toolResult(e cairn.Event, res cairn.ToolResult) {
	var parts []cairn.Part
	for _, p := range res.Content {
		if p.Kind != cairn.PartText {
			parts = append(parts, p)
		}
	}
	r.result(e.Step, shown(&res, r.handle(e.Seq)), parts, res.IsError)
}

// shown is what the model sees of a result's text. n is the number by which it can
// ask for the rest; zero: it cannot.
func shown(r *cairn.ToolResult, n cairn.Seq) string {
	text := cairn.TextOf(r.Content)
	s := r.Shown
	if s == nil || s.Head < 0 || s.Tail < 0 || s.Head+s.Tail >= int64(len(text)) {
		return text
	}
	rest := ""
	if n > 0 {
		rest = fmt.Sprintf("; %s {\"result\":%d,\"offset\":%d} shows them", cairn.BuiltinReadResult, n, s.Head)
	}
	return text[:s.Head] + fmt.Sprintf("\n[… %d bytes left out here: the result is too long to be shown whole%s …]\n",
		int64(len(text))-s.Head-s.Tail, rest) + text[int64(len(text))-s.Tail:]
}

func (r *renderer) result(id cairn.EffectID, text string, parts []cairn.Part, isError bool) {
	i, ok := r.calls[id]
	if !ok {
		return
	}
	delete(r.calls, id) // the first outcome counts: what was rendered does not change
	r.results[i].Text, r.results[i].Parts, r.results[i].IsError = text, parts, isError
	r.closed[i] = true
	if r.missing--; r.missing == 0 {
		r.close()
		r.flush()
	}
}

// join ends an open batch and adds what users said meanwhile.
func (r *renderer) join() {
	r.cut()
	r.flush()
}

// cut gives the calls of an open batch that have no outcome a synthetic one.
func (r *renderer) cut() {
	if r.missing > 0 {
		for i := range r.results {
			if !r.closed[i] {
				r.results[i].Text, r.results[i].IsError = "Error (unknown_outcome): The call was cut short; whether it took place is not known.", true
			}
		}
		r.missing = 0
		r.close()
	}
}

func (r *renderer) close() {
	r.messages = append(r.messages, cairn.Message{Role: cairn.RoleTool, Content: r.results})
	r.results, r.closed, r.calls, r.answer = nil, nil, nil, 0
}

// flush adds what users said, unless the model or a tool is still busy.
func (r *renderer) flush() {
	if r.asking || r.missing > 0 {
		return
	}
	r.messages = append(r.messages, r.waiting...)
	r.waiting = nil
}
