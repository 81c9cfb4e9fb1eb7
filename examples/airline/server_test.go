package airline

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// TestMain lets the test binary be the desk's own process.
func TestMain(m *testing.M) {
	if os.Getenv("AIRLINE_CHILD") == "" {
		os.Exit(m.Run())
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	code := Main(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

func connect(t *testing.T, tr mcp.Transport) *mcp.ClientSession {
	t.Helper()
	s, err := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, nil).Connect(t.Context(), tr, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func mcpCall(t *testing.T, s *mcp.ClientSession, tool, args, key string) (string, bool, error) {
	t.Helper()
	r, err := s.CallTool(t.Context(), &mcp.CallToolParams{
		Meta: mcp.Meta{KeyMeta: key}, Name: tool, Arguments: json.RawMessage(args),
	})
	if err != nil {
		return "", false, err
	}
	return r.Content[0].(*mcp.TextContent).Text, r.IsError, nil
}

func child(t *testing.T, data string, more ...string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(exe, append([]string{"-db", recording(t), "-data", data}, more...)...) //nolint:noctx // ended by its caller
	c.Env = append(os.Environ(), "AIRLINE_CHILD=1")
	c.Stderr = os.Stderr
	return c
}

func TestDefinitionsAreThoseOfTheRecording(t *testing.T) {
	t.Parallel()
	db, _ := load(t)
	d := open(t, db, t.TempDir())
	defer func() { _ = d.Close() }()
	client, server := mcp.NewInMemoryTransports()
	if _, err := d.Server(ServerOptions{}).Connect(t.Context(), server, nil); err != nil {
		t.Fatal(err)
	}
	s := connect(t, client)
	defer func() { _ = s.Close() }()
	list, err := s.ListTools(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	var reads, writes []string
	for _, tool := range list.Tools {
		i := slices.IndexFunc(db.tools, func(d toolDef) bool { return d.Name == tool.Name })
		if i < 0 {
			t.Fatalf("%s was not recorded", tool.Name)
		}
		var want any
		if err := json.Unmarshal(db.tools[i].Parameters, &want); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, tool.InputSchema); diff != "" || tool.Description != db.tools[i].Description {
			t.Errorf("%s differs: %s", tool.Name, diff)
		}
		switch a := tool.Annotations; {
		case a.ReadOnlyHint && !a.IdempotentHint:
			reads = append(reads, tool.Name)
		case a.IdempotentHint && !a.ReadOnlyHint:
			writes = append(writes, tool.Name)
		}
	}
	if diff := cmp.Diff([]string{
		"calculate", "get_reservation_details", "get_user_details", "list_all_airports",
		"search_direct_flight", "search_onestop_flight", "think",
	}, reads); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{
		"book_reservation", "cancel_reservation", "send_certificate", "transfer_to_human_agents",
		"update_reservation_baggages", "update_reservation_flights", "update_reservation_passengers",
	}, writes); diff != "" {
		t.Error(diff)
	}
}

// TestOverHTTP replays some trajectories over streamable HTTP, at the same time,
// each at its own desk.
func TestOverHTTP(t *testing.T) {
	t.Parallel()
	db, all := load(t)
	desks := NewDesks(db, t.TempDir(), ServerOptions{})
	h := httptest.NewServer(desks)
	defer func() {
		h.Close()
		if err := desks.Close(); err != nil {
			t.Error(err)
		}
	}()
	var wg sync.WaitGroup
	for _, tr := range all[:8] {
		wg.Go(func() {
			s := connect(t, &mcp.StreamableClientTransport{Endpoint: h.URL + "/mcp/" + tr.Name})
			defer func() { _ = s.Close() }()
			for i, r := range tr.Results {
				text, _, err := mcpCall(t, s, r.Tool, r.Args, fmt.Sprint(i))
				if err != nil || text != r.Text && r.Tool != "get_user_details" {
					t.Errorf("%s, %s: %v\n got  %s\n want %s", tr.Name, r.Tool, err, text, r.Text)
				}
			}
		})
	}
	wg.Wait()
	for _, tr := range all[:8] {
		resp, err := fetch(t, h.URL+"/desks/"+tr.Name)
		if err != nil {
			t.Fatal(err)
		}
		var got State
		err = json.NewDecoder(resp.Body).Decode(&got)
		_ = resp.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		d := open(t, db, t.TempDir())
		for i, r := range tr.Results {
			call(t, d, r.Tool, r.Args, fmt.Sprint(i))
		}
		want, err := d.State()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want.Hash, got.Hash); diff != "" || len(want.Writes) != len(got.Writes) {
			t.Errorf("%s: %s", tr.Name, diff)
		}
		_ = d.Close()
	}
	for path, want := range map[string]int{"/desks/..%2fx": 404, "/mcp/a.b": 404} {
		resp, err := fetch(t, h.URL+path)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s: %s", path, resp.Status)
		}
	}
}

// TestKilledDeskGoesOn kills the desk's process in the middle of a trajectory,
// while a call is on its way, and asks for the same key again.
func TestKilledDeskGoesOn(t *testing.T) {
	t.Parallel()
	db, all := load(t)
	i := slices.IndexFunc(all, func(tr Trajectory) bool {
		return slices.ContainsFunc(tr.Results, func(r Result) bool { return r.Tool == "book_reservation" && r.Text[0] == '{' })
	})
	tr := all[i]
	data := t.TempDir()
	start := func() (*mcp.ClientSession, *exec.Cmd) {
		c := child(t, data, "-delay", "20ms")
		return connect(t, &mcp.CommandTransport{Command: c}), c
	}
	s, c := start()
	kills := 0
	for n, r := range tr.Results {
		if tools[r.Tool].keyed {
			kills++
			done := make(chan struct{})
			go func() {
				defer close(done)
				_, _, _ = mcpCall(t, s, r.Tool, r.Args, fmt.Sprint(n)) // it may come to an answer, or break off
			}()
			if kills%2 == 0 { // else the kill strikes wherever the call is
				<-done
			}
			if err := c.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			<-done
			_ = s.Close()
			s, c = start()
		}
		text, isError, err := mcpCall(t, s, r.Tool, r.Args, fmt.Sprint(n))
		if err != nil || text != r.Text && r.Tool != "get_user_details" {
			t.Errorf("%s: %v\n got  %s\n want %s", r.Tool, err, text, r.Text)
		}
		if want := len(r.Text) > 5 && r.Text[:5] == "Error"; isError != want {
			t.Errorf("%s: error %v, want %v", r.Text, isError, want)
		}
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	killed, whole := open(t, db, data), open(t, db, t.TempDir())
	for n, r := range tr.Results {
		call(t, whole, r.Tool, r.Args, fmt.Sprint(n))
	}
	if hash(t, killed) != hash(t, whole) {
		t.Error("the database differs from that of a desk that was not killed")
	}
	if diff := cmp.Diff(len(whole.Writes()), len(killed.Writes())); diff != "" || kills == 0 {
		t.Errorf("%d kills, writes: %s", kills, diff)
	}
	_, _ = killed.Close(), whole.Close()
}

// fetch gets a page of a test server, within the test's time.
func fetch(t *testing.T, url string) (*http.Response, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
	t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return nil, err
	}
	return http.DefaultClient.Do(req)
}
