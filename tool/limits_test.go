package tool_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/tool"
)

// within counts how many requests are being answered at once.
type within struct {
	now, most atomic.Int32
	came      chan struct{}
	hold      chan struct{}
}

func (w *within) ServeHTTP(http.ResponseWriter, *http.Request) {
	n := w.now.Add(1)
	for m := w.most.Load(); n > m && !w.most.CompareAndSwap(m, n); m = w.most.Load() {
	}
	w.came <- struct{}{}
	<-w.hold
	w.now.Add(-1)
}

func TestConcurrency(t *testing.T) {
	t.Parallel()
	w := &within{came: make(chan struct{}, 20), hold: make(chan struct{})}
	s := httptest.NewServer(w)
	t.Cleanup(s.Close)
	c := newCatalog(t)
	agent := func(limit int) *cairn.Agent { // two versions share the limit of a name
		return &cairn.Agent{
			Name: "x", Tools: []cairn.ToolSource{{HTTP: &cairn.HTTPTool{Name: "go", URL: s.URL}}},
			Effects: map[string]*cairn.EffectDecl{"go": {Concurrency: 3}}, Limits: cairn.Limits{Steps: limit},
		}
	}
	versions := []*cairn.Agent{agent(1), agent(2)}
	e := &cairn.ToolEffect{Tool: "go", Class: cairn.ClassRead, Args: json.RawMessage(`{}`)}
	var wait sync.WaitGroup
	for i := range 20 {
		wait.Go(func() {
			key := cairn.SessionKey{Tenant: "acme", ID: cairn.SessionID(fmt.Sprint("ses_", i))}
			if _, err := c.Call(t.Context(), key, versions[i%2], e, "eff_1", 1, tool.Watch{}); err != nil {
				t.Error(err)
			}
		})
	}
	for range 3 {
		<-w.came // as many as may
	}
	for range 20 {
		w.hold <- struct{}{}
	}
	wait.Wait()
	if most := w.most.Load(); most != 3 {
		t.Errorf("%d at once, want 3", most)
	}
}

// still is a driver that does nothing but wait; the limits are what is tried.
type still struct{ calls atomic.Int32 }

func (*still) Validate(*cairn.ToolSource) error                            { return nil }
func (*still) List(context.Context, tool.Target) ([]cairn.ToolSpec, error) { return nil, nil }
func (s *still) Call(ctx context.Context, _ tool.Call) (*cairn.ToolResult, error) {
	s.calls.Add(1)
	<-ctx.Done()
	return nil, &cairn.Error{Code: cairn.CodeCancelled}
}

func TestWaitingForAPlaceCanBeGivenUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := &still{}
		c := tool.New(tool.Options{HTTP: d})
		a := &cairn.Agent{
			Name: "x", Tools: []cairn.ToolSource{{HTTP: &cairn.HTTPTool{Name: "go"}}},
			Effects: map[string]*cairn.EffectDecl{"go": {Concurrency: 1}},
		}
		e := &cairn.ToolEffect{Tool: "go", Class: cairn.ClassIrreversible, Args: json.RawMessage(`{}`), Timeout: cairn.Duration(time.Hour)}
		first, stopFirst := context.WithCancel(t.Context())
		second, stopSecond := context.WithCancel(t.Context())
		errs := make(chan error, 3)
		go func() { _, err := c.Call(first, session, a, e, "eff_1", 1, tool.Watch{}); errs <- err }()
		synctest.Wait()
		go func() { _, err := c.Call(second, session, a, e, "eff_2", 1, tool.Watch{}); errs <- err }()
		synctest.Wait()
		stopSecond()
		if err, ok := errors.AsType[*cairn.Error](<-errs); !ok || !err.NotDone || err.Code != cairn.CodeCancelled {
			t.Errorf("the second: %+v", err)
		}
		stopFirst()
		if err, ok := errors.AsType[*cairn.Error](<-errs); !ok || err.NotDone || err.Code != cairn.CodeUnknown {
			t.Errorf("the first: %+v", err)
		}
		third, stopThird := context.WithCancel(t.Context())
		go func() { _, err := c.Call(third, session, a, e, "eff_3", 1, tool.Watch{}); errs <- err }()
		synctest.Wait()
		if n := d.calls.Load(); n != 2 {
			t.Errorf("%d calls were made, want 2: the place was not given back", n)
		}
		stopThird()
		if err := <-errs; err == nil {
			t.Error("the third was answered")
		}
	})
}

func TestRate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := &still{}
		c := tool.New(tool.Options{HTTP: d})
		a := &cairn.Agent{
			Name: "x", Tools: []cairn.ToolSource{{HTTP: &cairn.HTTPTool{Name: "go"}}},
			Effects: map[string]*cairn.EffectDecl{"go": {Rate: 1, Burst: 2}},
		}
		e := &cairn.ToolEffect{Tool: "go", Class: cairn.ClassRead, Args: json.RawMessage(`{}`), Timeout: cairn.Duration(time.Millisecond)}
		var wait sync.WaitGroup
		for range 10 {
			wait.Go(func() {
				_, err := c.Call(t.Context(), session, a, e, "eff_1", 1, tool.Watch{})
				if e, ok := errors.AsType[*cairn.Error](err); !ok || e.NotDone {
					t.Errorf("%v", err)
				}
			})
		}
		synctest.Wait()
		if n := d.calls.Load(); n != 2 {
			t.Errorf("%d calls at once, want the burst of 2", n)
		}
		// Time here is the test's own: it passes when everybody waits.
		<-time.After(3500 * time.Millisecond)
		synctest.Wait()
		if n := d.calls.Load(); n != 5 {
			t.Errorf("%d calls after 3.5 s, want 5", n)
		}
		wait.Wait()
	})
}

func TestQueueIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := tool.New(tool.Options{HTTP: &still{}})
		a := &cairn.Agent{
			Name: "x", Tools: []cairn.ToolSource{{HTTP: &cairn.HTTPTool{Name: "go"}}},
			Effects: map[string]*cairn.EffectDecl{"go": {Concurrency: 1}},
		}
		e := &cairn.ToolEffect{Tool: "go", Class: cairn.ClassRead, Args: json.RawMessage(`{}`), Timeout: cairn.Duration(time.Hour)}
		ctx, cancel := context.WithCancel(t.Context())
		var wait sync.WaitGroup
		for range 4097 { // one is made, the others wait
			wait.Go(func() { _, _ = c.Call(ctx, session, a, e, "eff_1", 1, tool.Watch{}) })
		}
		synctest.Wait()
		_, err := c.Call(ctx, session, a, e, "eff_1", 1, tool.Watch{})
		if e, ok := errors.AsType[*cairn.Error](err); !ok || e.Code != cairn.CodeRateLimited || !e.NotDone || !e.Retryable {
			t.Errorf("%v", err)
		}
		cancel()
		wait.Wait()
	})
}
