package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/engine"
	"github.com/cairn-run/cairn/journal"
)

// oneCommit measures full commits one after the other (three events encoded, one
// input taken, the list row), each followed by a raw write and flush of the same
// frame to a file beside the store.
func oneCommit(ctx context.Context, b *bench) (_ []row, err error) {
	folder, err := b.folder("commit")
	if err != nil {
		return nil, err
	}
	store, j, err := openJournal(ctx, folder)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, store.Close(), os.RemoveAll(folder)) }()
	raw, err := openDevice(folder)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, raw.close()) }()

	a := worker(readTool, 1)
	key := cairn.SessionKey{Tenant: cairn.DefaultTenant, ID: "ses_01ARZ3NDEKTSV4RRFFQ69G5FAV"}
	if err := start(ctx, j, key, a.Name, a.Digest(), false); err != nil {
		return nil, err
	}
	for i := range b.Commits {
		if err := post(ctx, j, key, i); err != nil {
			return nil, err
		}
	}
	lease, err := j.Beat(ctx, journal.Lease{}, time.Hour)
	if err != nil {
		return nil, err
	}
	claims, err := j.Claim(ctx, lease, journal.Filter{Fold: engine.Version}, 1)
	if err != nil {
		return nil, err
	}
	claim := claims[0]
	var took []time.Duration
	for i := range b.Commits {
		events := facts3(key, claim.Next)
		sum := cairn.Summary{
			Session: key, Agent: a.Name, Digest: a.Digest(), Status: cairn.StatusRunning, Created: time.Now(), Updated: time.Now(),
			Events: claim.Next + 2, Run: events[0].Run, Runs: 1, ModelCalls: i, ToolCalls: i, Usage: cairn.Usage{Input: int64(i), Output: 40},
		}
		began := time.Now()
		frame, err := j.Encode(ctx, key.Tenant, events)
		if err != nil {
			return nil, err
		}
		claim, err = j.Commit(ctx, journal.Commit{
			Claim: claim, Frame: frame, Taken: []string{fmt.Sprint("post-", i)}, Summary: &sum, Fold: engine.Version, Busy: true,
		})
		if err != nil {
			return nil, err
		}
		took = append(took, time.Since(began))
		if err := raw.write(frame.Data); err != nil {
			return nil, err
		}
	}
	line := func(name string, q float64) row {
		return row{Name: name, Measured: millis(at(took, q)), Unit: "ms", Beside: &beside{"raw fdatasync", millis(at(raw.took, q))}}
	}
	p50 := line("one durable commit, p50", 0.5)
	p50.Goal = &goal{Limit: 2.5, OfRatio: true}
	return []row{p50, line("one durable commit, p99", 0.99)}, nil
}

func post(ctx context.Context, j *journal.Journal, key cairn.SessionKey, n int) error {
	return j.Post(ctx, cairn.Input{
		ID: fmt.Sprint("post-", n), To: key, At: time.Now().UTC(), From: cairn.Principal{Kind: "user", ID: "bench"},
		Data: cairn.Post{Content: []cairn.Part{cairn.Text("And what about the other one?")}},
	}, nil, nil)
}

// facts3 are the events of an ordinary commit: an answer with a call, the call,
// and a message.
func facts3(key cairn.SessionKey, next cairn.Seq) []cairn.Event {
	now := time.Now().UTC()
	run := cairn.RunIDAt(key.ID, 1)
	args := fmt.Sprintf(`{"number":"A-%d","reason":"the customer asked"}`, next)
	return []cairn.Event{
		{Seq: next, At: now, Run: run, Step: cairn.EffectIDAt(key.ID, next), Data: cairn.ModelCompleted{
			Attempt: 1, Cost: 1200, Status: cairn.CostExact, Answer: cairn.ModelAnswer{
				Model: "instant", Stop: cairn.StopToolUse, Usage: cairn.Usage{Input: 200, Output: 40},
				Content: []cairn.Part{cairn.Text("Let me look at the order."), {Kind: cairn.PartToolCall, CallID: "call_1", Tool: readTool, Args: args}},
			},
		}},
		{Seq: next + 1, At: now, Run: run, Step: cairn.EffectIDAt(key.ID, next+1), Data: cairn.ToolCallRequested{
			Answer: next, CallID: "call_1", Tool: readTool, Host: cairn.HostRuntime, Class: cairn.ClassRead, Args: json.RawMessage(args),
			Digest: cairn.DigestOf([]byte(args)), Verdict: cairn.VerdictAllow,
		}},
		{Seq: next + 2, At: now, Run: run, Data: cairn.MessageCreated{
			Content: []cairn.Part{cairn.Text("And what about the other one?")}, Origin: "user", Input: fmt.Sprint("post-", next),
		}},
	}
}

// journalPackage is the program that measures the store alone.
const journalPackage = "github.com/cairn-run/cairn/bench/journal"

// goalCrowd is how many sessions at once the goals of commits and steps are about.
const goalCrowd = 200

// manyCommits asks the benchmark of the store, in a process of its own.
func manyCommits(ctx context.Context, b *bench) ([]row, error) {
	folder, err := b.folder("commits")
	if err != nil {
		return nil, err
	}
	var crowd []string
	for _, n := range b.Crowd {
		if n > 1 || len(b.Crowd) == 1 { // one alone is always measured
			crowd = append(crowd, fmt.Sprint(n))
		}
	}
	profiled := b.profiles != "" && slices.Contains(b.Crowd, goalCrowd)
	args := []string{"run", journalPackage, "-json", "-dir", folder, "-for", fmt.Sprint(b.Seconds, "s"), "-sessions", strings.Join(crowd, ",")}
	if profiled {
		if err := os.MkdirAll(b.profiles, 0o755); err != nil {
			return nil, err
		}
		args = append(args, "-cpuprofile", b.profile("commits"))
	}
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Stderr = b.log
	text, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", journalPackage, err)
	}
	var told struct {
		Before struct {
			P50 float64 `json:"p50_us"`
		} `json:"raw_fdatasync_512b_growing"`
		After struct {
			P50 float64 `json:"p50_us"`
		} `json:"raw_fdatasync_512b_growing_again"`
		Throughput []struct {
			Sessions int     `json:"sessions"`
			Rate     float64 `json:"commits_per_second"`
		} `json:"throughput"`
	}
	if err := json.Unmarshal(text, &told); err != nil {
		return nil, fmt.Errorf("%s: %w", journalPackage, err)
	}
	if profiled {
		if err := b.top("commits"); err != nil {
			return nil, err
		}
	}
	rate := 2e6 / (told.Before.P50 + told.After.P50)
	var rows []row
	for i, t := range told.Throughput {
		if again := i > 0 && t.Sessions == 1; again || !slices.Contains(b.Crowd, t.Sessions) {
			continue
		}
		r := row{Name: fmt.Sprintf("commits/s, %d at once", t.Sessions), Measured: t.Rate, Unit: "1/s", Beside: &beside{"raw fdatasync/s", rate}}
		if t.Sessions == goalCrowd {
			r.Goal = atLeast(30_000)
		}
		rows = append(rows, r)
	}
	return rows, nil
}
