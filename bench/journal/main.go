// Journal measures the SQLite journal beside the raw device: what one durable
// commit costs next to one fdatasync on a growing file, and how many full
// commits (frame, inbox input, list row) a second it takes from many sessions.
//
//	go run ./bench/journal [-dir .] [-for 5s] [-sessions 64,200,1000] [-json]
//
// All figures are of synchronous=FULL: what is counted survives a power cut as
// far as the device keeps its promises.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"runtime"
	"runtime/pprof"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// report is what is printed.
type report struct {
	CPUs       int         `json:"cpus"`
	Raw        latency     `json:"raw_fdatasync_512b_growing"`
	RawAfter   latency     `json:"raw_fdatasync_512b_growing_again"`
	Commit     latency     `json:"one_commit"`
	RatioP50   float64     `json:"commit_to_raw_p50"`
	RatioGoal  float64     `json:"commit_to_raw_p50_goal"`
	Throughput []measured  `json:"throughput"`
	Goal       throughGoal `json:"throughput_goal"`
}

// latency is in microseconds.
type latency struct {
	P50 float64 `json:"p50_us"`
	P99 float64 `json:"p99_us"`
	N   int     `json:"n"`
}

type measured struct {
	Sessions int     `json:"sessions"`
	Rate     float64 `json:"commits_per_second"`
	Latency  latency `json:"latency"`
}

type throughGoal struct {
	Sessions int     `json:"sessions"`
	Rate     float64 `json:"commits_per_second"`
}

func main() {
	dir := flag.String("dir", ".", "where to write: figures are those of its device")
	length := flag.Duration("for", 5*time.Second, "how long each measurement takes")
	sessions := flag.String("sessions", "64,200,1000", "how many sessions commit at once, one measurement for each")
	asJSON := flag.Bool("json", false, "print JSON")
	profile := flag.String("cpuprofile", "", "write a CPU profile of the measurement with 200 sessions")
	flag.Parse()
	if err := run(*dir, *length, *sessions, *asJSON, *profile); err != nil {
		fmt.Fprintln(os.Stderr, "bench/journal:", err)
		os.Exit(1)
	}
}

func run(parent string, length time.Duration, sessions string, asJSON bool, profile string) error {
	var counts []int
	for s := range strings.SplitSeq(sessions, ",") {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 {
			return fmt.Errorf("-sessions %q: write numbers like 64,200", sessions)
		}
		counts = append(counts, n)
	}
	dir, err := os.MkdirTemp(parent, "bench-journal-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	ctx := context.Background()
	r := report{CPUs: runtime.NumCPU(), RatioGoal: 2.5, Goal: throughGoal{200, 30_000}}
	if r.Raw, err = rawSync(dir, length); err != nil {
		return err
	}
	one, err := commits(ctx, dir, 1, length)
	if err != nil {
		return err
	}
	r.Commit = one.Latency
	if r.RawAfter, err = rawSync(dir, length); err != nil {
		return err
	}
	r.RatioP50 = r.Commit.P50 / ((r.Raw.P50 + r.RawAfter.P50) / 2)
	r.Throughput = append(r.Throughput, one)
	for _, sessions := range counts {
		stop := func() {}
		if sessions == r.Goal.Sessions && profile != "" {
			if stop, err = startProfile(profile); err != nil {
				return err
			}
		}
		m, err := commits(ctx, dir, sessions, length)
		stop()
		if err != nil {
			return err
		}
		r.Throughput = append(r.Throughput, m)
	}
	if asJSON {
		e := json.NewEncoder(os.Stdout)
		e.SetIndent("", "  ")
		return e.Encode(r)
	}
	return r.print()
}

func startProfile(path string) (stop func(), err error) {
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, err
	}
	return func() {
		pprof.StopCPUProfile()
		_ = f.Close()
	}, nil
}

func (r report) print() error {
	w := tabwriter.NewWriter(os.Stdout, 0, 8, 2, ' ', 0)
	line := func(format string, args ...any) { _, _ = fmt.Fprintf(w, format+"\n", args...) }
	line("SQLite journal, WAL, synchronous=FULL, %d CPUs\n", r.CPUs)
	line("one after the other\tp50\tp99\tn")
	for _, v := range []struct {
		name string
		l    latency
	}{
		{"raw fdatasync, 512 B, growing file", r.Raw},
		{"one durable full commit", r.Commit},
		{"raw fdatasync, 512 B, growing file, again", r.RawAfter},
	} {
		line("%s\t%.0f µs\t%.0f µs\t%d", v.name, v.l.P50, v.l.P99, v.l.N)
	}
	line("commit / raw at p50\t%.2f\t(goal: at most %.1f)\n", r.RatioP50, r.RatioGoal)
	line("sessions\tcommits/s\tp50\tp99")
	for _, m := range r.Throughput {
		goal := ""
		if m.Sessions == r.Goal.Sessions {
			goal = fmt.Sprintf("\t(goal: %.0f)", r.Goal.Rate)
		}
		line("%d\t%.0f\t%.0f µs\t%.0f µs%s", m.Sessions, m.Rate, m.Latency.P50, m.Latency.P99, goal)
	}
	return w.Flush()
}
