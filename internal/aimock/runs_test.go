package aimock_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cairn-run/cairn"
	v1 "github.com/cairn-run/cairn/api/v1"
	"github.com/cairn-run/cairn/client"
	"github.com/cairn-run/cairn/internal/aimock"
	"github.com/cairn-run/cairn/internal/effectserver"
	"github.com/cairn-run/cairn/model"
	"github.com/cairn-run/cairn/model/anthropic"
	"github.com/cairn-run/cairn/model/google"
	"github.com/cairn-run/cairn/model/openai"
	"github.com/cairn-run/cairn/model/wire"
	"github.com/cairn-run/cairn/node"
)

const (
	runs    = 200
	workers = 24
	seed    = 3
	// stall is when a silent call is given up: long, because it counts from when
	// the request is begun, on a machine that does other things too.
	stall = 6 * time.Second
)

// rates are what every model here costs.
var rates = cairn.Rates{Input: 3 * cairn.Dollar, Output: 15 * cairn.Dollar}

// wires are the drivers, by provider.
func wires(url string, c *http.Client) map[string]model.Driver {
	at := func(name, path string) wire.Endpoint {
		return wire.Endpoint{Name: name, URL: url + path, Client: c}
	}
	return map[string]model.Driver{
		"chat":      openai.New(openai.Options{Endpoint: at("chat", "/v1"), API: openai.APIChat}),
		"responses": openai.New(openai.Options{Endpoint: at("responses", "/v1"), API: openai.APIResponses}),
		"anthropic": anthropic.New(anthropic.Options{Endpoint: at("anthropic", "")}),
		"google":    google.New(google.Options{Endpoint: at("google", "/v1beta")}),
	}
}

// priced adds what everything costs.
type priced struct{ model.Driver }

func (p priced) Info(ctx context.Context, name string) (cairn.ModelInfo, error) {
	info, err := p.Driver.Info(ctx, name)
	info.Prices, info.Priced, info.Table = cairn.Flat(rates), true, "test"
	return info, err
}

// order is what a run is about.
type order struct {
	name     string // order-007
	provider string
}

func (o order) model() string { return "m-" + o.name }

// turns is what the model says to an order, and what that uses.
func (o order) fixtures() []aimock.Fixture {
	args := func(format string, a ...any) json.RawMessage { return fmt.Appendf(nil, format, a...) }
	at := func(turn int, m aimock.Match, r aimock.Response) aimock.Fixture {
		u := usage(turn)
		m.UserMessage, r.Usage = o.name, &aimock.Usage{Prompt: u.Input, Completion: u.Output}
		return aimock.Fixture{Match: m, Response: r, ChunkSize: 6}
	}
	return []aimock.Fixture{
		at(0, aimock.Match{HasResult: new(bool)}, aimock.Response{Content: "I look at both.", Calls: []aimock.ToolCall{
			{Name: "look", Arguments: args(`{"name":%q}`, o.name)}, {Name: "look", Arguments: args(`{"name":"stock"}`)},
		}}),
		// The results are in the order of the calls, and those of an order that is shipped
		// have a number.
		at(1, aimock.Match{Result: `"stock"`}, aimock.Response{Calls: []aimock.ToolCall{{Name: "ship", Arguments: args(`{"order":%q}`, o.name)}}}),
		at(2, aimock.Match{Result: "irreversible-"}, aimock.Response{Content: "The order " + o.name + " is on its way."}),
	}
}

const turns = 3

func usage(turn int) cairn.Usage {
	return cairn.Usage{Input: int64(100 * (turn + 1)), Output: int64(10 + turn)}
}

// account is what the events of a session say.
type account struct {
	session  cairn.SessionID
	status   cairn.Status
	answer   string
	asked    int // attempts: model.requested
	failed   map[cairn.Code]int
	shipped  int // calls of the irreversible tool that were begun
	usage    cairn.Usage
	cost     cairn.Money
	paid     cairn.Money // of answers
	problems []string
}

func (a *account) problem(format string, args ...any) {
	a.problems = append(a.problems, fmt.Sprintf(format, args...))
}

// TestRuns: two hundred runs against a model server that fails in all the ways it
// can end right: each is completed, nothing is done twice, the calls that the
// server counted are the attempts that are in the journal, and the money adds up.
func TestRuns(t *testing.T) {
	t.Parallel()
	begin := time.Now()
	var orders []order
	fixtures := contexts()
	d := newDealer(seed)
	names := slices.Sorted(maps.Keys(wires("", nil)))
	for i := range runs {
		o := order{name: fmt.Sprintf("order-%03d", i), provider: names[i%len(names)]}
		orders = append(orders, o)
		fixtures = append(fixtures, o.fixtures()...)
	}
	server := aimock.Start(t, fixtures)

	effects, err := effectserver.Open(t.Context(), filepath.Join(t.TempDir(), "effects.jsonl"), effectserver.Options{})
	if err != nil {
		t.Fatal(err)
	}
	world := httptest.NewServer(effects)
	t.Cleanup(func() {
		world.Close()
		if err := effects.Close(); err != nil {
			t.Error(err)
		}
	})

	drivers := map[string]model.Driver{}
	for name, driver := range wires(server.URL, d.client()) {
		drivers[name] = priced{driver}
	}
	n := open(t, node.Options{Dir: t.TempDir(), Models: drivers, Guard: model.GuardOptions{Stall: stall}})

	jobs := make(chan order)
	var mu sync.Mutex
	accounts := map[string]*account{}
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for o := range jobs {
				a := run(t, n, o, world.URL)
				mu.Lock()
				accounts[o.name] = a
				mu.Unlock()
			}
		})
	}
	for _, o := range orders {
		jobs <- o
	}
	close(jobs)
	all.Wait()

	report, err := effectserver.Client{Base: world.URL}.Report(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	entries, err := server.Journal(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	counted := map[string]int{}
	statuses := map[int]int{}
	for _, e := range entries {
		name := e.Body.Model
		if _, after, ok := strings.Cut(e.Path, "/models/"); ok {
			name, _, _ = strings.Cut(after, ":")
		}
		counted[name]++
		statuses[e.Response.Status]++
	}
	asked := 0
	codes := map[cairn.Code]int{}
	for _, o := range orders {
		a := accounts[o.name]
		asked += a.asked
		for code, n := range a.failed {
			codes[code] += n
		}
		if got := counted[o.model()]; got != a.asked || d.sent(o.model()) != a.asked {
			a.problem("the journal has %d attempts, %d were sent, the server counted %d", a.asked, d.sent(o.model()), got)
		}
		a.check(o)
		for _, p := range a.problems {
			t.Errorf("%s (%s, %s): %s", o.name, o.provider, a.session, p)
		}
	}
	if len(entries) != asked {
		t.Errorf("the server counted %d calls, the journal has %d", len(entries), asked)
	}
	if twice := report.Repeated("irreversible"); len(twice) > 0 || report.Totals.Applied != runs || len(report.Effects) != runs {
		t.Errorf("%d orders were shipped with %d keys, %v more than once", report.Totals.Applied, len(report.Effects), twice)
	}
	if report.Reads < 2*runs {
		t.Errorf("%d reads", report.Reads)
	}
	for _, f := range []fault{drop, malformed, disconnect, limit, slow, cut, hang} {
		if d.dealt[f] == 0 {
			t.Errorf("no call had the fault %s", f)
		}
	}
	if codes[cairn.CodeCircuitOpen] > 0 {
		t.Errorf("%d calls were not made: %v", codes[cairn.CodeCircuitOpen], codes)
	}
	t.Logf("%d runs in %s: %d calls, faults %v, HTTP %v, failures %v", runs, time.Since(begin).Round(time.Millisecond), asked, d.dealt, statuses, codes)
}

// check compares what a run came to with what it should have.
func (a *account) check(o order) {
	if a.status != cairn.StatusCompleted || a.answer != "The order "+o.name+" is on its way." {
		a.problem("it is %s and said %q", a.status, a.answer)
	}
	if a.shipped != 1 {
		a.problem("it began to ship %d times", a.shipped)
	}
	var want cairn.Money
	for turn := range turns {
		want += rates.Cost(usage(turn))
	}
	if a.paid != want {
		a.problem("the answers cost %s, want %s", a.paid, want)
	}
}

// run runs an agent over an order and reads its journal.
func run(t *testing.T, n *node.Node, o order, world string) *account {
	t.Helper()
	a := &account{failed: map[cairn.Code]int{}}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	schema := json.RawMessage(`{"type":"object"}`)
	agent := &cairn.Agent{
		Name: o.name, Model: o.provider + "/" + o.model(), Instructions: "Ship orders.",
		Tools: []cairn.ToolSource{
			{HTTP: &cairn.HTTPTool{Name: "look", Description: "Looks.", Method: "GET", URL: world + "/read/{name}", InputSchema: schema}},
			{HTTP: &cairn.HTTPTool{Name: "ship", Description: "Ships.", URL: world + "/effect/irreversible", InputSchema: schema}},
		},
		Effects: map[string]*cairn.EffectDecl{"look": {Class: cairn.ClassRead}, "ship": {Class: cairn.ClassIrreversible}},
		Params:  cairn.Params{MaxOutput: 1000},
	}
	if _, _, err := n.Apply(ctx, cairn.DefaultTenant, agent); err != nil {
		a.problem("%v", err)
		return a
	}
	c := n.Client()
	s, err := c.CreateSession(ctx, v1.CreateSession{Agent: o.name, Input: v1.Text("Ship " + o.name + "."), Once: true})
	if err != nil {
		a.problem("%v", err)
		return a
	}
	a.session = s.ID
	for item, err := range c.Stream(ctx, s.ID, 0, client.UntilIdle()) {
		if err != nil {
			a.problem("%v", err)
			return a
		}
		if item.Event == nil {
			continue
		}
		e, err := item.Event.Cairn()
		if err != nil {
			a.problem("%v", err)
			return a
		}
		a.event(e)
	}
	s, err = c.Session(ctx, s.ID)
	if err != nil {
		a.problem("%v", err)
		return a
	}
	a.status = s.Status
	if diff := cmp.Diff(a.usage, s.Usage); diff != "" {
		a.problem("the events used something else than the session (-events +session): %s", diff)
	}
	if a.cost != s.Cost {
		a.problem("the events cost %s, the session %s", a.cost, s.Cost)
	}
	return a
}

func (a *account) event(e cairn.Event) {
	fail := func(err cairn.Error, u cairn.Usage, cost cairn.Money, status cairn.CostStatus) {
		a.failed[err.Code]++
		a.usage, a.cost = a.usage.Add(u), a.cost+cost
		switch {
		case err.NotDone && cost != 0:
			a.problem("a call that was turned away (%s) cost %s", err.Code, cost)
		case status == cairn.CostExact && cost != rates.Cost(u):
			a.problem("a failure cost %s for %+v", cost, u)
		case status == cairn.CostEstimated && cost == 0:
			a.problem("a failure of unknown cost (%s) is free", err.Code)
		}
	}
	switch d := e.Data.(type) {
	case cairn.ModelRequested:
		a.asked++
	case cairn.ModelRetried:
		fail(d.Error, d.Usage, d.Cost, d.Status)
	case cairn.ModelFailed:
		fail(d.Error, d.Usage, d.Cost, d.Status)
	case cairn.ModelCompleted:
		a.usage, a.cost, a.paid = a.usage.Add(d.Answer.Usage), a.cost+d.Cost, a.paid+d.Cost
		a.answer = cairn.TextOf(d.Answer.Content)
		if d.Status != cairn.CostExact || d.Cost != rates.Cost(d.Answer.Usage) {
			a.problem("an answer cost %s (%s) for %+v", d.Cost, d.Status, d.Answer.Usage)
		}
	case cairn.ToolCallStarted:
		a.shipped++
	}
}

// open opens a node and ends it with the test.
func open(t *testing.T, o node.Options) *node.Node {
	t.Helper()
	n, err := node.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := errors.Join(n.Drain(ctx), n.Close()); err != nil {
			t.Error(err)
		}
	})
	return n
}

// TestPinned: what is installed is what this package says it is, checked by its
// hash, and the lock file names no server.
func TestPinned(t *testing.T) {
	t.Parallel()
	lock, err := os.ReadFile(filepath.Join("npm", "package-lock.json"))
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := os.ReadFile(filepath.Join("npm", "package.json"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(manifest), `"@copilotkit/aimock": "`+aimock.Version+`"`) {
		t.Errorf("package.json does not pin version %s", aimock.Version)
	}
	if !strings.Contains(string(lock), `"version": "`+aimock.Version+`"`) || !strings.Contains(string(lock), `"integrity": "sha512-`) {
		t.Error("the lock file pins another version, or none")
	}
	if at := regexp.MustCompile(`https?://\S*`).FindString(string(lock)); at != "" {
		t.Errorf("the lock file names %s", at)
	}
}
