package builtin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/sandbox"
	"github.com/cairn-run/cairn/tool/builtin/hand"
)

// facts is the structured form of a command's result.
type facts struct {
	ExitCode   int         `json:"exit_code"`
	Signal     string      `json:"signal,omitzero"`
	Dir        string      `json:"dir"` // the working directory of the next command
	TimedOut   bool        `json:"timed_out,omitzero"`
	Killed     []string    `json:"killed,omitempty"` // what it left running, or the time-out ended
	Bytes      int64       `json:"output_bytes"`
	OutputFile string      `json:"output_file,omitzero"`
	Background *background `json:"background,omitempty"`
	Running    []string    `json:"running,omitempty"`
}

type background struct {
	ID         int    `json:"id"`
	OutputFile string `json:"output_file"`
}

// result is what the model sees: first what the runtime has to say, then the output,
// so that no output can pass for the runtime's words.
func (a *attempt) result(ctx context.Context, f facts, out *output, dirs *trail, limit time.Duration) (*cairn.ToolResult, bool, error) {
	var lines []string
	switch {
	case f.TimedOut:
		lines = append(lines, fmt.Sprintf("killed: it took longer than %s (give more timeout, at most %d seconds, or use background)", limit.Round(time.Second), int(maxCommandTime/time.Second)))
	case f.Signal == "SIGKILL":
		lines = append(lines, fmt.Sprintf("exit code %d (SIGKILL; if the command did not do that itself, it used more memory than is allowed, %s)", f.ExitCode, memoryOf(a.c.Definition)))
	case f.Signal != "":
		lines = append(lines, fmt.Sprintf("exit code %d (%s)", f.ExitCode, f.Signal))
	default:
		lines = append(lines, fmt.Sprintf("exit code %d", f.ExitCode))
	}
	if len(f.Killed) > 0 {
		what := "it left these running, and they were killed"
		if f.TimedOut {
			what = "with it were killed"
		}
		lines = append(lines, what+": "+shortList(f.Killed))
	}
	lines = append(lines, a.move(dirs)...)
	f.Dir = orDefault(a.now)
	text := out.text()
	if out.long() {
		if where, err := a.spill(ctx, out); err != nil {
			lines = append(lines, fmt.Sprintf("the output has %s; its beginning and end are below, and the whole could not be kept: %v", out.size(), err))
		} else {
			f.OutputFile = where
			note := ""
			if out.lost > 0 {
				note = fmt.Sprintf(" (its first %s)", cairn.Bytes(maxSpool))
			}
			lines = append(lines, fmt.Sprintf("the output has %s; its beginning and end are below, all of it%s is in %s", out.size(), note, a.b.outside(where)))
		}
	}
	if out.foreign > 0 {
		lines = append(lines, fmt.Sprintf("of the %d bytes that were written %d are no text (not UTF-8, or NUL): they are shown as U+FFFD or left out; write such output to a file", out.raw, out.foreign))
	}
	lines = append(lines, a.told...)
	for _, j := range a.b.alive() {
		f.Running = append(f.Running, j.String())
	}
	lines = append(lines, a.b.news()...)
	lines = append(lines, a.orphans(ctx)...)
	if text == "" {
		lines = append(lines, "no output")
	}
	r := &cairn.ToolResult{
		Content: []cairn.Part{cairn.Text(strings.Join(lines, "\n") + "\n" + separated(text))},
		IsError: f.ExitCode != 0 || f.TimedOut,
	}
	r.Structured, _ = json.Marshal(f) // plain values always encode
	return r, true, nil
}

// memoryOf is how much memory the agent's commands may use.
func memoryOf(a *cairn.Agent) cairn.Bytes {
	if a.Environment.Memory > 0 {
		return a.Environment.Memory
	}
	return sandbox.DefaultMemory
}

func separated(text string) string {
	if text == "" {
		return ""
	}
	return "\n" + text
}

// shortList joins names, the first ten of them.
func shortList(all []string) string {
	if len(all) > 10 {
		return strings.Join(all[:10], ", ") + fmt.Sprintf(" and %d more", len(all)-10)
	}
	return strings.Join(all, ", ")
}

// move takes the directory that the command ended in as that of the next one.
func (a *attempt) move(dirs *trail) []string {
	first, last := dirs.dirs()
	var lines []string
	began := orDefault(a.dir)
	if in, ok := a.b.inside(first); ok && in != began {
		lines = append(lines, fmt.Sprintf("%s is gone; it began in %s", a.b.outside(began), first))
		began = in
	}
	ended, ok := began, true
	if last != "" {
		if ended, ok = a.b.inside(last); !ok {
			ended = sandbox.Dir
			lines = append(lines, "the next command begins in "+a.b.outside(ended)+" again")
		}
	}
	if ok && ended != began {
		lines = append(lines, "working directory: "+last)
	}
	if a.now = ended; ended == sandbox.Dir {
		a.now = ""
	}
	return lines
}

// spill keeps the whole output in a file of the session.
func (a *attempt) spill(ctx context.Context, out *output) (string, error) {
	all, err := out.all()
	if err != nil {
		return "", errors.New("there is no room for it on the node")
	}
	f, err := a.newFile(ctx, hand.OpSpill, "out-", all)
	return f.Path, err
}

type newFile struct {
	Path   string `json:"path"`
	Number int    `json:"number"`
}

// newFile makes a file in the output directory with the next free number.
func (a *attempt) newFile(ctx context.Context, op, prefix string, content io.Reader) (newFile, error) {
	args, _ := json.Marshal(map[string]string{"dir": outputDir, "prefix": prefix}) // strings always encode
	resp, err := a.b.hand(ctx, hand.Request{Op: op, Args: args}, content)
	var f newFile
	switch {
	case err != nil:
		return f, err
	case resp.IsError:
		return f, errors.New(resp.Text)
	}
	return f, json.Unmarshal(resp.Structured, &f)
}
