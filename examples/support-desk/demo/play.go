package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/examples/stage"
	supportdesk "github.com/cairn-run/cairn/examples/support-desk"
)

// store is the tool server, a process of its own over a durable ledger.
type store struct {
	addr, ledger string
	cmd          *exec.Cmd
}

// start starts it; slow is waited between a refund's place in the ledger and its answer.
func (p *store) start(ctx context.Context, slow time.Duration) error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	p.cmd = exec.CommandContext(ctx, exe, "-listen", p.addr, "-ledger", p.ledger, "-slow", slow.String())
	p.cmd.Env = append(os.Environ(), asShop+"=1")
	p.cmd.Stderr = os.Stderr
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := p.cmd.Start(); err != nil {
		return err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return fmt.Errorf("the tool server did not start: %w", err)
	}
	p.addr = strings.TrimSpace(strings.TrimPrefix(line, "support desk on http://"))
	return nil
}

func (p *store) kill() {
	_ = p.cmd.Process.Kill() // it has ended already, or ends now
	_ = p.cmd.Wait()         // killed
}

// seen is what is in its ledger.
func (p *store) seen(ctx context.Context) (l supportdesk.Ledger, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.addr+"/ledger", http.NoBody)
	if err != nil {
		return l, err
	}
	resp, err := (&http.Client{Timeout: 10 * time.Second}).Do(req)
	if err != nil {
		return l, err
	}
	defer func() { _ = resp.Body.Close() }() // it is only read
	return l, json.NewDecoder(resp.Body).Decode(&l)
}

func run(ctx context.Context, example string, o stage.Options) (err error) {
	s, err := stage.Open(o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	s.Say("1. A tool server (orders, charges, refunds) with a durable ledger of its own.")
	shop := &store{addr: "127.0.0.1:0", ledger: filepath.Join(s.Dir(), "ledger.jsonl")}
	// It answers a refund only after an hour: the kill strikes after the money moved
	// and before the runtime knows.
	if err := shop.start(ctx, time.Hour); err != nil {
		return err
	}
	defer func() { shop.kill() }()
	s.Note("It listens on %s.", shop.addr)
	if err := s.Agent(filepath.Join(example, "support.md"), "127.0.0.1:7718", shop.addr); err != nil {
		return err
	}

	s.Say("2. A customer writes. The agent reads three things at once, is denied one, and asks before it refunds.")
	if err := s.Cairn(ctx, 3, "run", "support.md", "--once", "--input", "My order 1042 arrived damaged. Please refund it."); err != nil {
		return err
	}

	s.Say("3. A person looks at the exact arguments, and approves.")
	if err := s.Cairn(ctx, 0, "approve", "last"); err != nil {
		return err
	}

	s.Say("4. As soon as the shop has the refund in its ledger: kill -9 of the runtime.")
	runtime, err := s.Start(ctx, "attach", "last")
	if err != nil {
		return err
	}
	if err := s.Until(ctx, "the refund is in the ledger", func() (bool, error) {
		l, err := shop.seen(ctx)
		if err != nil || len(l.Refunds) > 0 {
			return true, err
		}
		return false, runtime.Ended()
	}); err != nil {
		return err
	}
	runtime.Kill()
	shop.kill()
	s.Note("Killed. The ledger has 1 refund; the runtime never got the answer.")
	if err := shop.start(ctx, 0); err != nil {
		return err
	}

	s.Say("5. It carries on. The refund is unknown: it is not repeated; the shop is asked what became of it.")
	if err := s.Cairn(ctx, 0, "attach", "last"); err != nil {
		return err
	}

	s.Say("6. Timeline, effects and cost.")
	if err := s.Cairn(ctx, 0, "show", "last"); err != nil {
		return err
	}
	s.Say("7. Checked against the shop's own ledger:")
	if err := check(ctx, s, shop); err != nil {
		return err
	}
	return s.Checked()
}

// check holds what the runtime says against what the shop's ledger says.
func check(ctx context.Context, s *stage.Stage, shop *store) error {
	l, err := shop.seen(ctx)
	if err != nil {
		return err
	}
	x, err := s.Session(ctx)
	if err != nil {
		return err
	}
	events, err := s.Events(ctx, x.ID)
	if err != nil {
		return err
	}
	var cost cairn.Money
	seen := map[cairn.EventType]int{}
	var end *cairn.RunCompleted
	for _, e := range events {
		seen[e.Type()]++
		switch d := e.Data.(type) {
		case cairn.ModelCompleted:
			cost += d.Cost
		case cairn.ModelRetried:
			cost += d.Cost
		case cairn.RunCompleted:
			end = &d
		}
	}
	s.Expect(len(l.Refunds) == 1, "exactly 1 refund in the ledger (there are %d)", len(l.Refunds))
	s.Expect(len(l.Messages) == 1, "the customer got exactly 1 message (there are %d)", len(l.Messages))
	s.Expect(seen["tool_call.unknown"] == 1 && seen["effect.reconciled"] == 1, "its lost outcome was recorded as unknown and settled by the reconcile query")
	s.Expect(seen["tool_call.denied"] == 1, "the export of the customer list was denied")
	s.Expect(seen["ask.opened"] == 1 && seen["ask.resolved"] == 1, "one approval was asked for and given")
	s.Expect(end != nil && end.Final, "the session completed")
	s.Expect(end != nil && end.Summary.Cost == cost && cost > 0, "the cost in the summary is the sum of the recorded calls (%s)", cost)
	return nil
}
