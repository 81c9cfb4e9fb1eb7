// Bench prints the figures of docs/benchmarks.md, each beside the raw device as
// it was in the same run:
//
//	go run ./bench [-only name,…] [-json] [-short] [-rounds n] [-crowd n,…] [-dir DIR] [-profiles DIR]
//
// Everything is durable (synchronous=FULL). A figure is measured -rounds times;
// what is printed is the median, with the lowest and the highest beside it.
// Absolute numbers are those of the machine and of what else it was doing; the
// ratios hold.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// figure is one thing that is measured.
type figure struct {
	name, about string
	run         func(ctx context.Context, b *bench) ([]row, error)
	inside      bool // it is all in this process
}

// figures are all there are, in the order they are printed.
var figures = []figure{
	{"commit", "one durable commit beside one raw fdatasync of the same bytes", oneCommit, true},
	{"commits", "full commits a second", manyCommits, false},
	{"steps", "whole agent steps a second", manySteps, true},
	{"turn", "commits of a turn", commitsPerTurn, true},
	{"overhead", "what a turn with an in-process tool costs", turnOverhead, true},
	{"idle", "10,000 idle sessions", idleSessions, false},
	{"restart", "10,000 unfinished sessions after SIGKILL", restartSessions, false},
	{"long", "a session of 50,000 events", longSession, false},
	{"ready", "from start to ready", startToReady, false},
	{"sandbox", "a sandboxed true beside plain fork and exec, and bubblewrap", coldStart, false},
	{"bash", "a bash call end to end", bashCalls, false},
	{"snapshot", "recording the files after a call", snapshots, false},
	{"build", "the binary and its build", buildBinary, false},
}

// run is main without the process.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	if len(args) > 0 && args[0] == nodeCommand {
		return runNode(ctx, args[1:])
	}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprintln(stderr, "usage: go run ./bench [flags]\n\nThe figures:")
		for _, f := range figures {
			fmt.Fprintf(stderr, "  %-10s%s\n", f.name, f.about)
		}
		fmt.Fprintln(stderr, "\nThe flags:")
		flags.PrintDefaults()
	}
	only := flags.String("only", "", "names of figures, separated by commas; default: all")
	asJSON := flags.Bool("json", false, "print JSON")
	short := flags.Bool("short", false, "small sizes, one round: shows that it works, says little")
	crowd := flags.String("crowd", "", "how many sessions at once in commits and steps, separated by commas; default 1,64,200,1000")
	rounds := flags.Int("rounds", 3, "how often each figure is measured")
	parent := flags.String("dir", "", "where to write: the figures are those of its device; default: the directory of temporary files")
	profiles := flags.String("profiles", "", "write the top of a CPU profile of the figures commit, commits, steps, turn, overhead and restart to DIR/NAME.txt, and the profiles beside them")
	if err := flags.Parse(args); err != nil {
		return err
	}
	chosen, err := choose(*only)
	if err != nil {
		return err
	}
	b := &bench{size: full, rounds: max(1, *rounds), log: stderr, profiles: *profiles}
	if *short {
		b.size, b.rounds = brief, 1
	}
	if *crowd != "" {
		b.Crowd = nil
		for text := range strings.SplitSeq(*crowd, ",") {
			n, err := strconv.Atoi(text)
			if err != nil || n < 1 {
				return fmt.Errorf("-crowd %q: write numbers like 64,200", *crowd)
			}
			b.Crowd = append(b.Crowd, n)
		}
	}
	if b.dir, err = os.MkdirTemp(*parent, "cairn-bench-"); err != nil {
		return err
	}
	if b.dir, err = filepath.Abs(b.dir); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.dir)) }()
	r, err := b.report(ctx, chosen)
	if err != nil {
		return err
	}
	if *asJSON {
		e := json.NewEncoder(stdout)
		e.SetEscapeHTML(false)
		e.SetIndent("", "  ")
		return e.Encode(r)
	}
	return r.print(stdout)
}

// choose returns the figures of these names.
func choose(names string) ([]figure, error) {
	if names == "" {
		return figures, nil
	}
	var chosen []figure
	for name := range strings.SplitSeq(names, ",") {
		i := slices.IndexFunc(figures, func(f figure) bool { return f.name == name })
		if i < 0 {
			return nil, fmt.Errorf("no figure is called %q; -h lists them", name)
		}
		chosen = append(chosen, figures[i])
	}
	return chosen, nil
}

// bench is one run of the program.
type bench struct {
	size
	rounds   int
	dir      string // everything is written below it
	log      io.Writer
	profiles string
	made     int    // directories
	binary   string // of cairn, once it is built
}

// size is how much is measured.
type size struct {
	Commits  int   `json:"commits"`  // one after the other
	Crowd    []int `json:"crowd"`    // sessions at once
	Seconds  int   `json:"seconds"`  // of what takes a fixed time: commits a second; rest before memory is read
	Steps    int   `json:"steps"`    // of all sessions together
	Turns    int   `json:"turns"`    // timed one by one
	Sessions int   `json:"sessions"` // idle, and unfinished
	Events   int   `json:"events"`   // of the long session
	Starts   int   `json:"starts"`   // of the server, for each data directory
	// Sandboxes are made one after the other, Calls are of bash; Snapshots are taken of a
	// tree of Files.
	Sandboxes int  `json:"sandboxes"`
	Calls     int  `json:"calls"`
	Snapshots int  `json:"snapshots"`
	Files     int  `json:"files"`
	Cold      bool `json:"cold"` // build with an empty cache
}

var (
	full = size{
		Commits: 4000, Crowd: []int{1, 64, 200, 1000}, Seconds: 5, Steps: 60_000, Turns: 4000,
		Sessions: 10_000, Events: 50_000, Starts: 10, Sandboxes: 200, Calls: 200, Snapshots: 40, Files: 20_000, Cold: true,
	}
	brief = size{
		Commits: 200, Crowd: []int{1, 64, 200}, Seconds: 1, Steps: 4000, Turns: 200,
		Sessions: 300, Events: 2000, Starts: 2, Sandboxes: 20, Calls: 20, Snapshots: 5, Files: 1000,
	}
)

// folder makes a new directory.
func (b *bench) folder(name string) (string, error) {
	b.made++
	dir := filepath.Join(b.dir, fmt.Sprintf("%s%d", name, b.made))
	return dir, os.Mkdir(dir, 0o700)
}

// report measures the chosen figures.
func (b *bench) report(ctx context.Context, chosen []figure) (*report, error) {
	r := &report{Machine: machine(b.dir), Size: b.size, Rounds: b.rounds}
	for _, f := range chosen {
		var all [][]row
		for i := range b.rounds {
			fmt.Fprintf(b.log, "%s (%d of %d)\n", f.name, i+1, b.rounds)
			rows, err := b.profiled(f.name, f.inside && i == b.rounds-1, func() ([]row, error) { return f.run(ctx, b) })
			if err != nil {
				return nil, fmt.Errorf("%s: %w", f.name, err)
			}
			all = append(all, rows)
		}
		r.Figures = append(r.Figures, medians(f.name, all)...)
	}
	return r, nil
}
