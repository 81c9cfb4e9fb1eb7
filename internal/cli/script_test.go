package cli_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/oklog/ulid/v2"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/cairn-run/cairn/internal/cli"
	"github.com/cairn-run/cairn/node"
)

// open opens a real node, as main does.
func open(ctx context.Context, o cli.NodeOptions) (cli.Node, error) {
	n, err := node.Open(ctx, node.Options{
		Dir: o.Dir, Listen: o.Listen, Hosts: o.Hosts, Origins: o.Origins, Socket: o.Socket, Logger: o.Logger,
		Scripts: o.Scripts, Providers: o.Providers, Token: o.Token, Version: o.Version, Paused: o.Paused, Wrap: o.Wrap, Sandbox: o.Sandbox,
	})
	if err != nil {
		return nil, err
	}
	return n, nil
}

// newKey makes the keys that main makes.
func newKey() string { return ulid.MustNew(ulid.Now(), rand.Reader).String() }

// outside is an Env whose process is the test.
func outside(getenv func(string) string, args ...string) cli.Env {
	return cli.Env{
		Args: args, Getenv: getenv, Stdin: strings.NewReader(""), Stdout: io.Discard, Stderr: io.Discard,
		Now: time.Now, Location: time.UTC, NewKey: newKey, Grace: 200 * time.Millisecond,
		Open: open, Version: "v0.0.0-test",
	}
}

// TestScripts runs the command line in this process, over real nodes and their
// data directories. Besides the commands of testscript there are:
//
//	cairn ARGS          run a command; it has to end with code 0
//	exits CODE ARGS     run a command; it has to end with this code
//	input FILE ARGS     run a command with a file as stdin
//	serve ARGS          start cairn serve and wait until it is ready
//	stop                send it SIGTERM; it has to end with code 0
//	answers A B         the answers in two lists of model.completed are the same
//	stamp FILE          replace @NAME@ in a file by the environment's NAME
func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireUniqueNames:  true,
		RequireExplicitExec: true,
		UpdateScripts:       os.Getenv("UPDATE_SCRIPTS") != "",
		Setup: func(e *testscript.Env) error {
			// The path of a unix socket has at most 108 bytes.
			data, err := os.MkdirTemp("", "cairn")
			if err != nil {
				return err
			}
			e.Defer(func() { _ = os.RemoveAll(data) })
			e.Setenv("CAIRN_DATA", filepath.Join(data, "d"))
			e.Setenv("NO_COLOR", "1")
			tools := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(io.LimitReader(r.Body, 1<<20))
				w.Header().Set("Content-Type", "application/json")
				fmt.Fprintf(w, `{"path":%q,"said":%q}`, r.URL.Path, body)
			}))
			e.Defer(tools.Close)
			e.Setenv("TOOLS", tools.URL)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"cairn": func(ts *testscript.TestScript, neg bool, args []string) {
				runCairn(ts, nil, func(code int) bool { return (code == 0) != neg }, args)
			},
			"exits": func(ts *testscript.TestScript, _ bool, args []string) {
				want, err := strconv.Atoi(args[0])
				ts.Check(err)
				runCairn(ts, nil, func(code int) bool { return code == want }, args[1:])
			},
			"input": func(ts *testscript.TestScript, neg bool, args []string) {
				in := strings.NewReader(ts.ReadFile(args[0]))
				runCairn(ts, in, func(code int) bool { return (code == 0) != neg }, args[1:])
			},
			"serve": startServe,
			"stop":  stopServe,
			"status": func(ts *testscript.TestScript, _ bool, args []string) {
				req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, ts.Getenv("LISTEN")+"/v1/ready", nil)
				ts.Check(err)
				req.Host = args[1]
				if len(args) > 2 {
					req.Header.Set("Origin", args[2])
				}
				resp, err := http.DefaultClient.Do(req)
				ts.Check(err)
				_ = resp.Body.Close()
				if got := strconv.Itoa(resp.StatusCode); got != args[0] {
					ts.Fatalf("%v: status %s", args, got)
				}
			},
			"answers": func(ts *testscript.TestScript, _ bool, args []string) {
				if diff := cmp.Diff(answers(ts, args[0]), answers(ts, args[1])); diff != "" {
					ts.Fatalf("%s and %s hold other answers: %s", args[0], args[1], diff)
				}
			},
			"stamp": func(ts *testscript.TestScript, _ bool, args []string) {
				text := ts.ReadFile(args[0])
				for _, name := range args[1:] {
					text = strings.ReplaceAll(text, "@"+name+"@", ts.Getenv(name))
				}
				ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(text), 0o644))
			},
		},
	})
}

// inDir makes the names of files in arguments absolute: the working directory of
// the process is not that of the script.
func inDir(ts *testscript.TestScript, args []string) []string {
	out := make([]string, len(args))
	for i, arg := range args {
		out[i] = arg
		name, at := strings.CutPrefix(arg, "@")
		if _, err := os.Stat(ts.MkAbs(name)); err == nil && name != "" && name != "-" {
			out[i] = ts.MkAbs(name)
			if at {
				out[i] = "@" + out[i]
			}
		}
	}
	return out
}

func runCairn(ts *testscript.TestScript, in io.Reader, ok func(int) bool, args []string) {
	env := outside(ts.Getenv, inDir(ts, args)...)
	if in != nil {
		env.Stdin = in
	}
	var out, errs bytes.Buffer
	env.Stdout, env.Stderr = &out, &errs
	code := cli.Run(context.Background(), env)
	_, _ = ts.Stdout().Write(out.Bytes())
	_, _ = ts.Stderr().Write(errs.Bytes())
	if !ok(code) {
		ts.Fatalf("cairn %s ended with code %d\n%s%s", strings.Join(args, " "), code, out.Bytes(), errs.Bytes())
	}
}

// served is a cairn serve that runs beside a script.
type served struct {
	signals chan os.Signal
	done    chan int
	stderr  *lockedBuffer
}

// servers are those of the scripts that run, by data directory.
var servers sync.Map

// answers are what models said in a list of events, one object a line.
func answers(ts *testscript.TestScript, file string) (all []string) {
	for line := range strings.Lines(ts.ReadFile(file)) {
		var e struct {
			Data struct {
				Answer json.RawMessage `json:"answer"`
				Cost   int64           `json:"cost"`
				Status string          `json:"cost_status"`
			} `json:"data"`
		}
		ts.Check(json.Unmarshal([]byte(line), &e))
		all = append(all, fmt.Sprint(string(e.Data.Answer), e.Data.Cost, e.Data.Status))
	}
	if len(all) == 0 {
		ts.Fatalf("%s holds no answers", file)
	}
	return all
}

func startServe(ts *testscript.TestScript, _ bool, args []string) {
	s := &served{signals: make(chan os.Signal, 1), done: make(chan int, 1), stderr: new(lockedBuffer)}
	ready, w := io.Pipe()
	env := outside(ts.Getenv, append([]string{"serve", "--json", "--listen", "127.0.0.1:0"}, inDir(ts, args)...)...)
	env.Signals, env.Stdout, env.Stderr = s.signals, w, s.stderr
	go func() {
		code := cli.Run(context.Background(), env)
		_ = w.Close()
		s.done <- code
	}()
	var at struct{ Listen, Token string }
	if err := json.NewDecoder(ready).Decode(&at); err != nil {
		ts.Fatalf("serve did not start: code %d\n%s", <-s.done, s.stderr)
	}
	go func() { _, _ = io.Copy(io.Discard, ready) }()
	ts.Setenv("LISTEN", "http://"+at.Listen)
	ts.Setenv("TOKEN", at.Token)
	servers.Store(ts.Getenv("CAIRN_DATA"), s)
	ts.Defer(func() { s.stop() })
}

func (s *served) stop() int {
	select {
	case s.signals <- syscall.SIGTERM:
	default:
	}
	code := <-s.done
	s.done <- code
	return code
}

func stopServe(ts *testscript.TestScript, _ bool, _ []string) {
	s, ok := servers.LoadAndDelete(ts.Getenv("CAIRN_DATA"))
	if !ok {
		ts.Fatalf("nothing serves")
	}
	if code := s.(*served).stop(); code != 0 {
		ts.Fatalf("serve ended with code %d\n%s", code, s.(*served).stderr)
	}
}

// lockedBuffer is a buffer that one goroutine writes and another reads.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return fmt.Sprint(l.b.String())
}
