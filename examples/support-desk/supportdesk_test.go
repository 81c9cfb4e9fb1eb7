package supportdesk_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
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

	supportdesk "github.com/cairn-run/cairn/examples/support-desk"
	"github.com/cairn-run/cairn/internal/config"
	"github.com/cairn-run/cairn/model/script"
	"github.com/cairn-run/cairn/policy"
)

// TestMain lets the test binary be the shop's own process.
func TestMain(m *testing.M) {
	if os.Getenv("SUPPORTDESK_CHILD") == "" {
		os.Exit(m.Run())
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	code := supportdesk.Main(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

func ask(t *testing.T, method, url, key, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Idempotency-Key", key)
	req.GetBody = nil // else Go's client may send it again by itself
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

func TestWhatTheShopAnswers(t *testing.T) {
	t.Parallel()
	s, err := supportdesk.Open(t.Context(), filepath.Join(t.TempDir(), "ledger.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	h := httptest.NewServer(s.Handler(0))
	defer func() { h.Close(); _ = s.Close() }()
	const message = `{"customer":"cus_314","text":"Hello"}`
	for _, c := range []struct {
		method, path, key, body string
		status                  int
		want                    string
	}{
		{"GET", "/orders/1042", "", "", 200, `{"order":"1042","customer":"cus_314","item":"Espresso machine, steel","batch":"B-77","charge":"ch_9001","total_cents":18900}`},
		{"GET", "/customers/cus_314", "", "", 200, `{"customer":"cus_314","name":"Amira Haddad","email":"amira@example.com","tier":"gold"}`},
		{"GET", "/shipments/1043", "", "", 200, `{"order":"1043","carrier":"Nordpost","status":"in transit","note":""}`},
		{"GET", "/orders/1", "", "", 404, `{"error":"no such thing"}`},
		{"GET", "/refunds/by-key/k1", "", "", 200, `{"status":"not_found","refund":"","charge":"","amount_cents":0,"key":"k1"}`},
		{"POST", "/refunds", "k1", `{"charge":"ch_9001","amount_cents":900,"reason":"late"}`, 200, `{"status":"done","refund":"re_1","charge":"ch_9001","amount_cents":900,"reason":"late","key":"k1"}`},
		{"GET", "/refunds/by-key/k1", "", "", 200, `{"status":"done","refund":"re_1","charge":"ch_9001","amount_cents":900,"reason":"late","key":"k1"}`},
		// A refund is made every time: the key does not protect.
		{"POST", "/refunds", "k1", `{"charge":"ch_9001","amount_cents":900,"reason":"late"}`, 200, `{"status":"done","refund":"re_2","charge":"ch_9001","amount_cents":900,"reason":"late","key":"k1"}`},
		{"GET", "/charges/ch_9001", "", "", 200, `{"charge":"ch_9001","card":"visa 4242","paid_cents":18900,"refunded_cents":1800,"refundable_cents":17100}`},
		{"POST", "/refunds", "k2", `{"charge":"ch_9001","amount_cents":17101,"reason":"x"}`, 422, `{"error":"more than is left of the charge"}`},
		{"POST", "/refunds", "k2", `{"charge":"ch_9001","amount_cents":-1,"reason":"x"}`, 422, `{"error":"amount_cents must be more than 0"}`},
		{"POST", "/refunds", "k2", `{"charge":"ch_1","amount_cents":1}`, 404, `{"error":"no such thing"}`},
		{"POST", "/messages", "k3", message, 200, `{"status":"sent","message":"msg_1","customer":"cus_314","text":"Hello","key":"k3"}`},
		{"POST", "/messages", "k3", message, 200, `{"status":"sent","message":"msg_1","customer":"cus_314","text":"Hello","key":"k3"}`},
		{"POST", "/messages", "k3", `{"customer":"cus_314","text":"Bye"}`, 422, `{"error":"the Idempotency-Key was used for another message"}`},
	} {
		status, body := ask(t, c.method, h.URL+c.path, c.key, c.body)
		if diff := cmp.Diff(c.want, body); diff != "" || status != c.status {
			t.Errorf("%s %s: %d %s", c.method, c.path, status, diff)
		}
	}
	if status, _ := ask(t, "POST", h.URL+"/refunds", "", `{"sum":1}`); status != 400 {
		t.Errorf("an unknown field: %d", status)
	}
	if l := s.Ledger(); len(l.Refunds) != 2 || len(l.Messages) != 1 || l.Repeats != 1 {
		t.Errorf("%+v", l)
	}
}

// TestASlowRefundIsInTheLedgerBeforeItIsAnswered kills the shop after the refund
// was recorded and before it was answered.
func TestASlowRefundIsInTheLedgerBeforeItIsAnswered(t *testing.T) {
	t.Parallel()
	ledger := filepath.Join(t.TempDir(), "ledger.jsonl")
	shop, base := spawn(t, ledger, "1h")
	answered := make(chan int, 1)
	go func() {
		status, _ := ask(t, "POST", base+"/refunds", "k", `{"charge":"ch_9001","amount_cents":18900,"reason":"damaged"}`)
		answered <- status
	}()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		var l supportdesk.Ledger
		_, body := ask(t, "GET", base+"/ledger", "", "")
		if err := json.Unmarshal([]byte(body), &l); err != nil {
			t.Fatal(err)
		}
		if len(l.Refunds) == 1 {
			break
		}
		<-tick.C
	}
	if err := shop.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = shop.Wait()
	if status := <-answered; status != 0 {
		t.Errorf("answered with %d", status)
	}
	shop, base = spawn(t, ledger, "0s")
	if _, body := ask(t, "GET", base+"/refunds/by-key/k", "", ""); !strings.Contains(body, `"done"`) {
		t.Errorf("after the restart: %s", body)
	}
	if err := shop.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := shop.Wait(); err != nil {
		t.Error(err)
	}
}

func spawn(t *testing.T, ledger, slow string) (*exec.Cmd, string) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), exe, "-listen", "127.0.0.1:0", "-ledger", ledger, "-slow", slow)
	c.Env = append(os.Environ(), "SUPPORTDESK_CHILD=1")
	c.Stderr = os.Stderr
	out, err := c.StdoutPipe()
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return c, strings.TrimSpace(strings.TrimPrefix(line, "support desk on "))
}

func TestConcurrentRefundsKeepToTheCharge(t *testing.T) {
	t.Parallel()
	s, err := supportdesk.Open(t.Context(), filepath.Join(t.TempDir(), "ledger.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	var wg sync.WaitGroup
	for i := range 10 {
		wg.Go(func() {
			_, _ = s.Refund(t.Context(), supportdesk.Refund{Charge: "ch_9002", AmountCents: 2000, Key: fmt.Sprint(i)})
		})
	}
	wg.Wait()
	if l := s.Ledger(); len(l.Refunds) != 3 {
		t.Errorf("%d refunds of 2000 out of 7900", len(l.Refunds))
	}
}

// TestTheFilesFit reads the agent and its script and holds the policy against the
// calls the script makes.
func TestTheFilesFit(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("support.md")
	if err != nil {
		t.Fatal(err)
	}
	agent, err := config.ParseAgent("support.md", text)
	if err != nil {
		t.Fatal(err)
	}
	granted := map[string]bool{}
	for _, tool := range agent.Tools {
		granted[tool.HTTP.Name] = true
	}
	if _, err := script.Open("scripts").Info(t.Context(), "support"); err != nil {
		t.Fatal(err)
	}
	text, err = os.ReadFile(filepath.Join("scripts", "support.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	s, err := script.Parse("support.yaml", text)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range s.Replies {
		for _, c := range r.Calls {
			if !granted[c.Tool] {
				t.Errorf("the script calls %s, which the agent does not have", c.Tool)
			}
		}
	}
	rules, err := policy.Compile(agent.Policy)
	if err != nil {
		t.Fatal(err)
	}
	for call, want := range map[string]string{
		`get_order {"order":"1042"}`: "allow",
		`export_customers {}`:        "deny",
		`refund {"amount_cents":9999,"charge":"ch_9001","reason":"damaged in transit"}`:  "allow",
		`refund {"amount_cents":10000,"charge":"ch_9001","reason":"damaged in transit"}`: "ask",
		`refund {"amount_cents":18900,"charge":"ch_9001","reason":"damaged in transit"}`: "ask",
	} {
		tool, args, _ := strings.Cut(call, " ")
		if got, rule := rules.Decide(tool, []byte(args)); string(got) != want {
			t.Errorf("%s: %s by %q instead of %s", call, got, rule, want)
		}
	}
}
