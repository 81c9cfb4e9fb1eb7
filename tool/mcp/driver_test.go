package mcp_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/tool"
	"github.com/cairn-run/cairn/tool/mcp"
	"github.com/cairn-run/cairn/tool/tooltest"
)

func newDriver(t testing.TB, o mcp.Options) *mcp.Driver {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	d := mcp.New(o)
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

func nobody(t *testing.T) tool.Target {
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return target(&cairn.MCPServer{URL: "http://" + l.Addr().String()})
}

func TestConformanceStdio(t *testing.T) {
	t.Parallel()
	tooltest.Run(t, func(t *testing.T) *tooltest.Subject {
		ledger := tooltest.NewLedger(t)
		here := stdioEntry(t, "good", ledger)
		gone := target(&cairn.MCPServer{Command: []string{os.Args[0], "-test.run=^$"}}) // ends at once
		gone.Source = 1
		return &tooltest.Subject{
			Driver: newDriver(t, mcp.Options{}),
			Target: func(name string) (tool.Target, string) { return here, name },
			Nobody: gone, Ledger: ledger,
		}
	})
}

func TestConformanceHTTP(t *testing.T) {
	t.Parallel()
	for _, legacy := range []bool{false, true} {
		t.Run(fmt.Sprint("legacy=", legacy), func(t *testing.T) {
			t.Parallel()
			tooltest.Run(t, func(t *testing.T) *tooltest.Subject {
				ledger := tooltest.NewLedger(t)
				w := newWeb(t, ledger, legacy)
				gone := nobody(t)
				gone.Source = 1
				return &tooltest.Subject{
					Driver: newDriver(t, mcp.Options{}),
					Target: func(name string) (tool.Target, string) { return w.entry(), name },
					Nobody: gone, Ledger: ledger,
				}
			})
		})
	}
}

// TestNoProgram: a program that cannot be started is named, at once, and nobody
// tries again.
func TestNoProgram(t *testing.T) {
	t.Parallel()
	plain := t.TempDir() + "/plain"
	if err := os.WriteFile(plain, []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	d := newDriver(t, mcp.Options{})
	for i, program := range []string{"/nonexistent/server", "cairn-no-such-program", "./no/such/server", plain, t.TempDir(), plain + "/x"} {
		at := target(&cairn.MCPServer{Command: []string{program}})
		at.Source = i
		_, err := d.List(soon(t), at)
		e := errorOf(t, err)
		if e.Code != cairn.CodeInvalid || e.Retryable || !e.NotDone || !strings.Contains(e.Message, strconv.Quote(program)) {
			t.Errorf("%s: %+v", program, e)
		}
		_, err = d.Call(soon(t), call(at, "echo", "k", cairn.ClassRead))
		if e := errorOf(t, err); e.Retryable || !e.NotDone {
			t.Errorf("%s: %+v", program, e)
		}
	}
}

func call(at tool.Target, name, key string, class cairn.EffectClass) tool.Call {
	return tool.Call{
		Target: at, Session: "ses_1", Effect: "eff_1", Attempt: 1, Tool: name, Class: class,
		Args: []byte(`{"text":"a"}`), Key: key, MaxOutput: tool.DefaultMaxOutput,
	}
}

func errorOf(t *testing.T, err error) *cairn.Error {
	t.Helper()
	e, ok := errors.AsType[*cairn.Error](err)
	if !ok {
		t.Fatalf("%v is no *cairn.Error", err)
	}
	return e
}

func TestListing(t *testing.T) {
	t.Parallel()
	w := newWeb(t, tooltest.NewLedger(t), false)
	at := w.entry()
	at.Entry.MCP.Prefix = "desk_"
	d := newDriver(t, mcp.Options{})
	list, err := d.List(soon(t), at)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]cairn.EffectClass{}
	for _, s := range list {
		got[s.Name] = s.Class
	}
	want := map[string]cairn.EffectClass{
		"desk_echo": cairn.ClassRead, "desk_write": cairn.ClassIdempotent, "desk_fail": cairn.ClassIrreversible,
		"desk_crash": cairn.ClassIrreversible, "desk_hang": cairn.ClassIrreversible, "desk_large": cairn.ClassIrreversible,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	r, err := d.Call(soon(t), call(at, "desk_echo", "k", cairn.ClassRead))
	if err != nil || cairn.TextOf(r.Content) != `{"text":"a"}` {
		t.Errorf("%v %v", r, err)
	}
}

// TestLostSession: the server forgets its sessions between two calls. The
// protocol's 404 says that the call went no further, so it is made again even
// when it is irreversible, once.
func TestLostSession(t *testing.T) {
	t.Parallel()
	ledger := tooltest.NewLedger(t)
	w := newWeb(t, ledger, true)
	d := newDriver(t, mcp.Options{})
	if _, err := d.Call(soon(t), call(w.entry(), tooltest.Write, "1", cairn.ClassIrreversible)); err != nil {
		t.Fatal(err)
	}
	w.restart()
	if _, err := d.Call(soon(t), call(w.entry(), tooltest.Write, "2", cairn.ClassIrreversible)); err != nil {
		t.Fatal(err)
	}
	if n := ledger.Count("2"); n != 1 {
		t.Errorf("acted %d times", n)
	}
}

func TestHTTPStatuses(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]cairn.Error{
		429: {Code: cairn.CodeRateLimited, NotDone: true, Retryable: true, RetryAfter: cairn.Duration(3 * time.Second)},
		401: {Code: cairn.CodeAuth},
		503: {Code: cairn.CodeOverloaded, Retryable: true, RetryAfter: cairn.Duration(3 * time.Second)},
		400: {Code: cairn.CodeToolFailed},
	} {
		t.Run(strconv.Itoa(status), func(t *testing.T) {
			t.Parallel()
			w := newWeb(t, tooltest.NewLedger(t), false)
			w.answerWith(status)
			d := newDriver(t, mcp.Options{})
			_, err := d.Call(soon(t), call(w.entry(), tooltest.Write, "k", cairn.ClassIrreversible))
			got := *errorOf(t, err)
			got.Message, got.Err = "", nil
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
			w.answerWith(0)
			if _, err := d.Call(soon(t), call(w.entry(), tooltest.Write, "k2", cairn.ClassIrreversible)); err != nil {
				t.Errorf("the next call: %v", err)
			}
		})
	}
}

func TestHeadersReachTheServerAndNoError(t *testing.T) {
	t.Parallel()
	w := newWeb(t, tooltest.NewLedger(t), false)
	at := w.entry()
	at.Entry.MCP.Headers = map[string]string{"Authorization": "Bearer s3cret"}
	if _, err := newDriver(t, mcp.Options{}).List(soon(t), at); err != nil {
		t.Fatal(err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if got := w.header.Get("Authorization"); got != "Bearer s3cret" {
		t.Errorf("got %q", got)
	}
	away := nobody(t)
	away.Entry.MCP.URL += "/?key=s3cret"
	var log bytes.Buffer
	_, err := newDriver(t, mcp.Options{Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))}).List(soon(t), away)
	if err == nil || strings.Contains(err.Error(), "s3cret") || strings.Contains(log.String(), "s3cret") {
		t.Errorf("%v\n%s", err, log.String())
	}
}

// TestKilledDuringACall: a repeatable call is made again on a new process, any
// other is not.
func TestKilledDuringACall(t *testing.T) {
	t.Parallel()
	ledger := tooltest.NewLedger(t)
	d := newDriver(t, mcp.Options{})
	at := stdioEntry(t, "good", ledger)
	_, err := d.Call(soon(t), call(at, tooltest.Crash, "once", cairn.ClassIrreversible))
	if e := errorOf(t, err); e.NotDone || e.Code != cairn.CodeCut {
		t.Errorf("%+v", e)
	}
	if n := ledger.Count("once"); n != 1 {
		t.Errorf("the irreversible call acted %d times", n)
	}
	_, err = d.Call(soon(t), call(at, tooltest.Crash, "twice", cairn.ClassIdempotent))
	if e := errorOf(t, err); e.NotDone || !e.Retryable {
		t.Errorf("%+v", e)
	}
	if n := ledger.Count("twice"); n != 2 {
		t.Errorf("the idempotent call acted %d times, want 2", n)
	}
	if _, err := d.Call(soon(t), call(at, tooltest.Write, "after", cairn.ClassIrreversible)); err != nil {
		t.Errorf("the next call: %v", err)
	}
}

func TestNoiseIsPassedOver(t *testing.T) {
	t.Parallel()
	ledger := tooltest.NewLedger(t)
	r, err := newDriver(t, mcp.Options{}).Call(soon(t), call(stdioEntry(t, "noisy", ledger), tooltest.Echo, "k", cairn.ClassRead))
	if err != nil || cairn.TextOf(r.Content) != `{"text":"a"}` {
		t.Errorf("%v %v", r, err)
	}
}

func TestFloodIsCutOff(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"flood", "long"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			_, err := newDriver(t, mcp.Options{}).Call(soon(t), call(stdioEntry(t, mode, nil), mode, "k", cairn.ClassIrreversible))
			if e := errorOf(t, err); e.NotDone || e.Code != cairn.CodeCut {
				t.Errorf("%+v", e)
			}
		})
	}
}

func TestServerThatDoesNotStart(t *testing.T) {
	t.Parallel()
	d := newDriver(t, mcp.Options{})
	_, err := d.Call(soon(t), call(stdioEntry(t, "exit", nil), tooltest.Write, "k", cairn.ClassIrreversible))
	if e := errorOf(t, err); !e.NotDone || e.Code != cairn.CodeUnavailable {
		t.Errorf("%+v", e)
	}
}

// TestDeafServer: a server that says nothing holds a call up only as long as the
// call's own time allows, and is killed.
func TestDeafServer(t *testing.T) {
	t.Parallel()
	d := newDriver(t, mcp.Options{})
	ctx, cancel := contextWithTimeout(t, 300*time.Millisecond)
	defer cancel()
	_, err := d.Call(ctx, call(stdioEntry(t, "deaf", nil), tooltest.Write, "k", cairn.ClassIrreversible))
	if e := errorOf(t, err); !e.NotDone || e.Code != cairn.CodeTimeout {
		t.Errorf("%+v", e)
	}
}

func TestChangedDefinition(t *testing.T) {
	t.Parallel()
	ledger := tooltest.NewLedger(t)
	d := newDriver(t, mcp.Options{})
	at := stdioEntry(t, "changing", ledger)
	list, err := d.List(soon(t), at)
	if err != nil {
		t.Fatal(err)
	}
	c := call(at, tooltest.Write, "k", cairn.ClassIdempotent)
	for _, s := range list {
		if s.Name == c.Tool {
			c.Def = s.Digest
		}
	}
	if _, err := d.Call(soon(t), c); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Call(soon(t), call(at, "change", "k", cairn.ClassIdempotent)); err != nil {
		t.Fatal(err)
	}
	// A call that may be repeated trusts a list of some seconds ago, unless the
	// server says that it changed; a strict one asks.
	c.Class, c.Key = cairn.ClassIrreversible, "strict"
	waitUntil(t, func() bool {
		_, err = d.Call(soon(t), c)
		return err != nil
	})
	if e := errorOf(t, err); e.Code != cairn.CodePinMismatch || !e.NotDone {
		t.Errorf("%+v", e)
	}
	_, err = d.Call(soon(t), call(at, "nothing", "k", cairn.ClassRead))
	if e := errorOf(t, err); e.Code != cairn.CodePinMismatch || !e.NotDone {
		t.Errorf("a tool that is not there: %+v", e)
	}
}

func TestCloseEndsTheWholeGroup(t *testing.T) {
	t.Parallel()
	ledger := tooltest.NewLedger(t)
	d := newDriver(t, mcp.Options{})
	if _, err := d.Call(soon(t), call(stdioEntry(t, "stubborn", ledger), tooltest.Write, "k", cairn.ClassRead)); err != nil {
		t.Fatal(err)
	}
	pid := pidIn(t, ledger)
	if err := syscall.Kill(pid, 0); err != nil {
		t.Fatalf("there is no grandchild %d: %v", pid, err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	// The grandchild is killed; whoever inherits it may take a moment to reap it.
	waitUntil(t, func() bool { return ended(pid) })
	if _, err := d.Call(soon(t), call(stdioEntry(t, "good", ledger), tooltest.Write, "late", cairn.ClassRead)); !errorOf(t, err).NotDone {
		t.Errorf("after Close: %v", err)
	}
}

// pidIn is the process that wrote its number into the ledger.
func pidIn(t *testing.T, ledger *tooltest.Ledger) int {
	for _, key := range ledger.Keys() {
		if s, ok := strings.CutPrefix(key, "pid "); ok {
			pid, err := strconv.Atoi(s)
			if err != nil {
				t.Fatal(err)
			}
			return pid
		}
	}
	t.Fatal("no process wrote its number")
	return 0
}

func TestCloseStopsCalls(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]func(*tooltest.Ledger) tool.Target{
		"stdio": func(l *tooltest.Ledger) tool.Target { return stdioEntry(t, "good", l) },
		"http":  func(l *tooltest.Ledger) tool.Target { return newWeb(t, l, false).entry() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ledger := tooltest.NewLedger(t)
			d := newDriver(t, mcp.Options{})
			go func() {
				<-ledger.Acted("k")
				if err := d.Close(); err != nil {
					t.Error(err)
				}
			}()
			_, err := d.Call(soon(t), call(open(ledger), tooltest.Hang, "k", cairn.ClassIrreversible))
			if e := errorOf(t, err); e.NotDone {
				t.Errorf("%+v", e)
			}
		})
	}
}

func TestEnvironmentOfAServer(t *testing.T) {
	if err := os.Setenv("CAIRN_TEST_OUTER_SECRET", "outer"); err != nil { // t.Setenv forbids t.Parallel; the name is this test's alone
		t.Fatal(err)
	}
	t.Parallel()
	var log syncBuffer
	d := newDriver(t, mcp.Options{Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	at := stdioEntry(t, "environment", nil)
	at.Entry.MCP.Env["TOKEN"] = "s3cret-value"
	r, err := d.Call(soon(t), call(at, "environ", "k", cairn.ClassRead))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]bool{}
	for line := range strings.SplitSeq(cairn.TextOf(r.Content), "\n") {
		name, _, _ := strings.Cut(line, "=")
		got[name] = true
	}
	for name := range got {
		switch name {
		case "PATH", "HOME", "LANG", "TOKEN", modeEnv:
		default:
			t.Errorf("the server was given %s", name)
		}
	}
	if !got["TOKEN"] {
		t.Error("the server was not given what was declared")
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	waitUntil(t, func() bool { return strings.Contains(log.String(), "the token is") })
	if s := log.String(); strings.Contains(s, "s3cret-value") || !strings.Contains(s, "[redacted]") {
		t.Errorf("the log holds the secret:\n%s", s)
	}
}

func TestConnectionsAreBounded(t *testing.T) {
	t.Parallel()
	ledger := tooltest.NewLedger(t)
	w := newWeb(t, ledger, false)
	d := newDriver(t, mcp.Options{Connections: 2})
	at := func(source int) tool.Target {
		e := w.entry()
		e.Source = source
		return e
	}
	for i := range 5 { // each takes the place of the one that rests longest
		if _, err := d.Call(soon(t), call(at(i), tooltest.Echo, "k", cairn.ClassRead)); err != nil {
			t.Fatal(err)
		}
	}
	var wait sync.WaitGroup
	ctx, cancel := contextWithTimeout(t, time.Minute)
	for i := range 2 {
		wait.Go(func() {
			_, err := d.Call(ctx, call(at(10+i), tooltest.Hang, fmt.Sprint("busy", i), cairn.ClassRead))
			if err == nil {
				t.Error("answered")
			}
		})
		<-ledger.Acted(fmt.Sprint("busy", i))
	}
	_, err := d.Call(soon(t), call(at(20), tooltest.Echo, "k", cairn.ClassRead))
	if e := errorOf(t, err); e.Code != cairn.CodeUnavailable || !e.NotDone || !e.Retryable {
		t.Errorf("%+v", e)
	}
	cancel()
	wait.Wait()
}

func TestIdleConnectionIsClosed(t *testing.T) {
	t.Parallel()
	ledger := tooltest.NewLedger(t)
	d := newDriver(t, mcp.Options{Idle: 10 * time.Millisecond})
	at := stdioEntry(t, "pid", ledger)
	if _, err := d.Call(soon(t), call(at, tooltest.Write, "k", cairn.ClassRead)); err != nil {
		t.Fatal(err)
	}
	<-ledger.Acted("ended") // the server says so when its input is closed
}

func TestValidate(t *testing.T) {
	t.Parallel()
	d := newDriver(t, mcp.Options{})
	for field, m := range map[string]cairn.MCPServer{
		"":               {URL: "https://mcp.example.com/mcp", Prefix: "a_"},
		"mcp.url":        {URL: "stdio://x"},
		"mcp.prefix":     {URL: "https://mcp.example.com", Prefix: "a.b"},
		"mcp.env":        {URL: "https://mcp.example.com", Env: map[string]string{"A": "b"}},
		"mcp.env.A=":     {Command: []string{"x"}, Env: map[string]string{"A=": "b"}},
		"mcp.headers":    {Command: []string{"x"}, Headers: map[string]string{"A": "b"}},
		"mcp.headers.A":  {URL: "https://mcp.example.com", Headers: map[string]string{"A": "b\r\n"}},
		"mcp.command[0]": {Command: []string{" "}},
	} {
		err := d.Validate(&cairn.ToolSource{MCP: &m})
		f, _ := errors.AsType[*cairn.FieldError](err)
		if (field == "") != (err == nil) || (f != nil && f.Path != field) {
			t.Errorf("%q: %v", field, err)
		}
	}
}

func TestRedirectElsewhereIsRefused(t *testing.T) {
	t.Parallel()
	ledger := tooltest.NewLedger(t)
	other := newWeb(t, ledger, false)
	moved := http.NewServeMux()
	moved.Handle("/", http.RedirectHandler(other.URL, http.StatusTemporaryRedirect))
	s := newHTTPServer(t, moved)
	_, err := newDriver(t, mcp.Options{}).List(soon(t), target(&cairn.MCPServer{URL: s}))
	if e := errorOf(t, err); !e.NotDone {
		t.Errorf("%+v", e)
	}
	other.mu.Lock()
	defer other.mu.Unlock()
	if other.header != nil {
		t.Error("the other host was asked")
	}
}
