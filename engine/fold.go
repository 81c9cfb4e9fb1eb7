package engine

import (
	"slices"

	"github.com/cairn-run/cairn"
)

// Fold returns the state after an event. It accepts every event that was ever
// written; a type it does not know changes nothing but the sequence number.
func Fold(s State, e cairn.Event) State {
	s.Seq = e.Seq
	s.At = e.At
	switch d := e.Data.(type) {
	case cairn.SessionCreated:
		s.Key, s.Agent, s.Digest, s.Title, s.Once, s.Budget = d.Key, d.Agent, d.Digest, d.Title, d.Once, d.Budget
		s.Created = e.At
		s.Context.From = e.Seq
		s.Files.Base, s.Files.Now.Tree = d.Workspace, d.Workspace
		if d.Project != "" {
			s.Context.Project, s.Context.ProjectBytes = e.Seq, int64(len(d.Project))
		}
	case cairn.SessionMoving:
		s.Move = &Move{Agent: d.Agent, Digest: d.Digest}
	case cairn.SessionMoved:
		if d.Agent != s.Agent {
			s.Money.RaisedAgent = 0 // it was said of another agent's budget
		}
		s.Money.Apart, s.Money.Refused = s.Money.Apart+d.Apart, 0
		s.Agent, s.Digest, s.Move = d.Agent, d.Digest, nil
		s.Context.Toolset = 0
		s.Run.Model, s.Run.Moved = "", s.Run.Active
		s.Context.Known, s.Context.KnownBytes, s.Context.Prompt = 0, 0, 0 // with other instructions and tools
	case cairn.WorkspaceSnapshotted:
		s.Files.Now, s.Files.Running = d.Snapshot, d.Running
	case cairn.SandboxReleasing:
		s.Release = e.Seq
	case cairn.SandboxReleased:
		s.Release, s.Files.Running = 0, nil
		s.Run.Killed = append(slices.Clip(s.Run.Killed), d.Killed...)
	case cairn.SessionForked:
		s = forked(s, d)
	case cairn.SessionIdle:
	case cairn.RunStarted:
		s.Runs++
		s.Run = Run{Active: true, ID: e.Run, Started: e.At, Deadline: d.Deadline, Cap: d.Budget, Want: true}
		s.LastErr, s.Money.Refused = nil, 0
		s.inSandbox(d.Sandbox)
	case cairn.RunPaused:
		s.Run.Paused = true
	case cairn.RunResumed:
		s.Run.Paused = false
	case cairn.RunCancelling:
		s.Run.Stop = &Stop{Err: d.Error}
		if s.Run.Ending == nil {
			s.stopAll()
		}
	case cairn.RunEnding:
		s.Run.Moved = false
		s.Run.Ending = &Ending{Outcome: d.Outcome, Err: d.Error, Output: d.Output}
		s.Run.Want = false
		if s.Run.Sum.ModelCalls == 0 {
			// A run that ends before its first call takes its messages with it: another
			// run for them would end the same way, for ever.
			s.Unseen = false
		}
	case cairn.RunCompleted:
		s.ended(nil, d.Final, cairn.StatusCompleted)
	case cairn.RunFailed:
		s.ended(&d.Error, d.Final, cairn.StatusFailed)
	case cairn.RunCancelled:
		s.ended(nil, true, cairn.StatusCancelled)
	case cairn.MessageCreated:
		s.foldMessage(e, d)
	case cairn.ModelRequested, cairn.ModelRetried, cairn.ModelCompleted, cairn.ModelFailed:
		s.foldModel(e)
	case cairn.ToolCallRequested, cairn.ToolCallDenied, cairn.ToolCallStarted, cairn.ToolCallRetried,
		cairn.ToolCallCompleted, cairn.ToolCallFailed, cairn.ToolCallUnknown, cairn.EffectReconciled:
		s.foldCall(e)
	case cairn.AskOpened:
		s.foldAskOpened(e, d)
	case cairn.AskResolved:
		s.foldAskResolved(d)
	case cairn.AskExpired:
		i := s.closeAsk(d.Ask)
		if i.Kind == cairn.AskApproval && d.Action == "approve" {
			s.approve(i.Call)
		}
	case cairn.ToolsetRequested:
		s.Run.Moved = false
		s.Discover = &Discovery{Seq: e.Seq, Attempt: 1}
	case cairn.ToolsetRetried:
		if s.Discover != nil {
			s.Discover = &Discovery{Seq: s.Discover.Seq, Attempt: d.Attempt + 1, NotBefore: d.NextAt}
		}
	case cairn.ToolsetFailed:
		s.Discover = nil
	case cairn.ToolsetPinned:
		s.Discover = nil
		s.Context.Toolset = e.Seq
	case cairn.BudgetRequested:
		s.Draw = &Draw{Seq: e.Seq, Budgets: d.Budgets, Amount: d.Amount}
		s.Run.Returned = s.Run.Ending != nil
		if s.Move != nil && s.Run.Ending == nil && s.Model == nil { // else it is for a retry of that call
			m := *s.Move
			m.Settled = true
			s.Move = &m
		}
	case cairn.BudgetDrawn:
		s.Money.Refused = 0
		if s.Draw != nil && d.Error != nil {
			s.Money.Refused = s.Draw.Amount
		}
		s.Draw = nil
		s.Money.Granted += d.Granted
	case cairn.BudgetRaised:
		switch d.Scope {
		case scopeRun:
			s.Money.RaisedRun += d.Amount
		case scopeSession:
			s.Money.RaisedSession += d.Amount
		case scopeAgent:
			s.Money.RaisedAgent += d.Amount
			s.Money.Refused = 0
		}
	case cairn.ContextCompacted:
		s.foldCompacted(e, d)
	case cairn.PlanUpdated:
		s.Context.Plan, s.Context.PlanBytes = e.Seq, int64(len(d.Plan))
	case cairn.BudgetExceeded, cairn.CacheBroken, cairn.UnknownEvent:
	}
	s.foldParked()
	return s
}

// forked closes what the parent had open: the fork starts idle, with the
// parent's conversation and an account of its own.
func forked(s State, d cairn.SessionForked) State {
	s.Key = d.Key
	s.Run, s.Runs, s.Final, s.LastErr, s.Once = Run{}, 0, "", nil, false
	s.Model, s.Calls, s.Asks, s.Discover, s.Draw, s.Release, s.Move = nil, nil, nil, nil, nil, 0, nil
	s.Files.Running = nil
	s.Money, s.Totals = Money{}, Totals{}
	s.Context.Summed = false // by the parent
	s.Created = s.At
	return s
}

// foldParked moves the deadline on by the time that was spent waiting for people.
func (s *State) foldParked() {
	switch parked := s.parked(); {
	case parked && s.Run.Parked.IsZero():
		s.Run.Parked = s.At
	case !parked && !s.Run.Parked.IsZero():
		if !s.Run.Deadline.IsZero() {
			s.Run.Deadline = s.Run.Deadline.Add(s.At.Sub(s.Run.Parked))
		}
		s.Run.Parked = zeroTime
	}
}

func (s *State) ended(err *cairn.Error, final bool, status cairn.Status) {
	if final {
		s.Final = status
	}
	if err != nil {
		s.LastErr = err
	}
	s.Run.Active, s.Run.Paused, s.Run.Stop, s.Run.Ending, s.Run.Want = false, false, nil, nil, false
	s.Money.RaisedRun = 0
}

// stopAll marks everything that is under way as no longer wanted.
func (s *State) stopAll() {
	if s.Model != nil {
		m := *s.Model
		m.Stop = true
		s.Model = &m
	}
	if s.Discover != nil {
		d := *s.Discover
		d.Stop = true
		s.Discover = &d
	}
	s.Calls = slices.Clone(s.Calls)
	for i := range s.Calls {
		if !s.Calls[i].Hook {
			s.Calls[i].Stop = true
		}
	}
}

func (s *State) foldMessage(e cairn.Event, d cairn.MessageCreated) {
	if d.Purpose == cairn.PurposeCompact { // seen by the request it belongs to, and by no other
		return
	}
	n := sizeOf(d.Content)
	s.Context.Bytes += n
	if s.Context.Task == 0 && d.Origin == originUser {
		s.Context.Task, s.Context.TaskBytes = e.Seq, n
	}
	if d.Origin == originUser {
		s.Unseen = true
	}
	s.Run.Want = true
	s.Run.Purpose = d.Purpose
	switch d.Purpose {
	case cairn.PurposeRepair:
		s.Run.Repairs++
	case cairn.PurposeReflect:
		s.Run.Reflected = 0
	case cairn.PurposeTurn, cairn.PurposeCompact:
	}
	if d.Interrupt {
		s.stopAll()
	}
}

func (s *State) foldModel(e cairn.Event) {
	switch d := e.Data.(type) {
	case cairn.ModelRequested:
		s.Run.Moved = false
		m := ModelCall{Seq: e.Seq}
		if s.Model != nil && d.Attempt > 1 {
			m = *s.Model
		} else {
			s.Run.Sum.ModelCalls++
			s.Totals.ModelCalls++
			s.asked(e.Seq, d.Purpose)
			m.Bytes = s.Context.Bytes
		}
		m.Attempt, m.Model, m.Purpose, m.Manifest, m.Reserved = d.Attempt, d.Model, d.Purpose, d.Manifest, d.Reserved
		m.At, m.Out = e.At, d.Manifest.Params.MaxOutput
		m.Waiting = false
		m.RetryAt = zeroTime
		s.Model = &m
		s.Money.Reserved += d.Reserved
		s.Run.Model = d.Model
		if s.Context.Model != d.Model { // it counts tokens in its own way
			s.Context.Known, s.Context.KnownBytes, s.Context.Prompt = 0, 0, 0
		}
		s.Context.Model = d.Model
	case cairn.ModelRetried:
		if s.Model == nil {
			return
		}
		s.settle(d.Usage, d.Cost, d.Status)
		m := *s.Model
		m.Reserved, m.Waiting, m.RetryAt = 0, true, d.NextAt
		s.Run.Sum.Retries++
		switch {
		case d.Error.Code == cairn.CodeLost:
			m.Lost++
			s.Run.Sum.Lost++
		case d.Model != m.Model:
			m.Failures = 0
		case d.Error.Code == cairn.CodeCancelled: // stopped, not failed
		default:
			m.Failures++
		}
		m.Model, s.Run.Model = d.Model, d.Model
		s.Model = &m
	case cairn.ModelCompleted:
		s.settle(d.Answer.Usage, d.Cost, d.Status)
		m := s.Model
		s.Model = nil
		if d.Purpose == cairn.PurposeCompact { // the summary is no part of the conversation
			return
		}
		if m != nil {
			s.Context.Last, s.Context.Asked = m.Manifest, m.Model
			s.Context.Under, s.Context.UnderName = s.Digest, s.Agent
			s.Context.Last.Params = cairn.ModelParams{MaxOutput: 1} // its request is only rendered to be compared
			u := d.Answer.Usage
			s.Context.Cached = u.CacheRead + u.CacheWrite5m + u.CacheWrite1h
		}
		s.Run.Answer = e.Seq
		s.Run.Degrade = d.Answer.Stop == cairn.StopMaxOutput || len(d.Answer.Content) == 0
		s.Run.Compacted, s.Context.Summed = false, false
		s.Run.Invalid++ // until one of its calls proves valid
		if calls(d.Answer.Content) == 0 {
			s.Run.Invalid = 0
		}
		said := sizeOf(d.Answer.Content)
		s.Context.Bytes += said
		s.Context.Known, s.Context.KnownBytes = 0, 0
		s.Context.Prompt = d.Answer.Usage.Prompt()
		if m != nil {
			s.Context.PromptBytes = m.Bytes
			if s.Context.Prompt > 0 { // not every provider counts it
				// What users said meanwhile was in neither.
				s.Context.Known, s.Context.KnownBytes = s.Context.Prompt+d.Answer.Usage.Output, m.Bytes+said
			}
		}
		s.Context.Answer = e.Seq
		s.Context.Batch = calls(d.Answer.Content)
	case cairn.ModelFailed:
		s.settle(d.Usage, d.Cost, d.Status)
		switch m := s.Model; {
		case m == nil:
		case m.Purpose == cairn.PurposeCompact:
			s.Context.Summed = !m.Stop && s.Move == nil // it was not wanted just then: it may be asked for again
		case !m.Stop:
			s.Run.Purpose = m.Purpose // what it was asked for is still to be answered
		}
		s.Model = nil
		s.Run.Want = true
		if d.Error.Code == cairn.CodeLost {
			s.Run.Sum.Lost++
		}
	}
}

// asked takes a new request: only such a one sees what was said since the last,
// another attempt sends the same again. A request for a summary leaves the turn
// that is to follow as it is.
func (s *State) asked(seq cairn.Seq, purpose cairn.Purpose) {
	if purpose == cairn.PurposeCompact {
		s.Context.Summed = true
		return
	}
	if purpose != cairn.PurposeReflect {
		s.Run.Reflected++
	}
	s.addTurn(seq)
	s.Run.Want, s.Run.Purpose, s.Unseen = false, cairn.PurposeTurn, false
}

// settle replaces the reservation of the open model call by what it cost.
func (s *State) settle(u cairn.Usage, cost cairn.Money, status cairn.CostStatus) {
	if s.Model != nil {
		s.Money.Reserved -= s.Model.Reserved
	}
	s.Money.Spent += cost
	s.Run.Spent += cost
	if status != cairn.CostExact {
		s.Run.Estimated += cost
	}
	s.Run.Usage = s.Run.Usage.Add(u)
	s.Totals.Usage = s.Totals.Usage.Add(u)
}

func (s *State) foldCall(e cairn.Event) {
	if d, ok := e.Data.(cairn.ToolCallRequested); ok {
		s.inSandbox(d.Sandbox)
		s.Calls = append(slices.Clip(s.Calls), Call{
			Seq: e.Seq, Run: e.Run, Phase: PhaseReady, Tool: d.Tool, Host: d.Host, Source: d.Source, Class: d.Class, Files: d.Files,
			Args: d.Args, Key: d.Key, Digest: d.Digest, Def: d.Def, Attempt: 1, Retries: d.Retries, Timeout: d.Timeout,
			Reconcile: d.Reconcile, Hook: d.Hook,
		})
		s.Totals.ToolCalls++
		if d.Verdict != "" && !d.Hook {
			s.Run.Invalid = 0
		}
		if d.Hook {
			s.Run.Sum.Hooked++
		}
		return
	}
	i := s.callOf(e.Step)
	if i < 0 {
		return
	}
	s.Calls = slices.Clone(s.Calls)
	c := &s.Calls[i]
	mine := c.Run == s.Run.ID
	sum := &s.Run.Sum
	if !mine {
		sum = &RunSums{} // a late fact about a run that is over: its account is closed
	}
	switch d := e.Data.(type) {
	case cairn.ToolCallStarted:
		c.Phase = PhaseStarted
		return
	case cairn.ToolCallRetried:
		c.Phase, c.Attempt, c.NotBefore = PhaseReady, d.Attempt+1, d.NextAt
		return
	case cairn.ToolCallUnknown:
		c.Phase = PhaseUnknown
		if d.Reconcile {
			c.Phase = PhaseReconciling
		}
		sum.Unknown++
		if mine {
			s.Run.Unknown = append(slices.Clip(s.Run.Unknown), e.Step)
			s.Run.Killed = append(slices.Clip(s.Run.Killed), d.Killed...)
		}
		return
	case cairn.ToolCallDenied:
		sum.Denied++
		s.Context.Bytes += framing + int64(len(d.Reason))
		s.hookFailed(c)
	case cairn.ToolCallCompleted:
		sum.Completed++
		s.Context.Bytes += sizeOfResult(&d.Result)
	case cairn.ToolCallFailed:
		sum.Failed++
		s.Context.Bytes += framing + int64(len(d.Error.Message))
		if d.Result != nil {
			s.Context.Bytes += sizeOfResult(d.Result)
		}
		if mine {
			s.Run.Killed = append(slices.Clip(s.Run.Killed), d.Killed...)
		}
		s.hookFailed(c)
	case cairn.EffectReconciled:
		if d.Finding == cairn.FoundDone {
			sum.Completed++
		} else {
			sum.Failed++
			s.hookFailed(c)
		}
		sum.Unknown--
		s.Context.Bytes += 4 * framing
		if d.Result != nil {
			s.Context.Bytes += sizeOfResult(d.Result)
		}
		if mine {
			s.Run.Unknown = slices.DeleteFunc(slices.Clone(s.Run.Unknown), func(id cairn.EffectID) bool { return id == e.Step })
		}
	}
	s.Calls = slices.Delete(s.Calls, i, i+1)
	if len(s.Calls) == 0 {
		s.Calls = nil
	}
	if mine && s.Run.Active && s.Run.Ending == nil && s.batch() == 0 {
		s.Run.Want = true
	}
}

// calls counts the tool calls of an answer.
func calls(parts []cairn.Part) int {
	n := 0
	for i := range parts {
		if parts[i].Kind == cairn.PartToolCall {
			n++
		}
	}
	return n
}

func (s *State) hookFailed(c *Call) {
	if c.Hook && c.Run == s.Run.ID {
		s.Run.HooksFailed = append(slices.Clip(s.Run.HooksFailed), c.Tool)
	}
}

func (s *State) foldAskOpened(e cairn.Event, d cairn.AskOpened) {
	a := Ask{
		Seq: e.Seq, ID: d.Ask.ID, Kind: d.Ask.Kind, Expires: d.Ask.Expires, OnExpire: d.Ask.OnExpire,
		Scope: d.Ask.Scope, Amount: d.Ask.Amount,
	}
	if i := s.callOf(d.Ask.Effect); i >= 0 && d.Ask.Effect != "" {
		s.Calls = slices.Clone(s.Calls)
		c := &s.Calls[i]
		a.Call = c.Seq
		c.Phase = PhaseAsking
		if d.Ask.Kind == cairn.AskUnknown {
			c.Phase = PhaseUnknown
		}
	}
	s.Asks = append(slices.Clip(s.Asks), a)
	s.Run.Sum.Asks++
}

func (s *State) foldAskResolved(d cairn.AskResolved) {
	a := s.closeAsk(d.Ask)
	if a.Kind != cairn.AskApproval {
		return
	}
	switch d.Status {
	case cairn.AskApproved:
		s.approve(a.Call)
	case cairn.AskEdited:
		s.approve(a.Call)
		for i := range s.Calls { // approve made the slice our own
			if c := &s.Calls[i]; c.Seq == a.Call {
				c.Args, c.Digest, c.Key = d.Args, d.Digest, d.Key
			}
		}
	case cairn.AskOpen, cairn.AskRejected, cairn.AskAnswered, cairn.AskLapsed, cairn.AskCancelled, cairn.AskSuperseded:
	}
}

func (s *State) closeAsk(id cairn.AskID) Ask {
	for i, a := range s.Asks {
		if a.ID == id {
			s.Asks = slices.Delete(slices.Clone(s.Asks), i, i+1)
			if len(s.Asks) == 0 {
				s.Asks = nil
			}
			return a
		}
	}
	return Ask{}
}

func (s *State) approve(call cairn.Seq) {
	s.Calls = slices.Clone(s.Calls)
	for i := range s.Calls {
		if c := &s.Calls[i]; c.Seq == call && c.Phase == PhaseAsking {
			c.Phase = PhaseReady
		}
	}
}
