package engine

import (
	"fmt"
	"strings"

	"github.com/cairn-run/cairn"
)

// move takes the wish that the session goes on under another definition. It does
// so when nothing is open: a call is settled under the definition that made it.
func (p *planner) move(d cairn.Move) {
	if d.Agent == p.s.Agent && d.Digest == p.s.Digest && p.s.Move == nil {
		return
	}
	p.emit(cairn.SessionMoving{Agent: d.Agent, Digest: d.Digest, By: p.in.From, Reason: d.Reason})
	if !p.s.Run.Active {
		p.moved()
	}
}

func (p *planner) moved() {
	m := *p.s.Move
	for _, a := range p.s.Asks {
		if a.Kind == cairn.AskBudget { // whether the next request can be paid is another question now
			p.emit(cairn.AskResolved{Ask: a.ID, Status: cairn.AskSuperseded, Comment: "The session goes on under another definition."})
		}
	}
	d := cairn.SessionMoved{From: p.s.Digest, Agent: m.Agent, Digest: m.Digest}
	// What was spent until now is no matter of the next one's shared budgets. Only an
	// agent that was refused what it had spent too much goes on owing it.
	if m.Agent != p.s.Agent || p.shared() == nil {
		d.Apart = -p.s.undrawn()
	}
	p.emit(d)
}

// moveOn changes the definition within a run. What the former one drew from its
// shared budgets is settled first: the next one has others. Nothing more can be
// planned in this step, because the environment is that of the former.
func (p *planner) moveOn() {
	left := p.s.undrawn()
	if shared := p.shared(); shared != nil && left != 0 && !p.s.Move.Settled {
		p.emit(cairn.BudgetRequested{Budgets: shared, Amount: -left})
		return
	}
	p.moved()
}

// released takes that nothing of the session runs in its sandbox any more.
func (p *planner) released(d cairn.ReleaseOutcome) {
	if p.s.Release == 0 || p.s.effect(p.s.Release) != d.Effect || d.Error != nil && d.Error.Code == cairn.CodeCancelled {
		return // the owner drains: the next one releases
	}
	p.about(d.Effect, cairn.SandboxReleased{Killed: d.Killed, Error: d.Error})
}

// instructions are what the model is told before the conversation: the agent's
// own, what the project says, and which skills there are.
func instructions(a *cairn.Agent, project string) string {
	var b strings.Builder
	b.WriteString(a.Instructions)
	if project != "" {
		b.WriteString("\n\n# AGENTS.md\n\nThe project in /workspace says to every agent:\n\n")
		b.WriteString(project)
	}
	if len(a.Skills) > 0 {
		b.WriteString("\n\n# Skills\n\nRead the file of a skill before you do what it is for.\n")
		for _, s := range a.Skills {
			fmt.Fprintf(&b, "\n- %s: %s (/skills/%s/SKILL.md)", s.Name, strings.ReplaceAll(s.Description, "\n", " "), s.Name)
		}
		b.WriteByte('\n')
	}
	return b.String()
}
