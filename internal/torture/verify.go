package torture

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"

	"github.com/google/go-cmp/cmp"

	"github.com/cairn-run/cairn"
	v1 "github.com/cairn-run/cairn/api/v1"
	"github.com/cairn-run/cairn/blob"
	blobdir "github.com/cairn-run/cairn/blob/dir"
	"github.com/cairn-run/cairn/engine"
	"github.com/cairn-run/cairn/internal/effectserver"
	"github.com/cairn-run/cairn/journal"
	"github.com/cairn-run/cairn/journal/sqlite"
	"github.com/cairn-run/cairn/workspace"
)

// Checked counts what the promises were checked on.
type Checked struct {
	Events        int         `json:"events"`
	Acknowledged  int         `json:"events_acknowledged_while_it_ran"`
	Decisions     int         `json:"decisions_acknowledged"`
	ModelCalls    int         `json:"model_calls_recorded"`
	ModelAttempts int         `json:"model_attempts_intended"`
	ModelBilled   int         `json:"model_calls_billed"`
	ModelLost     int         `json:"model_calls_lost_in_flight"`
	Idempotent    int         `json:"idempotent_effects"`
	Repeats       int         `json:"idempotent_repeats_absorbed"`
	Irreversible  int         `json:"irreversible_effects"`
	Unknown       int         `json:"unknown_outcomes"`
	Reconciled    int         `json:"unknown_settled_by_query"`
	ByPeople      int         `json:"unknown_settled_by_people"`
	Late          int         `json:"unknown_settled_by_a_late_owner"`
	Cost          cairn.Money `json:"cost_nano_dollars"`
	Estimated     cairn.Money `json:"cost_settled_at_reservations"`
	Completed     int         `json:"sessions_completed"`
	Failed        int         `json:"sessions_failed"`
	Cancelled     int         `json:"sessions_cancelled"`
	Idle          int         `json:"sessions_idle"`
	Calm          int         `json:"sessions_after_the_last_kill"`
	Files         *Files      `json:"files,omitempty"`
}

const (
	maxViolations = 50
	maxOfAKind    = 8 // the cause of one kind is one, mostly
)

// verifier holds the journal against the world and against what was
// acknowledged.
type verifier struct {
	crowd      *crowd
	dir        string
	j          *journal.Journal
	store      *workspace.Store // nil: sessions have no files
	report     effectserver.Report
	spent      map[string]cairn.Money // by agent
	granted    map[string]cairn.Money
	known      map[cairn.EffectID]bool
	checked    Checked
	violations []string

	rest  rest
	kinds map[string]int // violations, by their format
}

func (v *verifier) violate(format string, args ...any) {
	if v.kinds == nil {
		v.kinds = map[string]int{}
	}
	if v.kinds[format]++; v.kinds[format] <= maxOfAKind && len(v.violations) < maxViolations {
		v.violations = append(v.violations, fmt.Sprintf(format, args...))
	}
}

// verify kills the victim a last time and reads what is on the disk.
func (v *verifier) verify(ctx context.Context, k *killer) error {
	k.end()
	var err error
	if v.report, err = v.crowd.effects.Report(ctx); err != nil {
		return err
	}
	store, err := sqlite.Open(ctx, v.dir, sqlite.Options{})
	if err != nil {
		return fmt.Errorf("torture: the store does not open without repair: %w", err)
	}
	defer func() { _ = store.Close() }()
	folder, err := blobdir.Open(filepath.Join(v.dir, "blobs"))
	if err != nil {
		return err
	}
	v.j = journal.New(store, blob.New(folder, blob.Options{}))
	if v.crowd.o.Hands {
		if err := v.openFiles(); err != nil {
			return err
		}
		defer func() { _ = v.store.Close() }() // only read
	}
	v.spent, v.granted, v.known = map[string]cairn.Money{}, map[string]cairn.Money{}, map[cairn.EffectID]bool{}
	for id, s := range v.crowd.sessions {
		if err := v.session(ctx, id, s); err != nil {
			return err
		}
	}
	v.world()
	for agent, granted := range v.granted {
		drawn, err := v.j.Budget(ctx, cairn.DefaultTenant, "agent:"+agent)
		if err != nil {
			return err
		}
		if drawn != granted {
			v.violate("budget agent:%s: %s were drawn, the journals say %s", agent, drawn, granted)
		}
		if granted < v.spent[agent] {
			v.violate("budget agent:%s: %s were drawn, %s spent", agent, granted, v.spent[agent])
		}
	}
	return nil
}

// ledger is what one session's journal says of one effect.
type ledger struct {
	req                           cairn.ToolCallRequested
	started, unknown              int
	completed, failed, denied     int
	notDone                       bool
	reconciled                    cairn.Finding
	by                            string
	model, modelDone, modelGiveUp int
}

// session replays a session and checks its own books.
func (v *verifier) session(ctx context.Context, id cairn.SessionID, was *seen) error {
	key := cairn.SessionKey{Tenant: cairn.DefaultTenant, ID: id}
	var s engine.State
	var cost, estimated, granted cairn.Money
	calls := map[cairn.EffectID]*ledger{}
	at := func(e cairn.Event) *ledger {
		if calls[e.Step] == nil {
			calls[e.Step] = &ledger{}
		}
		return calls[e.Step]
	}
	settle := func(m cairn.Money, st cairn.CostStatus) {
		cost += m
		if st != cairn.CostExact {
			estimated += m
		}
	}
	resolved := map[cairn.AskID]cairn.AskStatus{}
	opened := map[cairn.AskID]bool{}
	n := 0
	var files handEvents
	for e, err := range v.j.Events(ctx, key, 0) {
		if err != nil {
			return err
		}
		files.add(e)
		wire, err := v1.EventFrom(id, e)
		if err != nil {
			return err
		}
		var same v1.Event
		b, err := json.Marshal(wire)
		if err == nil {
			err = json.Unmarshal(b, &same)
		}
		if err != nil {
			return err
		}
		if n < len(was.events) && digest(same) != was.events[n] {
			v.violate("%s: event %d was acknowledged with another content", id, e.Seq)
		}
		n++
		if e.Seq != cairn.Seq(n) {
			v.violate("%s: event %d stands at place %d", id, e.Seq, n)
		}
		s = engine.Fold(s, e)
		v.known[e.Step] = true
		switch d := e.Data.(type) {
		case cairn.ModelRequested:
			at(e).model = d.Attempt
		case cairn.ModelRetried:
			settle(d.Cost, d.Status)
			if d.Error.Code == cairn.CodeLost {
				v.checked.ModelLost++
				if was.calm {
					v.violate("%s: a model call was settled as lost, and no process had died", id)
				}
			}
		case cairn.ModelCompleted:
			settle(d.Cost, d.Status)
			at(e).modelDone = d.Attempt
			v.checked.ModelCalls++
		case cairn.ModelFailed:
			settle(d.Cost, d.Status)
			at(e).modelGiveUp = d.Attempt
		case cairn.ToolCallRequested:
			at(e).req = d
		case cairn.ToolCallStarted:
			at(e).started++
		case cairn.ToolCallCompleted:
			at(e).completed++
		case cairn.ToolCallFailed:
			at(e).failed++
			at(e).notDone = d.Error.NotDone
		case cairn.ToolCallDenied:
			at(e).denied++
		case cairn.ToolCallUnknown:
			at(e).unknown++
			v.checked.Unknown++
		case cairn.EffectReconciled:
			at(e).reconciled, at(e).by = d.Finding, d.By
		case cairn.BudgetDrawn:
			granted += d.Granted
		case cairn.AskOpened:
			opened[d.Ask.ID] = true
		case cairn.AskResolved:
			resolved[d.Ask] = d.Status
		}
	}
	if was.calm {
		v.checked.Calm++
	}
	v.checked.Events += n
	v.checked.Acknowledged += len(was.events)
	if n < len(was.events) {
		v.violate("%s: %d events were acknowledged, %d are there", id, len(was.events), n)
	}
	for ask := range opened {
		if st, ok := v.crowd.decided[ask]; ok {
			v.checked.Decisions++
			// An approval with arguments that do not fit is put again as a new ask.
			if resolved[ask] != st && resolved[ask] != cairn.AskSuperseded {
				v.violate("%s: the decision %s on %s was acknowledged; the journal says %q", id, st, ask, resolved[ask])
			}
		}
	}
	if v.store != nil {
		if err := v.files(ctx, key, &s, &files); err != nil {
			return err
		}
	}
	v.books(ctx, id, key, &s, cost, estimated, granted, was)
	for effect, l := range calls {
		v.effect(id, effect, l, &s)
	}
	return nil
}

// books checks that the sums of a session, its list row and its end are right.
func (v *verifier) books(ctx context.Context, id cairn.SessionID, key cairn.SessionKey, s *engine.State, cost, estimated, granted cairn.Money, was *seen) {
	if s.Money.Spent != cost {
		v.violate("%s: spent %s, its events say %s", id, s.Money.Spent, cost)
	}
	if s.Money.Granted != granted {
		v.violate("%s: granted %s, its events say %s", id, s.Money.Granted, granted)
	}
	sum := s.Summary()
	row, err := v.j.Summary(ctx, key)
	if err != nil {
		v.violate("%s: no list row: %v", id, err)
	} else if diff := cmp.Diff(sum, row); diff != "" {
		v.violate("%s: the list row differs from the journal: %s", id, diff)
	}
	v.checked.Cost += cost
	v.checked.Estimated += estimated
	v.spent[s.Agent] += cost
	v.granted[s.Agent] += granted
	switch st := s.Status(); st {
	case cairn.StatusCompleted:
		v.checked.Completed++
	case cairn.StatusFailed:
		v.checked.Failed++
	case cairn.StatusCancelled:
		v.checked.Cancelled++
	case cairn.StatusIdle:
		v.checked.Idle++
		if was.agent != talker {
			v.violate("%s: idle instead of ended", id)
		}
	default:
		live := len(s.Asks) > 0 || !engine.WakeAt(*s).IsZero() || len(engine.Open(*s)) > 0
		if !live {
			v.violate("%s: %s without anything that could wake it", id, st)
		}
		v.violate("%s: still %s at the end (asks %d, open %d)", id, st, len(s.Asks), len(engine.Open(*s)))
	}
	if was.cancel && s.Final != cairn.StatusCancelled && s.Final != cairn.StatusCompleted && s.Final != cairn.StatusFailed {
		v.violate("%s: its cancel was acknowledged, it is %s", id, s.Status())
	}
	if s.Final != "" && s.Money.Reserved != 0 {
		v.violate("%s: %s still reserved at the end", id, s.Money.Reserved)
	}
}

// effect holds what the journal says of one effect against what the world counted.
func (v *verifier) effect(session cairn.SessionID, id cairn.EffectID, l *ledger, s *engine.State) {
	if l.model > 0 {
		m := v.report.Models[string(id)]
		v.checked.ModelAttempts += l.model
		seen := map[int]bool{}
		for _, a := range m.Attempts {
			if seen[a] {
				v.violate("%s: attempt %d at model call %s was bought twice", session, a, id)
			}
			seen[a] = true
			if l.modelDone > 0 && a > l.modelDone {
				v.violate("%s: model call %s was bought again after its answer was recorded", session, id)
			}
			if a > l.model {
				v.violate("%s: attempt %d at model call %s is not in the journal", session, a, id)
			}
		}
		if l.modelDone > 0 && !seen[l.modelDone] {
			v.violate("%s: the answer to %s was never bought", session, id)
		}
		return
	}
	if l.req.Tool == "" {
		return
	}
	w := v.report.Effects[string(id)]
	happened := l.completed > 0 || l.reconciled == cairn.FoundDone
	switch l.req.Tool {
	case "put", "safe":
		v.checked.Idempotent++
		v.checked.Repeats += w.Repeats
		if l.completed > 0 && w.Applied != 1 {
			v.violate("%s: idempotent %s is recorded as done, the world applied it %d times", session, id, w.Applied)
		}
		if w.Applied > 1 {
			v.violate("%s: idempotent %s was applied %d times", session, id, w.Applied)
		}
	case "pay", "wire":
		v.checked.Irreversible++
		if w.Applied > 1 {
			v.violate("%s: irreversible %s was done %d times", session, id, w.Applied)
		}
		if happened && w.Applied != 1 {
			v.violate("%s: irreversible %s is recorded as done, the world did it %d times", session, id, w.Applied)
		}
		if w.Applied > 0 && l.started == 0 {
			v.violate("%s: irreversible %s was done without a recorded start", session, id)
		}
		if w.Applied > 0 && !happened && (l.denied > 0 || l.failed > 0) {
			v.violate("%s: irreversible %s was done and is recorded as failed or denied (not done: %v)", session, id, l.notDone)
		}
		if w.Applied > 0 && l.reconciled == cairn.FoundNotDone {
			v.violate("%s: irreversible %s was done; %s found that it was not", session, id, l.by)
		}
		if l.started > 0 && !happened && l.failed == 0 && l.denied == 0 && l.reconciled == "" && l.unknown == 0 {
			v.violate("%s: irreversible %s was started and never settled nor surfaced", session, id)
		}
		if l.unknown > 0 && l.reconciled == "" {
			asked := false
			for _, c := range s.Calls {
				asked = asked || (cairn.EffectIDAt(s.Key.ID, c.Seq) == id && c.Phase == engine.PhaseUnknown)
			}
			if !asked {
				v.violate("%s: the unknown outcome of %s is neither settled nor asked", session, id)
			}
		}
		switch {
		case l.reconciled == "":
		case l.by == "query":
			v.checked.Reconciled++
		case l.by == "owner":
			v.checked.Late++
		default:
			v.checked.ByPeople++
		}
	}
	if n := l.completed + l.failed + l.denied; n > 1 || (n == 1 && l.reconciled != "") {
		v.violate("%s: call %s is settled more than once", session, id)
	}
}

// world checks that the world did nothing that no journal knows.
func (v *verifier) world() {
	for key, e := range v.report.Effects {
		if key == "" && e.Applied > 0 {
			v.violate("%d effects were done without a key", e.Applied)
		}
		if key != "" && e.Applied > 0 && !v.known[cairn.EffectID(key)] {
			v.violate("the world did %s, which no journal knows", key)
		}
	}
	for id, m := range v.report.Models {
		v.checked.ModelBilled += m.Calls
		if !v.known[cairn.EffectID(id)] {
			v.violate("model call %s was bought, and no journal knows it", id)
		}
	}
}
