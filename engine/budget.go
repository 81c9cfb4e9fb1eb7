package engine

import (
	"github.com/cairn-run/cairn"
)

// Scopes of budgets.
const (
	scopeRun     = "run"
	scopeSession = "session"
	scopeAgent   = "agent"
)

// drawSlices is how many reservations of the present size are drawn at once from
// a shared budget, so that its row is not touched by every call.
const drawSlices = 8

// strictest is the smaller of two caps of which zero means none.
func strictest(a, b cairn.Money) cairn.Money {
	if a == 0 || (b != 0 && b < a) {
		return b
	}
	return a
}

// shared lists the budgets above the session.
func (p *planner) shared() []cairn.SharedBudget {
	limit := strictest(p.env.Agent.Budget.Agent, p.s.Budget.Agent)
	if limit == 0 {
		return nil
	}
	return []cairn.SharedBudget{{ID: "agent:" + p.s.Agent, Limit: limit + p.s.Money.RaisedAgent}}
}

// undrawn is what is left of what was drawn from shared budgets; negative: more was
// spent or reserved than that.
func (s *State) undrawn() cairn.Money {
	m := &s.Money
	return m.Granted + m.Apart - m.Spent - m.Reserved
}

// afford says whether a reservation fits every budget now. If it does not, it
// plans what has to happen first: a draw, an ask, or the end of the run.
func (p *planner) afford(need cairn.Money) bool {
	m, r := &p.s.Money, &p.s.Run
	held := m.Spent + m.Reserved
	caps := []struct {
		scope       string
		limit, used cairn.Money
	}{
		{scopeRun, raised(r.Cap, m.RaisedRun), r.Spent + m.Reserved},
		{scopeSession, raised(strictest(p.env.Agent.Budget.Session, p.s.Budget.Session), m.RaisedSession), held},
	}
	for _, c := range caps {
		if c.limit > 0 && c.used+need > c.limit {
			p.breach(c.scope, c.limit, c.used, need)
			return false
		}
	}
	if shared := p.shared(); shared != nil && need > p.s.undrawn() {
		missing := need - p.s.undrawn()
		amount := max(missing, min(need*drawSlices, shared[0].Limit/drawSlices))
		if m.Refused > 0 {
			if missing >= m.Refused {
				p.breach(scopeAgent, shared[0].Limit, shared[0].Limit, missing)
				return false
			}
			amount = missing // a slice was refused: only what is really needed
		}
		p.emit(cairn.BudgetRequested{Budgets: shared, Amount: amount})
		return false
	}
	return true
}

func raised(limit, by cairn.Money) cairn.Money {
	if limit == 0 {
		return 0
	}
	return limit + by
}

// breach records that a call would overspend, and asks or ends the run.
func (p *planner) breach(scope string, limit, used, need cairn.Money) {
	p.emit(cairn.BudgetExceeded{Scope: scope, Limit: limit, Spent: used, Need: need})
	if p.env.Agent.Budget.OnBreach == cairn.BreachStop {
		p.fail(cairn.CodeBudget, "the %s budget of %s does not cover the next model call: %s is spent or reserved, the call may cost up to %s",
			scope, limit, used, need)
		return
	}
	more := max(limit, used+need-limit)
	p.openAsk("", cairn.Ask{
		Kind: cairn.AskBudget, Scope: scope, Amount: more,
		Reason: "The next model call may cost up to " + need.String() + ". Of the " + scope + " budget of " + limit.String() +
			", " + used.String() + " is spent or reserved. Approve to allow " + more.String() + " more.",
	}, 0)
}

// budgetAsked says whether a person is being asked for more money.
func (s *State) budgetAsked() bool {
	for i := range s.Asks {
		if s.Asks[i].Kind == cairn.AskBudget {
			return true
		}
	}
	return false
}

// drawn records what a draw gave. What was refused is looked at when the next
// request is planned.
func (p *planner) drawn(d cairn.DrawOutcome) {
	w := p.s.Draw
	if w == nil || p.s.effect(w.Seq) != d.Effect {
		return
	}
	p.about(d.Effect, cairn.BudgetDrawn{Granted: d.Granted, Error: d.Error})
}

// nextModel is the model that the next request goes to.
func (p *planner) nextModel() string {
	switch {
	case p.s.Model != nil:
		return p.s.Model.Model
	case p.s.Run.Model != "":
		return p.s.Run.Model
	}
	return p.env.Agent.Model
}
