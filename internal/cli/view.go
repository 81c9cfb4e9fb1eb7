package cli

import (
	"encoding/json"
	"time"

	"github.com/cairn-run/cairn"
	v1 "github.com/cairn-run/cairn/api/v1"
)

// view is what the command line knows of a session, folded from what its stream
// says. It serves for showing; what a session is, only the runtime says.
type view struct {
	id     cairn.SessionID
	agent  string
	digest cairn.Digest
	seq    cairn.Seq
	status cairn.Status
	run    cairn.RunID
	// started is when the run began, last when the last event took place.
	started, last time.Time
	steps         int // model calls of the run
	toolCalls     int // of the run
	usage         cairn.Usage
	cost          cairn.Money
	calls         map[cairn.EffectID]*viewCall
	order         []cairn.EffectID // of calls that are not closed
	model         *viewModel       // the model call that is open
	asks          []cairn.Ask      // open
	// answer is the text of the last final answer, and answers what a run may
	// still name as its output.
	answer string
	// outcome is completed, failed or cancelled once the run ended; err says why.
	outcome string
	err     *cairn.Error
	summary *cairn.RunSummary
	// sandbox is the driver of the run's commands, and changed what became of the
	// files in it.
	sandbox string
	changed cairn.Changes
	// stepUsage and stepCost are what the last model call used.
	stepUsage cairn.Usage
	stepCost  cairn.Money
	// gaveUp is the model that was given up last, unpriced one without a price.
	gaveUp, unpriced string
}

// viewCall is a tool call that was asked for.
type viewCall struct {
	id      cairn.EffectID
	tool    string
	class   cairn.EffectClass
	hook    bool
	waiting bool // for an ask
	attempt int
	outcome string // as it ended; empty: open
	took    time.Duration
	unknown bool
	args    json.RawMessage
	since   time.Time // when it was asked for, or its ask was answered
	out     printed   // what it has printed so far
	spoke   time.Time // when it printed last
	changes cairn.Changes
	files   bool // it left another state of the files
}

// viewModel is a model call in flight.
type viewModel struct {
	id      cairn.EffectID
	model   string
	attempt int
	since   time.Time
	text    string // what was said so far
}

// maxTail is what is kept of an open answer for the status line, in bytes.
const maxTail = 4 << 10

func newView(id cairn.SessionID) *view {
	return &view{id: id, status: cairn.StatusQueued, calls: map[cairn.EffectID]*viewCall{}}
}

// ended says that the run is over.
func (v *view) ended() bool { return v.outcome != "" }

// call finds a call; one whose request was not seen is known by its id alone.
func (v *view) call(id cairn.EffectID) *viewCall {
	if c := v.calls[id]; c != nil {
		return c
	}
	c := &viewCall{id: id, tool: string(id)}
	v.calls[id] = c
	return c
}

// close takes a call off the list of open ones.
func (v *view) close(e cairn.Event, outcome string, took time.Duration) {
	c := v.call(e.Step)
	c.outcome, c.took, c.waiting = outcome, took, false
	for i, id := range v.order {
		if id == e.Step {
			v.order = append(v.order[:i:i], v.order[i+1:]...)
			return
		}
	}
}

func (v *view) closeAsk(id cairn.AskID) {
	for i, a := range v.asks {
		if a.ID == id {
			v.asks = append(v.asks[:i:i], v.asks[i+1:]...)
			return
		}
	}
}

// event folds one event. An event that was seen before changes nothing.
func (v *view) event(e cairn.Event) {
	if e.Seq <= v.seq {
		return
	}
	v.seq, v.last = e.Seq, e.At
	switch d := e.Data.(type) {
	case cairn.SessionCreated:
		v.agent, v.digest = d.Agent, d.Digest
	case cairn.SessionForked:
		v.order, v.asks, v.model = nil, nil, nil
	case cairn.SessionIdle:
		v.status = cairn.StatusIdle
	case cairn.RunStarted:
		v.run, v.started, v.digest = e.Run, e.At, d.Digest
		v.steps, v.toolCalls, v.outcome, v.err, v.answer, v.summary = 0, 0, "", nil, "", nil
		v.gaveUp, v.unpriced = "", ""
		v.status, v.sandbox, v.changed = cairn.StatusRunning, d.Sandbox, cairn.Changes{}
		for id, c := range v.calls {
			if !c.unknown {
				delete(v.calls, id)
			}
		}
	case cairn.RunCompleted:
		v.end("completed", nil, &d.Summary, d.Final, cairn.StatusCompleted)
	case cairn.RunFailed:
		v.end("failed", &d.Error, &d.Summary, d.Final, cairn.StatusFailed)
	case cairn.RunCancelled:
		v.end("cancelled", nil, &d.Summary, true, cairn.StatusCancelled)
	case cairn.RunCancelling:
		v.status = cairn.StatusCancelling
	case cairn.RunPaused:
		v.status = cairn.StatusPaused
	case cairn.RunResumed:
		v.status = cairn.StatusRunning
	case cairn.ModelRequested:
		if d.Attempt <= 1 {
			v.steps++
		}
		v.model = &viewModel{id: e.Step, model: d.Model, attempt: max(d.Attempt, 1), since: e.At}
	case cairn.ModelRetried:
		v.spend(d.Usage, d.Cost, d.Status)
		v.model = nil
	case cairn.ModelCompleted:
		v.spend(d.Answer.Usage, d.Cost, d.Status)
		v.model = nil
		if text := cairn.TextOf(d.Answer.Content); text != "" && d.Purpose != cairn.PurposeCompact {
			v.answer = text
		}
	case cairn.ModelFailed:
		v.spend(d.Usage, d.Cost, d.Status)
		if v.model != nil {
			v.gaveUp = v.model.model
		}
		v.model = nil
	default:
		v.toolEvent(e)
	}
}

func (v *view) toolEvent(e cairn.Event) {
	switch d := e.Data.(type) {
	case cairn.ToolCallRequested:
		v.toolCalls++
		if d.Sandbox != "" {
			v.sandbox = d.Sandbox
		}
		v.calls[e.Step] = &viewCall{
			id: e.Step, tool: d.Tool, class: d.Class, hook: d.Hook, waiting: d.Verdict == cairn.VerdictAsk, args: d.Args, since: e.At,
		}
		v.order = append(v.order, e.Step)
	case cairn.ToolCallStarted:
		c := v.call(e.Step)
		c.attempt = d.Attempt
	case cairn.ToolCallDenied:
		v.close(e, "denied", 0)
	case cairn.ToolCallRetried:
		v.call(e.Step).attempt = d.Attempt + 1
	case cairn.ToolCallCompleted:
		v.call(e.Step).attempt = d.Attempt
		v.close(e, "completed", time.Duration(d.Took))
	case cairn.ToolCallFailed:
		v.call(e.Step).attempt = d.Attempt
		v.close(e, "failed", time.Duration(d.Took))
	case cairn.ToolCallUnknown:
		v.call(e.Step).unknown = true
	case cairn.WorkspaceSnapshotted:
		c := v.call(e.Step)
		c.changes, c.files = d.Changes, true
		v.changed.Added += d.Changes.Added
		v.changed.Modified += d.Changes.Modified
		v.changed.Removed += d.Changes.Removed
		v.changed.Bytes += d.Changes.Bytes
	case cairn.SessionMoved:
		v.agent, v.digest = d.Agent, d.Digest
	case cairn.EffectReconciled:
		c := v.call(e.Step)
		c.unknown = false
		v.close(e, string(d.Finding), 0)
	case cairn.AskOpened:
		v.closeAsk(d.Ask.ID)
		v.asks = append(v.asks, d.Ask)
		if c := v.calls[d.Ask.Effect]; c != nil {
			c.waiting = true
		}
	case cairn.AskResolved:
		v.resolved(d.Ask, e)
	case cairn.AskExpired:
		v.resolved(d.Ask, e)
	}
}

// resolved takes that an ask is closed. The event names the call: who answered in
// this terminal has closed the ask already.
func (v *view) resolved(id cairn.AskID, e cairn.Event) {
	v.closeAsk(id)
	if c := v.calls[e.Step]; c != nil {
		c.waiting, c.since = false, e.At
	}
}

func (v *view) spend(u cairn.Usage, cost cairn.Money, status cairn.CostStatus) {
	v.usage = v.usage.Add(u)
	v.cost += cost
	v.stepUsage, v.stepCost = u, cost
	if status == cairn.CostUnpriced && v.model != nil {
		v.unpriced = v.model.model
	}
}

func (v *view) end(outcome string, err *cairn.Error, s *cairn.RunSummary, final bool, status cairn.Status) {
	v.outcome, v.err, v.summary = outcome, err, s
	v.model = nil
	v.status = cairn.StatusIdle
	if final {
		v.status = status
	}
}

// delta adds a piece of an open answer, or of what a tool prints.
func (v *view) delta(d v1.Delta, now time.Time) {
	if d.Kind == cairn.PartOutput {
		if c := v.calls[d.Effect]; c != nil && c.outcome == "" {
			c.out.add(d.Attempt, d.Text)
			c.spoke = now
		}
		return
	}
	m := v.model
	if m == nil || m.id != d.Effect || d.Kind == cairn.PartToolCall {
		return
	}
	if d.Attempt > m.attempt {
		m.attempt, m.text = d.Attempt, ""
	}
	m.text += d.Text
	if len(m.text) > maxTail {
		m.text = m.text[len(m.text)-maxTail:]
	}
}

// now says in a few words what the session is doing.
func (v *view) now() string {
	var running []string
	waiting := 0
	for _, id := range v.order {
		if c := v.calls[id]; c != nil && !c.waiting {
			running = append(running, oneLine(c.tool, 24))
		} else {
			waiting++
		}
	}
	switch {
	case v.status == cairn.StatusCancelling, v.status == cairn.StatusPaused:
		return string(v.status)
	case len(running) > 3:
		return "tools " + running[0] + ", " + running[1] + " and " + count(int64(len(running)-2)) + " more"
	case len(running) > 0:
		s := "tool "
		for i, r := range running {
			if i > 0 {
				s += ", "
			}
			s += r
		}
		return s
	case v.model != nil:
		return "model " + oneLine(v.model.model, 40)
	case len(v.asks) > 0:
		return "waiting for " + plural(len(v.asks), "answer")
	case waiting > 0:
		return "waiting"
	}
	return string(v.status)
}
