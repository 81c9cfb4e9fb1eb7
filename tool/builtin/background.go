package builtin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/sandbox"
	"github.com/cairn-run/cairn/tool/builtin/hand"
)

// maxJobs bounds the background commands of one session.
const maxJobs = 32

// job is a background command.
type job struct {
	id      int
	command string
	path    string // its output, inside
	proc    sandbox.Process
	done    chan struct{} // closed when it has ended; then exit and err are set
	exit    sandbox.Exit
	err     error
	stopped bool
}

// String is how listings name it: "2: npm start".
func (j *job) String() string {
	line, _, more := strings.Cut(strings.TrimSpace(j.command), "\n")
	if len(line) > 80 {
		line, more = cutText(line, 80), true
	}
	if more {
		line += " …"
	}
	return fmt.Sprintf("%d: %s", j.id, onOneLine(line))
}

func (j *job) ended() bool {
	select {
	case <-j.done:
		return true
	default:
		return false
	}
}

// watch waits for the job in a goroutine of its own; it ends with the instance at the
// latest.
func (d *Driver) watch(b *box, j *job) {
	b.mu.Lock()
	b.jobs = append(b.jobs, j)
	b.mu.Unlock()
	d.jobs.Go(func() {
		j.exit, j.err = j.proc.Wait(context.Background())
		close(j.done)
	})
}

// all lists the jobs that were started and not yet told to have ended.
func (b *box) all() []*job {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]*job(nil), b.jobs...)
}

// alive lists the jobs that run.
func (b *box) alive() []*job {
	var list []*job
	for _, j := range b.all() {
		if !j.ended() {
			list = append(list, j)
		}
	}
	return list
}

func (b *box) job(id int) *job {
	for _, j := range b.all() {
		if j.id == id {
			return j
		}
	}
	return nil
}

// news says what runs, and once of each job that it has ended; nothing of those
// that were told already.
func (b *box) news(told ...*job) []string {
	var lines []string
	b.mu.Lock()
	defer b.mu.Unlock()
	kept := b.jobs[:0:0]
	for _, j := range b.jobs {
		if !j.ended() {
			kept = append(kept, j)
			if slices.Contains(told, j) {
				continue
			}
			lines = append(lines, fmt.Sprintf("running in the background: %s (output: %s)", j, b.outside(j.path)))
			continue
		}
		how := fmt.Sprintf("with exit code %d", j.exit.Code)
		switch {
		case j.err != nil:
			how = "in an unknown way"
		case j.exit.Signal != "":
			how = "by " + j.exit.Signal
		}
		if !j.stopped {
			lines = append(lines, fmt.Sprintf("ended %s: %s (output: %s)", how, j, b.outside(j.path)))
		}
	}
	b.jobs = kept
	return lines
}

// orphans names what background commands left running when the last of them ended: it is
// ended with the call, and the model is told while it can still make something of it.
func (a *attempt) orphans(ctx context.Context) []string {
	if !a.b.started || len(a.b.alive()) > 0 {
		return nil
	}
	list, err := a.b.Processes(ctx)
	if err != nil || len(list) == 0 { // an instance that cannot be asked is found out otherwise
		return nil
	}
	a.named = true
	return []string{orphaned(names(list))}
}

// orphaned tells of them.
func orphaned(list []string) string {
	return "killed, because the background command that had started them is over (without & at its end it goes on as long as they do): " + shortList(list)
}

// startBackground starts a command that lives on when the call has ended.
func (a *attempt) startBackground(ctx context.Context, text string) (*cairn.ToolResult, bool, error) {
	if len(a.b.alive()) >= maxJobs {
		return said(true, "%d background commands are running, and more are not allowed: stop some.", maxJobs), true, nil
	}
	if len(text) > maxArgument {
		return said(true, "The command is too long for the background: write it to a file and run that."), true, nil
	}
	file, err := a.newFile(ctx, hand.OpReserve, "bg-", nil)
	if err != nil {
		if _, ok := errors.AsType[*cairn.Error](err); ok {
			return nil, false, err
		}
		return said(true, "No file could be made for the output: %v", err), true, nil
	}
	r := command{shell: "bash", script: backgroundScript, text: text, args: []string{a.b.outside(file.Path)}}
	start := func() (sandbox.Process, error) {
		cmd := r.cmd(a.b, a.dir)
		cmd.Detached = true
		return a.b.Start(ctx, cmd)
	}
	p, err := start()
	if isMissing(err) {
		r.shell = "sh"
		p, err = start()
	}
	if err != nil {
		return nil, false, err
	}
	j := &job{id: file.Number, command: text, path: file.Path, proc: p, done: make(chan struct{})}
	a.b.started = true
	a.d.watch(a.b, j)
	f := facts{Dir: orDefault(a.now), Background: &background{j.id, file.Path}}
	for _, j := range a.b.alive() {
		f.Running = append(f.Running, j.String())
	}
	a.told = append(a.told, a.b.news(j)...)
	lines := slices.Concat([]string{fmt.Sprintf("started in the background as %d; its output goes to %s (read it with read), and {\"stop\": %d} ends it", j.id, a.b.outside(file.Path), j.id)}, a.told)
	result := said(false, "%s", strings.Join(lines, "\n"))
	result.Structured, _ = json.Marshal(f) // plain values always encode
	return result, true, nil
}

// stop kills a background command.
func (a *attempt) stop(ctx context.Context, id int) (*cairn.ToolResult, bool, error) {
	j := a.b.job(id)
	if j == nil {
		lines := append([]string{fmt.Sprintf("There is no background command %d.", id)}, append(a.told, a.b.news()...)...)
		return said(true, "%s", strings.Join(lines, "\n")), true, nil
	}
	var killed []sandbox.ProcessInfo
	var err error
	if !j.ended() {
		j.stopped = true
		if killed, err = j.proc.Kill(ctx); err != nil {
			return nil, false, err
		}
		select {
		case <-j.done:
		case <-ctx.Done():
			return nil, false, ctx.Err()
		}
	}
	f := facts{Dir: orDefault(a.now), Killed: names(killed), Background: &background{j.id, j.path}}
	if j.err == nil {
		f.ExitCode, f.Signal = j.exit.Code, j.exit.Signal
	}
	lines := []string{fmt.Sprintf("background command %d is ended; its output is in %s", id, a.b.outside(j.path))}
	if len(killed) > 0 {
		lines = append(lines, "killed: "+shortList(f.Killed))
	}
	lines = slices.Concat(lines, a.told, a.b.news(), a.orphans(ctx))
	for _, j := range a.b.alive() {
		f.Running = append(f.Running, j.String())
	}
	result := said(false, "%s", strings.Join(lines, "\n"))
	result.Structured, _ = json.Marshal(f) // plain values always encode
	return result, true, nil
}
