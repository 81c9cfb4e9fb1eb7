// Command demo shows what Cairn is for, on this machine alone: a support agent
// (on the script model) works with a real tool server that has a ledger of its
// own; one call is denied, one is approved, the runtime is killed with SIGKILL in
// the middle of a refund, and carries on. It exits with 1 when anything was done
// twice, lost, or is not accounted for.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"time"

	"github.com/cairn-run/cairn"
	v1 "github.com/cairn-run/cairn/api/v1"
	"github.com/cairn-run/cairn/client"
)

const (
	example  = "examples/support-desk"
	shopAddr = "127.0.0.1:7718" // stands in support.md; the demo takes a free port
	patience = 30 * time.Second
)

func main() {
	bin := flag.String("cairn", "bin/cairn", "the cairn binary")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	err := run(ctx, *bin)
	cancel()
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// demo is the stage: a temporary directory and the processes in it.
type demo struct {
	ctx      context.Context
	bin, dir string
	shop     string // address of the tool server
	colour   bool
	running  []*exec.Cmd
}

func run(ctx context.Context, bin string) (err error) {
	d := &demo{ctx: ctx, colour: isTerminal(os.Stdout) && os.Getenv("NO_COLOR") == ""}
	if d.bin, err = filepath.Abs(bin); err != nil {
		return err
	}
	if d.dir, err = os.MkdirTemp("", "cairn-demo-"); err != nil {
		return err
	}
	defer func() {
		for _, c := range d.running {
			_ = c.Process.Kill() // it has ended already, or ends now
			_ = c.Wait()
		}
		err = errors.Join(err, os.RemoveAll(d.dir))
	}()
	if d.shop, err = freeAddr(ctx); err != nil {
		return err
	}
	agent, err := d.agentFile()
	if err != nil {
		return err
	}

	d.say("1. A tool server (orders, charges, refunds) with a durable ledger of its own, and a Cairn node.")
	shopBin := filepath.Join(d.dir, "shop")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", shopBin, "./"+example+"/server").CombinedOutput(); err != nil {
		return fmt.Errorf("build the tool server: %w\n%s", err, out)
	}
	// The shop answers a refund only after an hour, so the kill below strikes after
	// the money moved and before the runtime knows.
	shop, err := d.start(shopBin, "-listen", d.shop, "-ledger", filepath.Join(d.dir, "ledger.jsonl"), "-slow", "1h")
	if err != nil {
		return err
	}
	server, err := d.serve()
	if err != nil {
		return err
	}

	d.say("2. A customer writes. The agent reads three things at once, is denied one, and asks before it refunds.")
	if err := d.cairn("run", agent, "--once", "--input", "My order 1042 arrived damaged. Please refund it."); exitCode(err) != 3 {
		return fmt.Errorf("the run should wait for an approval (exit code 3): %w", err)
	}
	session, ask, err := d.waiting()
	if err != nil {
		return err
	}

	d.say("3. A person looks at the exact arguments, and approves.")
	if err := d.cairn("approve", ask); err != nil {
		return err
	}

	d.say("4. As soon as the shop has the refund in its ledger: kill -9 of the runtime.")
	if err := d.until("the refund is in the ledger", func() bool { n, err := d.refunds(); return err == nil && n == 1 }); err != nil {
		return err
	}
	if err := server.Process.Kill(); err != nil {
		return err
	}
	_ = server.Wait() // killed
	fmt.Println("   killed. The ledger has 1 refund; the runtime never got the answer.")
	if err := shop.Process.Kill(); err != nil {
		return err
	}
	_ = shop.Wait() // killed
	if _, err := d.start(shopBin, "-listen", d.shop, "-ledger", filepath.Join(d.dir, "ledger.jsonl")); err != nil {
		return err
	}

	if err := d.until("the shop answers again", func() bool { n, err := d.refunds(); return err == nil && n == 1 }); err != nil {
		return err
	}

	d.say("5. The node starts again. The refund is `unknown`: it is not repeated; the shop is asked what became of it.")
	if _, err := d.serve(); err != nil {
		return err
	}
	if err := d.cairn("attach", session); err != nil {
		return err
	}

	d.say("6. Timeline, effects and cost.")
	if err := d.cairn("show", session); err != nil {
		return err
	}
	return d.check(session)
}

// check holds what the runtime says against what the shop's ledger says.
func (d *demo) check(session string) error {
	n, err := d.refunds()
	if err != nil {
		return err
	}
	out, err := d.output("logs", session, "--json")
	if err != nil {
		return err
	}
	var cost cairn.Money
	seen := map[cairn.EventType]int{}
	var end *cairn.RunCompleted
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		var wire v1.Event
		if err := json.Unmarshal(lines.Bytes(), &wire); err != nil {
			return err
		}
		e, err := wire.Cairn()
		if err != nil {
			return err
		}
		seen[e.Type()]++
		switch data := e.Data.(type) {
		case cairn.ModelCompleted:
			cost += data.Cost
		case cairn.ModelRetried:
			cost += data.Cost
		case cairn.RunCompleted:
			end = &data
		}
	}
	var wrong []string
	expect := func(ok bool, what string) {
		mark := "ok "
		if !ok {
			mark, wrong = "NO ", append(wrong, what)
		}
		fmt.Println("   "+mark, what)
	}
	d.say("7. Checked against the shop's own ledger:")
	expect(n == 1, fmt.Sprintf("exactly 1 refund in the ledger (there are %d)", n))
	expect(seen["tool_call.unknown"] == 1 && seen["effect.reconciled"] == 1, "its lost outcome was recorded as unknown and settled by the reconcile query")
	expect(seen["tool_call.denied"] == 1, "the export of the customer list was denied")
	expect(seen["ask.opened"] == 1 && seen["ask.resolved"] == 1, "one approval was asked for and given")
	expect(end != nil && end.Final, "the session completed")
	expect(end != nil && end.Summary.Cost == cost && cost > 0, fmt.Sprintf("the cost in the summary is the sum of the recorded calls (%s)", cost))
	if len(wrong) > 0 {
		return fmt.Errorf("%d of 6 checks failed", len(wrong))
	}
	return nil
}

func (d *demo) say(s string) {
	if d.colour {
		s = "\x1b[1m" + s + "\x1b[0m"
	}
	fmt.Printf("\n%s\n\n", s)
}

// agentFile copies the agent file with the tool server's address in it.
func (d *demo) agentFile() (string, error) {
	b, err := os.ReadFile(filepath.Join(example, "support.md"))
	if err != nil {
		return "", fmt.Errorf("%w (run the demo at the top of the repository: make demo)", err)
	}
	path := filepath.Join(d.dir, "support.md")
	return path, os.WriteFile(path, []byte(strings.ReplaceAll(string(b), shopAddr, d.shop)), 0o600)
}

// start runs a process until the demo ends.
func (d *demo) start(name string, args ...string) (*exec.Cmd, error) {
	c := exec.CommandContext(d.ctx, name, args...)
	log, err := os.OpenFile(filepath.Join(d.dir, "processes.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	c.Stdout, c.Stderr = log, log
	err = errors.Join(c.Start(), log.Close())
	if err != nil {
		return nil, err
	}
	d.running = append(d.running, c)
	return c, nil
}

// serve starts the node and waits until it answers.
func (d *demo) serve() (*exec.Cmd, error) {
	c, err := d.start(d.bin, "--data", d.data(), "serve", "--listen", "", "--scripts", filepath.Join(example, "scripts"))
	if err != nil {
		return nil, err
	}
	// Asked over the socket: a command that finds no server would open the data
	// directory itself, without the scripts that the server is told of.
	node := client.Unix(filepath.Join(d.data(), "cairn.sock"), "")
	defer node.Close()
	return c, d.until("the node answers", func() bool {
		ctx, cancel := context.WithTimeout(d.ctx, time.Second)
		defer cancel()
		return node.Ready(ctx) == nil
	})
}

func (d *demo) data() string { return filepath.Join(d.dir, "data") }

// cairn runs a command of Cairn for all to see.
func (d *demo) cairn(args ...string) error {
	shown := strings.ReplaceAll(strings.Join(args, " "), d.dir+"/", "")
	fmt.Printf("   $ cairn %s\n", shown)
	c := exec.CommandContext(d.ctx, d.bin, append([]string{"--data", d.data()}, args...)...)
	pr, pw := io.Pipe()
	c.Stdout, c.Stderr = pw, pw
	done := make(chan struct{})
	go func() {
		defer close(done)
		for lines := bufio.NewScanner(pr); lines.Scan(); {
			fmt.Println("   " + lines.Text())
		}
	}()
	err := c.Run()
	_ = pw.Close() // always nil
	<-done
	if err != nil {
		return fmt.Errorf("cairn %s: %w", shown, err)
	}
	return nil
}

func (d *demo) output(args ...string) ([]byte, error) {
	out, err := exec.CommandContext(d.ctx, d.bin, append([]string{"--data", d.data()}, args...)...).Output()
	if err != nil {
		return nil, fmt.Errorf("cairn %s: %w", strings.Join(args, " "), err)
	}
	return out, nil
}

// waiting finds the one open ask.
func (d *demo) waiting() (session, ask string, err error) {
	out, err := d.output("asks", "--json")
	if err != nil {
		return "", "", err
	}
	var a v1.Ask
	if err := json.Unmarshal(bytes.SplitN(out, []byte("\n"), 2)[0], &a); err != nil {
		return "", "", err
	}
	return string(a.Session), string(a.ID), nil
}

// refunds counts the refunds in the shop's ledger.
func (d *demo) refunds() (int, error) {
	req, err := http.NewRequestWithContext(d.ctx, http.MethodGet, "http://"+d.shop+"/ledger", http.NoBody)
	if err != nil {
		return 0, err
	}
	resp, err := (&http.Client{Timeout: 5 * time.Second}).Do(req)
	if err != nil {
		return 0, err
	}
	defer func() { _ = resp.Body.Close() }()
	var ledger struct {
		Refunds []json.RawMessage `json:"refunds"`
	}
	err = json.NewDecoder(resp.Body).Decode(&ledger)
	return len(ledger.Refunds), err
}

// until waits for a condition.
func (d *demo) until(what string, ok func() bool) error {
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-d.ctx.Done():
			return d.ctx.Err()
		case <-deadline.C:
			log, _ := os.ReadFile(filepath.Join(d.dir, "processes.log")) // what there is
			return fmt.Errorf("waited %s in vain until %s\n%s", patience, what, log)
		case <-tick.C:
		}
	}
	return nil
}

func freeAddr(ctx context.Context) (string, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

func exitCode(err error) int {
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode()
	}
	return 0
}

func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
