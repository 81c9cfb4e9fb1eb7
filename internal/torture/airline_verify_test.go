package torture

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/blob"
	blobdir "github.com/cairn-run/cairn/blob/dir"
	"github.com/cairn-run/cairn/engine"
	"github.com/cairn-run/cairn/examples/airline"
	"github.com/cairn-run/cairn/internal/effectserver"
	"github.com/cairn-run/cairn/journal"
	"github.com/cairn-run/cairn/journal/sqlite"
)

// tally adds up what was compared.
type tally struct {
	replies, results, identical, addresses int
	databases, writes, repeats             int
	bought, lost                           int
}

// recital is what the journal of a session says was said and done.
type recital struct {
	turns       []airline.Turn
	replies     []airline.Reply
	results     []airline.Result
	effects     []cairn.EffectID // of the results
	completed   map[cairn.EffectID]int
	lost        int
	runs        int
	first, last time.Time
	state       engine.State
}

// openJournal opens what a dead runtime has left.
func openJournal(ctx context.Context, dir string) (*journal.Journal, error) {
	store, err := sqlite.Open(ctx, dir, sqlite.Options{})
	if err != nil {
		return nil, fmt.Errorf("the store does not open without repair: %w", err)
	}
	folder, err := blobdir.Open(filepath.Join(dir, "blobs"))
	if err != nil {
		return nil, errors.Join(err, store.Close())
	}
	return journal.New(store, blob.New(folder, blob.Options{})), nil
}

// recite reads the journal of a session.
func recite(ctx context.Context, j *journal.Journal, id cairn.SessionID) (*recital, error) {
	r := &recital{completed: map[cairn.EffectID]int{}}
	at := map[cairn.EffectID]int{} // index in results
	for e, err := range j.Events(ctx, cairn.SessionKey{Tenant: cairn.DefaultTenant, ID: id}, 0) {
		if err != nil {
			return nil, err
		}
		if r.first.IsZero() {
			r.first = e.At
		}
		r.last = e.At
		r.state = engine.Fold(r.state, e)
		settle := func(text string) error {
			i, ok := at[e.Step]
			if !ok || r.results[i].Text != "" {
				return fmt.Errorf("event %d settles a call that is not open", e.Seq)
			}
			r.results[i].Text = text
			return nil
		}
		switch d := e.Data.(type) {
		case cairn.MessageCreated:
			r.turns = append(r.turns, airline.Turn{Text: cairn.TextOf(d.Content), After: len(r.replies)})
		case cairn.ModelCompleted:
			reply := airline.Reply{Text: cairn.TextOf(d.Answer.Content)}
			for _, p := range d.Answer.Content {
				if p.Kind == cairn.PartToolCall {
					reply.Calls = append(reply.Calls, airline.Call{ID: p.CallID, Tool: p.Tool, Args: p.Args})
				}
			}
			r.replies = append(r.replies, reply)
			r.completed[e.Step] = d.Attempt
		case cairn.ModelRetried:
			if d.Error.Code != cairn.CodeLost {
				return nil, fmt.Errorf("event %d: a model call failed: %s", e.Seq, d.Error.Message)
			}
			r.lost++
		case cairn.ToolCallRequested:
			at[e.Step] = len(r.results)
			r.effects = append(r.effects, e.Step)
			last := len(r.replies) - 1
			if last < 0 || d.Index >= len(r.replies[last].Calls) {
				return nil, fmt.Errorf("event %d: a call that no answer made", e.Seq)
			}
			r.results = append(r.results, airline.Result{Call: r.replies[last].Calls[d.Index], Reply: last})
		case cairn.ToolCallCompleted:
			if err := settle(cairn.TextOf(d.Result.Content)); err != nil {
				return nil, err
			}
		case cairn.ToolCallFailed:
			text := "failed: " + d.Error.Message
			if d.Result != nil {
				text = cairn.TextOf(d.Result.Content)
			}
			if err := settle(text); err != nil {
				return nil, err
			}
		case cairn.RunCompleted:
			r.runs++
		}
	}
	return r, nil
}

// checkJournal compares a session with the recording.
func checkJournal(t *testing.T, p *play, r *recital, sum *tally) {
	t.Helper()
	name := p.tr.Name
	if diff := cmp.Diff(p.tr.Turns, r.turns); diff != "" {
		t.Errorf("%s: the messages differ from the recording: %s", name, diff)
	}
	want := slices.Clone(p.tr.Replies)
	for i := range want {
		want[i].Closing = false // that it was not recorded cannot be seen
	}
	if diff := cmp.Diff(want, r.replies); diff != "" {
		t.Errorf("%s: the replies differ from the recording: %s", name, diff)
	}
	sum.replies += len(r.replies)
	sum.lost += r.lost
	if len(r.results) != len(p.tr.Results) {
		t.Errorf("%s: %d results; %d were recorded", name, len(r.results), len(p.tr.Results))
		return
	}
	for i, got := range r.results {
		rec := p.tr.Results[i]
		sum.results++
		if rec.Tool == "get_user_details" {
			sum.addresses++
			got.Text, rec.Text = withoutAddress(t, got.Text), withoutAddress(t, rec.Text)
		} else if got.Text == rec.Text {
			sum.identical++
		}
		if diff := cmp.Diff(rec, got); diff != "" {
			t.Errorf("%s: result %d, of %s, differs from the recording: %s", name, i, rec.Tool, diff)
		}
	}
	if got := r.state.Status(); got != cairn.StatusIdle || r.runs != len(p.tr.Turns) || r.state.Money.Reserved != 0 {
		t.Errorf("%s: %s after %d runs of %d, %s reserved", name, got, r.runs, len(p.tr.Turns), r.state.Money.Reserved)
	}
	if p.killed.IsZero() {
		t.Errorf("%s was not killed: %+v", name, p.plan)
	} else if !p.killed.After(r.first) || !p.killed.Before(r.last) {
		t.Errorf("%s was killed at %s; it was in progress from %s to %s", name, p.killed, r.first, r.last)
	}
}

// withoutAddress is the canonical JSON of a user without the address.
func withoutAddress(t *testing.T, text string) string {
	t.Helper()
	var user map[string]json.RawMessage
	if err := json.Unmarshal([]byte(text), &user); err != nil {
		t.Errorf("a user's details: %v: %s", err, text)
		return text
	}
	if user["address"] == nil {
		t.Errorf("a user without an address: %s", text)
	}
	delete(user, "address")
	b, err := json.Marshal(user)
	if err == nil {
		b, err = cairn.Canonical(b)
	}
	if err != nil {
		t.Errorf("a user's details: %v", err)
	}
	return string(b)
}

// checkDesk compares what a desk has come to with an uninterrupted run.
func checkDesk(t *testing.T, p *play, r *recital, want, got airline.State, sum *tally) {
	t.Helper()
	name := p.tr.Name
	if got.Hash != want.Hash {
		t.Errorf("%s: the final database differs from that of an uninterrupted run", name)
	} else {
		sum.databases++
	}
	sum.writes += len(got.Writes)
	sum.repeats += got.Repeats
	strip := func(s airline.State) []airline.Write {
		all := slices.Clone(s.Writes)
		for i := range all {
			all[i].Key = ""
			args, err := cairn.Canonical(all[i].Args)
			if err != nil {
				t.Errorf("%s: the arguments of write %d: %v", name, i, err)
			}
			all[i].Args = args
		}
		return all
	}
	if diff := cmp.Diff(strip(want), strip(got)); diff != "" {
		t.Errorf("%s: the writes differ from those of an uninterrupted run: %s", name, diff)
	}
	done := writeKeys(got)
	for i, k := range done {
		if i > 0 && done[i-1] == k {
			t.Errorf("%s: the key %s was written twice", name, k)
		}
		if !slices.Contains(r.effects, cairn.EffectID(k)) {
			t.Errorf("%s: the desk did %q, which the journal does not know", name, k)
		}
	}
}

// checkBill holds what was bought of the model against what is recorded.
func checkBill(t *testing.T, p *play, r *recital, bill effectserver.Report, sum *tally) {
	t.Helper()
	for effect, m := range bill.Models {
		if m.Session != string(p.session) {
			continue
		}
		sum.bought += m.Calls
		recorded, known := r.completed[cairn.EffectID(effect)]
		if !known {
			t.Errorf("%s: model call %s was bought, and the journal knows no answer", p.tr.Name, effect)
		}
		seen := map[int]bool{}
		for _, a := range m.Attempts {
			if seen[a] || a > recorded {
				t.Errorf("%s: model call %s: attempt %d was bought again; the answer is of attempt %d", p.tr.Name, effect, a, recorded)
			}
			seen[a] = true
		}
	}
	for effect, recorded := range r.completed {
		if !slices.Contains(bill.Models[string(effect)].Attempts, recorded) {
			t.Errorf("%s: the answer to %s was never bought", p.tr.Name, effect)
		}
	}
}
