package mcp_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/tool"
	"github.com/cairn-run/cairn/tool/mcp"
	"github.com/cairn-run/cairn/tool/tooltest"
)

// Environment of a server that is this test binary, started anew.
const (
	modeEnv   = "CAIRN_TEST_MCP_MODE"
	ledgerEnv = "CAIRN_TEST_MCP_LEDGER"
)

func TestMain(m *testing.M) {
	if mode := os.Getenv(modeEnv); mode != "" {
		serveStdio(mode, os.Getenv(ledgerEnv))
		return
	}
	os.Exit(m.Run())
}

// serveStdio is a server process. The modes are ways to be a bad one.
func serveStdio(mode, ledger string) {
	ctx := context.Background()
	var out io.WriteCloser = os.Stdout
	switch mode {
	case "exit":
		fmt.Fprintln(os.Stderr, "cannot start")
		os.Exit(3)
	case "deaf":
		untilKilled()
	case "stubborn": // ends with SIGKILL only, and so does its child
		grandchild := exec.CommandContext(ctx, "sleep", "3600")
		if err := grandchild.Start(); err != nil {
			os.Exit(4)
		}
		if err := tooltest.Act(ctx, ledger, fmt.Sprint("pid ", grandchild.Process.Pid)); err != nil {
			os.Exit(4)
		}
	case "orphan": // goes on when its input ends
		if err := tooltest.Act(ctx, ledger, fmt.Sprint("pid ", os.Getpid())); err != nil {
			os.Exit(4)
		}
	case "owner": // not a server, but who starts one
		ownServer(ledger)
	case "noisy":
		out = noisy{out}
	case "environment":
		fmt.Fprintln(os.Stderr, "the token is", os.Getenv("TOKEN"))
	}
	s := newServer(func(key string) error { return tooltest.Act(ctx, ledger, key) }, func() { os.Exit(5) }, nil)
	switch mode {
	case "flood":
		add(s, "flood", nil, func(context.Context, *sdk.CallToolRequest) (*sdk.CallToolResult, error) {
			line := []byte(strings.Repeat("z", 1<<16) + "\n")
			for {
				if _, err := os.Stdout.Write(line); err != nil {
					os.Exit(6)
				}
			}
		})
	case "long":
		add(s, "long", nil, func(context.Context, *sdk.CallToolRequest) (*sdk.CallToolResult, error) {
			chunk := bytes.Repeat([]byte("z"), 1<<16)
			for {
				if _, err := os.Stdout.Write(chunk); err != nil {
					os.Exit(6)
				}
			}
		})
	case "environment":
		add(s, "environ", nil, func(context.Context, *sdk.CallToolRequest) (*sdk.CallToolResult, error) {
			return text(strings.Join(os.Environ(), "\n")), nil
		})
	case "changing":
		add(s, "change", nil, func(context.Context, *sdk.CallToolRequest) (*sdk.CallToolResult, error) {
			s.AddTool(&sdk.Tool{Name: tooltest.Write, Description: "something else", InputSchema: json.RawMessage(tooltest.Schema)},
				func(context.Context, *sdk.CallToolRequest) (*sdk.CallToolResult, error) { os.Exit(7); return nil, nil })
			return text("changed"), nil
		})
	}
	err := s.Run(ctx, &sdk.IOTransport{Reader: os.Stdin, Writer: out})
	switch mode {
	case "stubborn":
		signal.Ignore(syscall.SIGTERM)
		untilKilled()
	case "orphan":
		untilKilled()
	case "pid":
		if err := tooltest.Act(ctx, ledger, "ended"); err != nil {
			os.Exit(4)
		}
	}
	if err != nil && !errors.Is(err, io.EOF) {
		os.Exit(8)
	}
}

// untilKilled waits for a signal that nobody sends.
func untilKilled() {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGUSR1)
	<-c
}

// ownServer is a process that uses an MCP server and is then killed.
func ownServer(ledger string) {
	self, err := os.Executable()
	if err != nil {
		os.Exit(4)
	}
	at := target(&cairn.MCPServer{Command: []string{self}, Env: map[string]string{modeEnv: "orphan", ledgerEnv: ledger}})
	if _, err := mcp.New(mcp.Options{}).Call(context.Background(), call(at, tooltest.Write, "ready", cairn.ClassRead)); err != nil {
		os.Exit(4)
	}
	untilKilled()
}

// noisy writes what is no message around every message.
type noisy struct{ io.WriteCloser }

func (n noisy) Write(p []byte) (int, error) {
	noise := "starting up…\n\n{\"level\":\"info\"}\n{broken\n[1,2]\n" + strings.Repeat("x", 100_000) + "\n"
	if _, err := n.WriteCloser.Write([]byte(noise)); err != nil {
		return 0, err
	}
	return n.WriteCloser.Write(p)
}

func text(s string) *sdk.CallToolResult {
	return &sdk.CallToolResult{Content: []sdk.Content{&sdk.TextContent{Text: s}}}
}

func add(s *sdk.Server, name string, a *sdk.ToolAnnotations, h sdk.ToolHandler) {
	s.AddTool(&sdk.Tool{Name: name, Description: "tool " + name, InputSchema: json.RawMessage(tooltest.Schema), Annotations: a}, h)
}

// newServer is a target as the conformance suite wants it.
func newServer(act func(key string) error, crash func(), stop <-chan struct{}) *sdk.Server {
	s := sdk.NewServer(&sdk.Implementation{Name: "desk", Version: "1"}, nil)
	acting := func(then func(context.Context) *sdk.CallToolResult) sdk.ToolHandler {
		return func(ctx context.Context, r *sdk.CallToolRequest) (*sdk.CallToolResult, error) {
			key, _ := r.Params.Meta["cairn.run/idempotency-key"].(string)
			if err := act(key); err != nil {
				return nil, err
			}
			return then(ctx), nil
		}
	}
	add(s, tooltest.Echo, &sdk.ToolAnnotations{ReadOnlyHint: true}, func(_ context.Context, r *sdk.CallToolRequest) (*sdk.CallToolResult, error) {
		return text(string(r.Params.Arguments)), nil
	})
	add(s, tooltest.Fail, nil, func(context.Context, *sdk.CallToolRequest) (*sdk.CallToolResult, error) {
		r := text("no such charge")
		r.IsError = true
		return r, nil
	})
	add(s, tooltest.Write, &sdk.ToolAnnotations{IdempotentHint: true}, acting(func(context.Context) *sdk.CallToolResult { return text(`{"done":true}`) }))
	add(s, tooltest.Crash, nil, acting(func(context.Context) *sdk.CallToolResult { crash(); return text("") }))
	add(s, tooltest.Hang, nil, acting(func(ctx context.Context) *sdk.CallToolResult {
		select {
		case <-ctx.Done():
		case <-stop:
		}
		return text("")
	}))
	add(s, tooltest.Large, nil, acting(func(context.Context) *sdk.CallToolResult {
		return text(strings.Repeat("x", tooltest.LargeSize))
	}))
	return s
}

// stdioEntry starts this test binary as a server.
func stdioEntry(t testing.TB, mode string, ledger *tooltest.Ledger) tool.Target {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	env := map[string]string{modeEnv: mode}
	if ledger != nil {
		env[ledgerEnv] = ledger.URL
	}
	return target(&cairn.MCPServer{Command: []string{self}, Env: env})
}

func target(m *cairn.MCPServer) tool.Target {
	return tool.Target{Tenant: "acme", Agent: "desk", Digest: "sha256:1", Entry: &cairn.ToolSource{MCP: m}}
}

// web is a server over HTTP that can lose its sessions and break connections.
type web struct {
	*httptest.Server
	mu      sync.Mutex
	handler http.Handler
	fresh   func() http.Handler
	legacy  bool        // knows the protocol with sessions only
	status  int         // what tools/call is answered with, instead
	header  http.Header // of the last request
}

func newWeb(t testing.TB, ledger *tooltest.Ledger, legacy bool) *web {
	stop := make(chan struct{})
	w := &web{legacy: legacy}
	w.fresh = func() http.Handler {
		s := newServer(func(key string) error { ledger.Act(key); return nil }, func() {}, stop)
		return sdk.NewStreamableHTTPHandler(func(*http.Request) *sdk.Server { return s }, nil)
	}
	w.handler = w.fresh()
	w.Server = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		w.mu.Lock()
		handler, status := w.handler, w.status
		w.header = r.Header.Clone()
		w.mu.Unlock()
		var m struct {
			ID     json.RawMessage `json:"id"`
			Method string          `json:"method"`
			Params struct {
				Name string         `json:"name"`
				Meta map[string]any `json:"_meta"`
			} `json:"params"`
		}
		_ = json.Unmarshal(body, &m) // a GET or DELETE has none
		switch {
		case w.legacy && m.Method == "server/discover":
			rw.Header().Set("Content-Type", "application/json")
			_, _ = fmt.Fprintf(rw, `{"jsonrpc":"2.0","id":%s,"error":{"code":%d,"message":"no such method"}}`, m.ID, jsonrpc.CodeMethodNotFound)
		case m.Method == "tools/call" && m.Params.Name == tooltest.Crash:
			key, _ := m.Params.Meta["cairn.run/idempotency-key"].(string)
			ledger.Act(key)
			panic(http.ErrAbortHandler)
		case m.Method == "tools/call" && status != 0:
			rw.Header().Set("Retry-After", "3")
			rw.WriteHeader(status)
		default:
			handler.ServeHTTP(rw, r)
		}
	}))
	t.Cleanup(func() {
		close(stop)
		w.CloseClientConnections()
		w.Close()
	})
	return w
}

// restart forgets all sessions, as a server does that was started anew.
func (w *web) restart() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.handler = w.fresh()
}

func (w *web) answerWith(status int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.status = status
}

func (w *web) entry() tool.Target { return target(&cairn.MCPServer{URL: w.URL}) }

// soon bounds what must not take long.
func soon(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	t.Cleanup(cancel)
	return ctx
}
