package effectserver_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cairn-run/cairn/internal/effectserver"
)

// TestMain lets the test binary be the server that is killed.
func TestMain(m *testing.M) {
	if os.Getenv("EFFECTSERVER_CHILD") == "" {
		os.Exit(m.Run())
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	code := effectserver.Main(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

func spawn(t *testing.T, args ...string) *effectserver.Process {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, args...) //nolint:noctx // ended by Kill
	cmd.Env = append(os.Environ(), "EFFECTSERVER_CHILD=1")
	p, err := effectserver.Spawn(t.Context(), cmd)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// serve runs a server in this process.
func serve(t *testing.T, file string, opt effectserver.Options) effectserver.Client {
	t.Helper()
	s, err := effectserver.Open(t.Context(), file, opt)
	if err != nil {
		t.Fatal(err)
	}
	h := httptest.NewServer(s)
	t.Cleanup(func() {
		h.Close()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return effectserver.Client{Base: h.URL}
}

func file(t *testing.T) string { return filepath.Join(t.TempDir(), "effects.jsonl") }

// post asks for an effect; status 0: the connection broke.
func post(t *testing.T, c effectserver.Client, class, key, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, c.Base+"/effect/"+class, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	// Go's client sends a request with an Idempotency-Key again by itself when a
	// connection breaks, unless it cannot read the body a second time.
	req.GetBody = nil
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	return do(t, req)
}

func get(t *testing.T, c effectserver.Client, path string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, c.Base+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	return do(t, req)
}

func do(t *testing.T, req *http.Request) (int, string) {
	t.Helper()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, ""
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, ""
	}
	return resp.StatusCode, strings.TrimSpace(string(b))
}

func report(t *testing.T, c effectserver.Client) effectserver.Report {
	t.Helper()
	r, err := c.Report(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestIdempotentOncePerKeyIrreversibleEveryTime(t *testing.T) {
	t.Parallel()
	c := serve(t, file(t), effectserver.Options{Settle: time.Millisecond})
	_, first := post(t, c, "idempotent", "k1", `{"a":1}`)
	_, again := post(t, c, "idempotent", "k1", `{"a":1}`)
	if first != again || first != `{"status":"done","id":"idempotent-1","key":"k1"}` {
		t.Errorf("first %s, again %s", first, again)
	}
	if status, _ := post(t, c, "idempotent", "k1", `{"a":2}`); status != 422 {
		t.Errorf("the key with another body: %d", status)
	}
	if status, _ := post(t, c, "idempotent", "", `{}`); status != 400 {
		t.Errorf("without a key: %d", status)
	}
	post(t, c, "irreversible", "k2", `{}`)
	if _, body := get(t, c, "/effect/by-key/k2"); body != `{"count":1,"key":"k2","status":"done"}` {
		t.Error(body)
	}
	post(t, c, "irreversible", "k2", `{}`)
	post(t, c, "irreversible", "", `{}`)
	if _, body := get(t, c, "/effect/by-key/"+url.PathEscape("no/such key")); body != `{"count":0,"key":"no/such key","status":"not_found"}` {
		t.Error(body)
	}
	if _, body := get(t, c, "/read/x"); body != `{"name":"x","value":"2d711642b726"}` {
		t.Error(body)
	}
	for attempt := range 2 {
		if err := c.Model(t.Context(), effectserver.ModelCall{Effect: "m", Attempt: attempt + 1, Session: "s"}); err != nil {
			t.Fatal(err)
		}
	}
	want := effectserver.Report{
		Effects: map[string]effectserver.EffectCount{
			"k1": {Class: "idempotent", Applied: 1, Repeats: 1},
			"k2": {Class: "irreversible", Applied: 2},
			"":   {Class: "irreversible", Applied: 1},
		},
		Models: map[string]effectserver.ModelCount{"m": {Session: "s", Calls: 2, Attempts: []int{1, 2}}},
		Reads:  1,
		Totals: effectserver.Totals{Applied: 4, Repeats: 1, Models: 2},
	}
	r := report(t, c)
	if diff := cmp.Diff(want, r); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"k2"}, r.Repeated("irreversible")); diff != "" {
		t.Error(diff)
	}
}

func TestConcurrentRequestsOfOneKeyApplyOnce(t *testing.T) {
	t.Parallel()
	c := serve(t, file(t), effectserver.Options{Faults: effectserver.Faults{Delay: 2 * time.Millisecond}})
	var wg sync.WaitGroup
	answers := make([]string, 16)
	for i := range answers {
		wg.Go(func() { _, answers[i] = post(t, c, "idempotent", "same", "{}") })
	}
	wg.Wait()
	for _, a := range answers {
		if a != answers[0] || a == "" {
			t.Errorf("answers differ: %q and %q", answers[0], a)
		}
	}
	if e := report(t, c).Effects["same"]; e.Applied != 1 || e.Repeats != 15 {
		t.Errorf("%+v", e)
	}
}

// TestFaultsFallTheSameWay deals the same faults to the same requests whatever
// the order, and counts what they did.
func TestFaultsFallTheSameWay(t *testing.T) {
	t.Parallel()
	const n = 120
	run := func(backwards bool) (string, effectserver.Report) {
		c := serve(t, file(t), effectserver.Options{Faults: effectserver.Faults{Seed: 7, Refuse: 0.2, Fail: 0.2, Lose: 0.2}})
		fates := make([]int, n)
		for i := range n {
			if backwards {
				i = n - 1 - i
			}
			fates[i], _ = post(t, c, "irreversible", fmt.Sprint(i), "{}")
		}
		return fmt.Sprint(fates), report(t, c)
	}
	fates, r := run(false)
	other, _ := run(true)
	if diff := cmp.Diff(fates, other); diff != "" {
		t.Error(diff)
	}
	count := func(status string) int { return strings.Count(" "+strings.Trim(fates, "[]")+" ", " "+status) }
	got := effectserver.Totals{Refused: count("429"), Failed: count("503"), Lost: count("0"), Applied: count("200") + count("0")}
	if diff := cmp.Diff(got, r.Totals); diff != "" {
		t.Errorf("what clients saw and what the server counted:\n%s", diff)
	}
	if r.Totals.Lost == 0 || r.Totals.Refused == 0 || r.Totals.Failed == 0 {
		t.Errorf("a fault never struck: %+v", r.Totals)
	}
}

func TestALostIdempotentReplyIsAnsweredByTheRepeat(t *testing.T) {
	t.Parallel()
	c := serve(t, file(t), effectserver.Options{Faults: effectserver.Faults{Lose: 1}})
	if status, _ := post(t, c, "idempotent", "k", "{}"); status != 0 {
		t.Fatalf("an answer came: %d", status)
	}
	if status, body := post(t, c, "idempotent", "k", "{}"); status != 200 || !strings.Contains(body, "idempotent-1") {
		t.Errorf("%d %s", status, body)
	}
	if e := report(t, c).Effects["k"]; e.Applied != 1 || e.Lost != 1 {
		t.Errorf("%+v", e)
	}
}

// TestTheQueryWaitsForWhatIsOnItsWay asks about a key whose request has arrived
// and is not applied yet: the answer is "done".
func TestTheQueryWaitsForWhatIsOnItsWay(t *testing.T) {
	t.Parallel()
	s, err := effectserver.Open(t.Context(), file(t), effectserver.Options{Faults: effectserver.Faults{Delay: 20 * time.Millisecond}, Settle: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	arrived, body := make(chan struct{}), make(chan string)
	go func() {
		<-arrived
		w := httptest.NewRecorder()
		s.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/effect/by-key/k", http.NoBody))
		body <- strings.TrimSpace(w.Body.String())
	}()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/effect/irreversible", signalReader{arrived})
	r.Header.Set("Idempotency-Key", "k")
	s.ServeHTTP(httptest.NewRecorder(), r)
	if got := <-body; got != `{"count":1,"key":"k","status":"done"}` {
		t.Error(got)
	}
}

// signalReader is an empty body that says when it is read.
type signalReader struct{ read chan struct{} }

func (r signalReader) Read([]byte) (int, error) { close(r.read); return 0, io.EOF }

// TestKilledServerForgetsNothing kills the server while it works: every effect
// that was answered is in its file.
func TestKilledServerForgetsNothing(t *testing.T) {
	t.Parallel()
	path := file(t)
	acked := map[string]string{}
	var mu sync.Mutex
	for round := range 3 {
		p := spawn(t, "-file", path)
		var wg sync.WaitGroup
		enough := make(chan struct{}, 1000)
		for g := range 4 {
			wg.Go(func() {
				for i := 0; ; i++ {
					key := fmt.Sprintf("%d-%d-%d", round, g, i)
					status, body := post(t, p.Client, "idempotent", key, "{}")
					if status != http.StatusOK {
						return
					}
					mu.Lock()
					acked[key] = body
					mu.Unlock()
					enough <- struct{}{}
				}
			})
		}
		for range 60 {
			<-enough
		}
		if err := p.Kill(); err != nil {
			t.Fatal(err)
		}
		wg.Wait()
	}
	p := spawn(t, "-file", path)
	r := report(t, p.Client)
	ids := map[string]bool{}
	for key, body := range acked {
		if e := r.Effects[key]; e.Applied != 1 {
			t.Errorf("%s: %+v", key, e)
		}
		if _, again := post(t, p.Client, "idempotent", key, "{}"); again != body {
			t.Errorf("%s: %q, and after the restart %q", key, body, again)
		}
		var a struct{ ID string }
		if err := json.Unmarshal([]byte(body), &a); err != nil || ids[a.ID] {
			t.Errorf("%s is there twice (%v)", a.ID, err)
		}
		ids[a.ID] = true
	}
	if err := p.Kill(); err != nil {
		t.Error(err)
	}
}

func TestWrongChancesAreRefused(t *testing.T) {
	t.Parallel()
	for _, f := range []effectserver.Faults{{Refuse: 1.1}, {Lose: -0.1}, {Refuse: 0.5, Fail: 0.5, Lose: 0.1}, {Delay: -1}} {
		if _, err := effectserver.Open(t.Context(), file(t), effectserver.Options{Faults: f}); err == nil {
			t.Errorf("%+v was accepted", f)
		}
	}
}
