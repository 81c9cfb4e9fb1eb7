package journaltest

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/journal"
)

func summaries(e *env) {
	ctx := e.Context()
	const n = 120
	want := make([]cairn.Summary, n)
	for i := range n {
		l := startLetter(key((i*37 + 11) % n)) // newest first, whatever the ids say
		s := &l.New.Summary
		s.Agent = []string{"support", "research"}[i%2]
		s.Status = []cairn.Status{cairn.StatusIdle, cairn.StatusRunning, cairn.StatusWaiting}[i%3]
		s.Title = fmt.Sprint("session ", i)
		want[n-1-i] = *s
		e.ok(e.s.Deliver(ctx, l, nil))
	}
	list := func(f journal.SummaryFilter) []cairn.Summary {
		e.Helper()
		page, err := e.s.Summaries(ctx, acme, f)
		e.ok(err)
		return page
	}
	where := func(keep func(cairn.Summary) bool) (some []cairn.Summary) {
		for _, s := range want {
			if keep(s) {
				some = append(some, s)
			}
		}
		return some
	}
	equal(e, list(journal.SummaryFilter{}), want[:100])
	equal(e, list(journal.SummaryFilter{Limit: 5000}), want)
	equal(e, list(journal.SummaryFilter{Agent: "research", Limit: 200}), where(func(s cairn.Summary) bool { return s.Agent == "research" }))
	equal(e, list(journal.SummaryFilter{Status: []cairn.Status{cairn.StatusIdle, cairn.StatusWaiting}, Limit: 200}),
		where(func(s cairn.Summary) bool { return s.Status != cairn.StatusRunning }))
	equal(e, list(journal.SummaryFilter{Status: []cairn.Status{cairn.StatusFailed}}), nil)

	filter := journal.SummaryFilter{Agent: "support", Status: []cairn.Status{cairn.StatusIdle}, Limit: 7}
	var paged []cairn.Summary
	for {
		page := list(filter)
		if len(page) == 0 {
			break
		}
		paged = append(paged, page...)
		filter.Before = page[len(page)-1].Session.ID
	}
	equal(e, paged, where(func(s cairn.Summary) bool { return s.Agent == "support" && s.Status == cairn.StatusIdle }))

	_, err := e.s.Summary(ctx, key(n))
	e.is(err, journal.ErrNotFound)
}

func asks(e *env) {
	ctx := e.Context()
	a := e.join(ttl)
	const n = 60
	e.asked(a, key(1), n)
	e.asked(a, key(2), n)
	var want, closed []journal.AskRow
	for s := 1; s <= 2; s++ {
		for i := 1; i <= n; i++ {
			row := ask(key(s), i)
			if i%5 == 0 {
				d := closing(key(s), i)
				e.ok(e.s.Deliver(ctx, letter(key(s), fmt.Sprint("yes ", i), "yes"), &d))
				row.Status, row.By, row.Decided = d.Status, d.By, d.At
				closed = append(closed, row)
			} else {
				want = append(want, row)
			}
		}
	}
	list := func(f journal.AskFilter) []journal.AskRow {
		e.Helper()
		page, err := e.s.Asks(ctx, acme, f)
		e.ok(err)
		return page
	}
	equal(e, list(journal.AskFilter{Limit: 1000}), want)
	equal(e, list(journal.AskFilter{Status: cairn.AskOpen, Limit: 2000}), want)
	equal(e, list(journal.AskFilter{Status: cairn.AskApproved}), closed)
	equal(e, list(journal.AskFilter{Status: cairn.AskRejected}), nil)
	equal(e, list(journal.AskFilter{Session: key(2).ID}), want[len(want)/2:])
	equal(e, list(journal.AskFilter{Session: key(9).ID}), nil)
	equal(e, len(list(journal.AskFilter{})), min(100, len(want)))
	for _, session := range []cairn.SessionID{"", key(2).ID} {
		filter := journal.AskFilter{Session: session, Limit: 11}
		var paged []journal.AskRow
		for {
			page := list(filter)
			if len(page) == 0 {
				break
			}
			paged = append(paged, page...)
			filter.After = page[len(page)-1].Ask.ID
		}
		equal(e, paged, slices.DeleteFunc(slices.Clone(want), func(r journal.AskRow) bool { return session != "" && r.Session.ID != session }))
	}
	equal(e, list(journal.AskFilter{After: closed[0].Ask.ID, Limit: 1}), want[4:5]) // after one that is closed by now
}

func totals(e *env) {
	a := e.join(ttl)
	usage := cairn.Usage{Input: 1, CacheRead: 10, CacheWrite5m: 100, CacheWrite1h: 1000, Output: 10_000, Reasoning: 100_000}
	want := map[string]*journal.Total{}
	for i := range 5 {
		c := e.started(a, key(i))
		s := summary(key(i))
		s.Agent = []string{"support", "research"}[i%2]
		for range i + 1 {
			s.Usage, s.Cost, s.Reserved = s.Usage.Add(usage), s.Cost+7*cairn.Dollar, cairn.Money(i)
		}
		e.commit(journal.Commit{Claim: c, Summary: &s})
		v := want[s.Agent]
		if v == nil {
			v = &journal.Total{Agent: s.Agent}
			want[s.Agent] = v
		}
		v.Sessions++
		v.Usage, v.Cost, v.Reserved = v.Usage.Add(s.Usage), v.Cost+s.Cost, v.Reserved+s.Reserved
	}
	got, err := e.s.Totals(e.Context(), acme)
	e.ok(err)
	equal(e, got, []journal.Total{*want["research"], *want["support"]})
	got, err = e.s.Totals(e.Context(), "nobody")
	e.ok(err)
	equal(e, got, nil)
}

func catalog(e *env) {
	ctx := e.Context()
	version := func(name string, n int) journal.AgentVersion {
		data := fmt.Appendf(nil, `{"name":%q,"version":%d}`, name, n)
		return journal.AgentVersion{Name: name, Digest: cairn.DigestOf(data), Created: epoch.Add(time.Duration(n) * time.Hour), Data: data}
	}
	is := func(digest cairn.Digest, want journal.AgentVersion) {
		e.Helper()
		got, err := e.s.Agent(ctx, acme, "support", digest)
		e.ok(err)
		equal(e, got, want)
	}
	put := func(v journal.AgentVersion) {
		e.Helper()
		e.ok(e.s.PutAgent(ctx, acme, v))
	}
	_, err := e.s.Agent(ctx, acme, "support", "")
	e.is(err, journal.ErrNotFound)
	one, two, other := version("support", 1), version("support", 2), version("research", 1)
	put(one)
	put(other)
	is("", one)
	put(two)
	is("", two)
	is(one.Digest, one)
	all, err := e.s.Agents(ctx, acme)
	e.ok(err)
	equal(e, all, []journal.AgentVersion{other, two})

	back := one // the first again: only which one is current changes
	back.Created = epoch.Add(99 * time.Hour)
	put(back)
	is("", one)
	is(two.Digest, two)
	_, err = e.s.Agent(ctx, acme, "support", cairn.DigestOf(nil))
	e.is(err, journal.ErrNotFound)

	show := func(v journal.AgentVersion) string {
		return fmt.Sprintf("%s %s %s", v.Name, v.Digest, v.Created.UTC().Format(time.RFC3339))
	}
	versions := func(t cairn.TenantID, name string, limit int, want ...journal.AgentVersion) {
		e.Helper()
		list, err := e.s.Versions(ctx, t, name, limit)
		e.ok(err)
		var got, expected []string
		for _, v := range list {
			if got = append(got, show(v)); len(v.Data) > 0 {
				e.Fatalf("the list has the definition of %s", show(v))
			}
		}
		for _, v := range want {
			expected = append(expected, show(v))
		}
		equal(e, got, expected)
	}
	versions(acme, "support", 10, two, one) // the one that was put again stays what it was
	versions(acme, "support", 1, two)
	versions(acme, "research", 10, other)
	versions(acme, "nobody", 10)
	versions("nobody", "support", 10)
}

func snapshots(e *env) {
	ctx := e.Context()
	e.start(key(1))
	_, err := e.s.Snapshot(ctx, key(1), 1)
	e.is(err, journal.ErrNotFound)
	put := func(seq cairn.Seq, fold int, data string) {
		e.Helper()
		e.ok(e.s.PutSnapshot(ctx, key(1), journal.Snapshot{Seq: seq, Fold: fold, Data: []byte(data)}))
	}
	put(10, 1, "ten")
	put(20, 1, "twenty")
	put(15, 1, "late")
	put(12, 2, "of a newer fold")
	got, err := e.s.Snapshot(ctx, key(1), 1)
	e.ok(err)
	equal(e, got, journal.Snapshot{Seq: 20, Fold: 1, Data: []byte("twenty")})
	got, err = e.s.Snapshot(ctx, key(1), 2)
	e.ok(err)
	equal(e, got, journal.Snapshot{Seq: 12, Fold: 2, Data: []byte("of a newer fold")})
	_, err = e.s.Snapshot(ctx, key(1), 3)
	e.is(err, journal.ErrNotFound)
	_, err = e.s.Snapshot(ctx, key(2), 1)
	e.is(err, journal.ErrNotFound)
}

// tenants: two tenants use the same names for everything and never meet.
func tenants(e *env) {
	ctx := e.Context()
	const other cairn.TenantID = "other"
	a := e.join(ttl)
	k := key(1)
	twin := cairn.SessionKey{Tenant: other, ID: k.ID}
	budgets := []cairn.SharedBudget{{ID: "agent:support", Limit: 10}}
	e.asked(a, k, 1)
	e.ok(e.s.Draw(ctx, journal.Draw{Tenant: acme, ID: "d", Budgets: budgets, Amount: 10}))
	e.ok(e.s.PutAgent(ctx, acme, journal.AgentVersion{Name: "support", Digest: "sha256:1", Created: epoch, Data: []byte("{}")}))
	e.ok(e.s.PutSnapshot(ctx, k, journal.Snapshot{Seq: 1, Fold: 1, Data: []byte("s")}))

	// Nothing of it is to be seen.
	nothing := func(_ any, err error) {
		e.Helper()
		e.is(err, journal.ErrNotFound)
	}
	nothing(e.s.Summary(ctx, twin))
	nothing(e.s.Inbox(ctx, twin, 1))
	nothing(e.s.Ask(ctx, other, ask(k, 1).Ask.ID))
	nothing(e.s.Agent(ctx, other, "support", ""))
	nothing(e.s.Agent(ctx, other, "support", "sha256:1"))
	nothing(e.s.Snapshot(ctx, twin, 1))
	for _, err := range e.s.Load(ctx, twin, 0) {
		e.is(err, journal.ErrNotFound)
	}
	again := journal.Filter{Fold: 1, Again: &twin}
	nothing(e.s.Claim(ctx, a, again, 1))
	equal(e, e.entries(other, 0), nil)
	list, err := e.s.Summaries(ctx, other, journal.SummaryFilter{})
	e.ok(err)
	equal(e, list, nil)
	rows, err := e.s.Asks(ctx, other, journal.AskFilter{})
	e.ok(err)
	equal(e, rows, nil)
	agents, err := e.s.Agents(ctx, other)
	e.ok(err)
	equal(e, agents, nil)
	sums, err := e.s.Totals(ctx, other)
	e.ok(err)
	equal(e, sums, nil)
	drawn, err := e.s.Budget(ctx, other, "agent:support")
	e.ok(err)
	equal(e, drawn, 0)

	// Nor can it be reached.
	d := closing(k, 1)
	d.Session = twin
	e.is(e.s.Deliver(ctx, letter(twin, "yes", "yes"), &d), journal.ErrNotFound)
	e.is(e.s.PutSnapshot(ctx, twin, journal.Snapshot{Seq: 9, Fold: 1}), journal.ErrNotFound)

	// And the names are free.
	e.asked(a, twin, 1)
	e.ok(e.s.Deliver(ctx, letter(twin, "yes", "yes"), &d))
	row, err := e.s.Ask(ctx, acme, d.ID)
	e.ok(err)
	equal(e, row.Status, cairn.AskOpen)
	e.ok(e.s.Draw(ctx, journal.Draw{Tenant: other, ID: "d", Budgets: budgets, Amount: 3}))
	e.ok(e.s.PutAgent(ctx, other, journal.AgentVersion{Name: "support", Digest: "sha256:2", Created: epoch, Data: []byte("[]")}))
	e.ok(e.s.PutSnapshot(ctx, twin, journal.Snapshot{Seq: 7, Fold: 1, Data: []byte("t")}))
	drawn, err = e.s.Budget(ctx, acme, "agent:support")
	e.ok(err)
	equal(e, drawn, 10)
	v, err := e.s.Agent(ctx, acme, "support", "")
	e.ok(err)
	equal(e, v.Digest, "sha256:1")
	snap, err := e.s.Snapshot(ctx, k, 1)
	e.ok(err)
	equal(e, snap.Seq, 1)
	equal(e, len(e.entries(acme, 0)), 1)
	equal(e, len(e.entries(other, 0)), 1)
	list, err = e.s.Summaries(ctx, other, journal.SummaryFilter{})
	e.ok(err)
	equal(e, list, []cairn.Summary{summary(twin)})

	// A commit of one tenant sends to its own sessions only, because a letter
	// names its tenant; a claim takes from all.
	e.ok(e.s.Deliver(ctx, letter(k, "more", "more"), nil))
	got := map[cairn.SessionKey]bool{}
	for _, c := range e.due(a, 5) {
		got[c.Session] = true
	}
	equal(e, got, map[cairn.SessionKey]bool{k: true, twin: true})
}

// closed: a closed store answers ErrClosed, and ends what waits.
func closed(e *env) {
	ctx := e.Context()
	a := e.join(ttl)
	c := e.started(a, key(1))
	waiting := make(chan error, 1)
	go func() {
		_, err := e.s.Claim(ctx, a, journal.Filter{Fold: 1}, 1)
		waiting <- err
	}()
	posted := make(chan struct{})
	go func() {
		defer close(posted)
		for range e.s.Mail(ctx, a) {
			continue
		}
	}()
	e.settle()
	e.ok(e.s.Close())
	e.ok(e.s.Close())
	e.is(<-waiting, journal.ErrClosed)
	<-posted
	is := func(_ any, err error) {
		e.Helper()
		e.is(err, journal.ErrClosed)
	}
	is(e.s.Beat(ctx, a, ttl))
	is(e.s.Claim(ctx, a, journal.Filter{Fold: 1}, 1))
	is(e.s.Claim(ctx, a, journal.Filter{Fold: 1, Again: &c.Session}, 1))
	is(e.s.Inbox(ctx, key(1), 1))
	is(nil, e.s.Deliver(ctx, letter(key(1), "x", "x"), nil))
	is(e.s.Commit(ctx, journal.Commit{Claim: c, Frame: frame(1, 1, "x")}))
	is(nil, e.s.Draw(ctx, journal.Draw{Tenant: acme, ID: "d"}))
	is(e.s.Summary(ctx, key(1)))
	is(e.s.Summaries(ctx, acme, journal.SummaryFilter{}))
	is(e.s.Ask(ctx, acme, "ask_1"))
	is(e.s.Asks(ctx, acme, journal.AskFilter{}))
	is(e.s.Budget(ctx, acme, "b"))
	is(e.s.Totals(ctx, acme))
	is(nil, e.s.PutAgent(ctx, acme, journal.AgentVersion{Name: "a", Digest: "sha256:1"}))
	is(e.s.Agent(ctx, acme, "a", ""))
	is(e.s.Agents(ctx, acme))
	is(nil, e.s.PutSnapshot(ctx, key(1), journal.Snapshot{}))
	is(e.s.Snapshot(ctx, key(1), 1))
	for _, err := range e.s.Load(ctx, key(1), 0) {
		is(nil, err)
	}
	for _, err := range e.s.Tail(ctx, acme, 0) {
		is(nil, err)
	}
}

// cancelled: with a context that is over, nothing is done.
func cancelled(e *env) {
	ctx, cancel := context.WithCancel(e.Context())
	cancel()
	a := e.join(ttl)
	c := e.started(a, key(1))
	_, err := e.s.Commit(ctx, journal.Commit{Claim: c, Frame: frame(1, 1, "x"), Taken: []string{"start"}})
	e.is(err, context.Canceled)
	e.is(e.s.Deliver(ctx, letter(key(1), "x", "x"), nil), context.Canceled)
	e.is(e.s.Draw(ctx, journal.Draw{Tenant: acme, ID: "d"}), context.Canceled)
	_, err = e.s.Claim(ctx, a, journal.Filter{Fold: 1}, 1)
	e.is(err, context.Canceled)
	for range e.s.Mail(ctx, a) {
		e.Fatal("mail")
	}
	for _, err := range e.s.Load(ctx, key(1), 0) {
		e.is(err, context.Canceled)
	}
	equal(e, e.frames(key(1), 0), nil)
	equal(e, e.inbox(key(1)), []string{"start"})
}
