package api

import (
	"github.com/cairn-run/cairn"
	v1 "github.com/cairn-run/cairn/api/v1"
)

// maxStepArgs is how long arguments may be to stand in a list, in bytes.
const maxStepArgs = 2 << 10

// stepFolder makes steps out of events.
type stepFolder struct {
	run   cairn.RunID
	limit int
	steps []v1.Step
	at    map[cairn.EffectID]int
	asks  map[cairn.AskID]cairn.EffectID // open asks of steps
	open  int                            // steps that are not over
	// next is the event before the first step that had no room.
	next cairn.Seq
}

// fold adds an event to the step it is about.
func (f *stepFolder) fold(e cairn.Event) {
	switch d := e.Data.(type) {
	case cairn.ModelRequested:
		if s := f.step(e); s != nil {
			s.Model, s.Attempts = d.Model, max(d.Attempt, 1)
			return
		}
		f.begin(e, v1.Step{Kind: v1.StepModel, Model: d.Model, Purpose: d.Purpose, Attempts: max(d.Attempt, 1), Usage: &cairn.Usage{}})
		return
	case cairn.ToolCallRequested:
		s := v1.Step{Kind: v1.StepTool, Tool: d.Tool, Class: d.Class, Verdict: d.Verdict, Rule: d.Rule, Hook: d.Hook}
		if len(d.Args) <= maxStepArgs {
			s.Args = d.Args
		}
		f.begin(e, s)
		return
	case cairn.AskResolved:
		f.answered(e, d.Ask)
		return
	case cairn.AskExpired:
		f.answered(e, d.Ask)
		return
	case cairn.AskOpened:
		if i, ok := f.at[d.Ask.Effect]; ok && f.steps[i].Ended.IsZero() {
			f.steps[i].Status, f.steps[i].LastSeq = v1.StatusWaiting, e.Seq
			f.asks[d.Ask.ID] = d.Ask.Effect
		}
		return
	}
	if s := f.step(e); s != nil {
		s.LastSeq = e.Seq
		f.about(s, e)
	}
}

// step is the step an event names; nil: it is not on this page.
func (f *stepFolder) step(e cairn.Event) *v1.Step {
	if i, ok := f.at[e.Step]; ok && e.Step != "" {
		return &f.steps[i]
	}
	return nil
}

func (f *stepFolder) begin(e cairn.Event, s v1.Step) {
	if f.run != "" && e.Run != f.run {
		return
	}
	if len(f.steps) == f.limit {
		if f.next == 0 {
			f.next = e.Seq - 1
		}
		return
	}
	s.ID, s.Run, s.Status, s.FirstSeq, s.LastSeq, s.Started = e.Step, e.Run, v1.StatusOpen, e.Seq, e.Seq, e.At
	f.at[e.Step] = len(f.steps)
	f.steps = append(f.steps, s)
	f.open++
}

func (f *stepFolder) answered(e cairn.Event, ask cairn.AskID) {
	if i, ok := f.at[f.asks[ask]]; ok && f.steps[i].Status == v1.StatusWaiting {
		f.steps[i].Status, f.steps[i].LastSeq = v1.StatusOpen, e.Seq
	}
	delete(f.asks, ask)
}

func (f *stepFolder) end(s *v1.Step, e cairn.Event, status string, took cairn.Duration, err *cairn.Error) {
	if s.Ended.IsZero() {
		f.open--
	}
	s.Status, s.Ended, s.Took, s.Error = status, e.At, took, err
}

// settle adds up what an attempt at a model call cost.
func settle(s *v1.Step, u cairn.Usage, cost cairn.Money, status cairn.CostStatus) {
	if s.Usage == nil {
		s.Usage = &cairn.Usage{}
	}
	sum := s.Usage.Add(u)
	s.Usage, s.Cost = &sum, s.Cost+cost
	if s.CostStatus == "" || s.CostStatus == cairn.CostExact {
		s.CostStatus = status
	}
}

func (f *stepFolder) about(s *v1.Step, e cairn.Event) {
	switch d := e.Data.(type) {
	case cairn.ModelRetried:
		settle(s, d.Usage, d.Cost, d.Status)
		s.Error = &d.Error
	case cairn.ModelCompleted:
		settle(s, d.Answer.Usage, d.Cost, d.Status)
		s.Model, s.Attempts = d.Answer.Model, max(d.Attempt, s.Attempts)
		f.end(s, e, "completed", d.Took, nil)
	case cairn.ModelFailed:
		settle(s, d.Usage, d.Cost, d.Status)
		f.end(s, e, "failed", 0, &d.Error)
	case cairn.ToolCallDenied:
		s.Rule = d.Rule
		f.end(s, e, "denied", 0, &cairn.Error{Code: cairn.CodeDenied, Message: d.Reason})
	case cairn.ToolCallStarted:
		s.Attempts = d.Attempt
	case cairn.ToolCallRetried:
		s.Attempts, s.Error = d.Attempt, &d.Error
	case cairn.WorkspaceSnapshotted:
		s.Files = &d.Snapshotted
	case cairn.ToolCallCompleted:
		s.Attempts, s.IsError = d.Attempt, d.Result.IsError
		f.end(s, e, "completed", d.Took, nil)
	case cairn.ToolCallFailed:
		s.Attempts, s.Killed = max(d.Attempt, s.Attempts), d.Killed
		f.end(s, e, "failed", d.Took, &d.Error)
	case cairn.ToolCallUnknown:
		s.Attempts, s.Killed = d.Attempt, d.Killed
		s.Status = "unknown"
	case cairn.EffectReconciled:
		f.end(s, e, string(d.Finding), 0, nil)
	}
}
