package builtin

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/sandbox"
	"github.com/cairn-run/cairn/tool"
)

const (
	// maxArgument is the longest command that goes into an argument, in bytes; Linux
	// takes 128 KiB (MAX_ARG_STRLEN).
	maxArgument = 96 << 10
	// outputDir is where output is kept that is longer than what is shown, and where
	// that of background commands goes.
	outputDir = "/tmp/cairn"
)

// bash makes a call of bash.
func (d *Driver) bash(ctx context.Context, c tool.Call) (*cairn.ToolResult, error) {
	var args struct {
		Command    string `json:"command"`
		Timeout    int    `json:"timeout"`
		Background bool   `json:"background"`
		Stop       int    `json:"stop"`
	}
	if err := json.Unmarshal(c.Args, &args); err != nil {
		return nil, badArgs(err)
	}
	switch {
	case args.Stop > 0 && (args.Command != "" || args.Background):
		return said(true, "Give either command or stop."), nil
	case args.Stop == 0 && strings.TrimSpace(args.Command) == "":
		return said(true, "Give a command, or stop with the id of a background command."), nil
	case strings.ContainsRune(args.Command, 0):
		return said(true, "The command holds a NUL byte, which no shell takes."), nil
	}
	return d.writing(ctx, c, func(ctx context.Context, a *attempt) (*cairn.ToolResult, bool, error) {
		switch {
		case args.Stop > 0:
			return a.stop(ctx, args.Stop)
		case args.Background:
			return a.startBackground(ctx, args.Command)
		}
		report := []string{reportTo(a.b.spec.Limits.Files)}
		run := command{shell: "bash", script: bashArgument, text: args.Command, args: report}
		if len(args.Command) > maxArgument {
			run = command{shell: "bash", script: bashInput, text: cutText(args.Command, 200), args: report, input: args.Command}
		}
		return a.run(ctx, run, commandTime(ctx, args.Timeout))
	})
}

// python makes a call of python.
func (d *Driver) python(ctx context.Context, c tool.Call) (*cairn.ToolResult, error) {
	var args struct {
		Code    string `json:"code"`
		Timeout int    `json:"timeout"`
	}
	if err := json.Unmarshal(c.Args, &args); err != nil {
		return nil, badArgs(err)
	}
	return d.writing(ctx, c, func(ctx context.Context, a *attempt) (*cairn.ToolResult, bool, error) {
		return a.run(ctx, command{shell: "sh", script: pythonScript, args: []string{pythonLoader}, input: args.Code}, commandTime(ctx, args.Timeout))
	})
}

// cutText is the beginning of a text, at most n bytes long.
func cutText(s string, n int) string { return strings.ToValidUTF8(s[:min(n, len(s))], "") }

func badArgs(err error) error {
	return &cairn.Error{Code: cairn.CodeInvalidArgs, Message: err.Error(), NotDone: true}
}

// commandTime is how long a command may take: what was asked for, but so much less
// than the call itself that its output is still returned and its changes recorded.
func commandTime(ctx context.Context, seconds int) time.Duration {
	limit := defaultCommandTime
	if seconds > 0 {
		limit = min(time.Duration(seconds)*time.Second, maxCommandTime)
	}
	if at, ok := ctx.Deadline(); ok {
		left := time.Until(at)
		limit = min(limit, left-min(left/4, 10*time.Second))
	}
	return limit
}

// command is what is run.
type command struct {
	shell  string // program; bash is replaced by sh where there is none
	script string
	text   string   // its first argument: what the model wrote, if that is short enough
	args   []string // after the others
	input  string   // on its standard input
}

func (r command) cmd(b *box, dir string) sandbox.Cmd {
	args := append([]string{r.shell, "-c", starter, r.shell, r.text, argsMark, b.outside(orDefault(dir)), b.outside(sandbox.Dir)}, r.args...)
	c := sandbox.Cmd{Args: args, Dir: "/", Env: append(slices.Clip(b.env), startName+"="+r.script)}
	if r.input != "" {
		c.Stdin = strings.NewReader(r.input)
	}
	return c
}

func orDefault(dir string) string {
	if dir == "" {
		return sandbox.Dir
	}
	return dir
}

// run runs a command in the foreground and makes its result.
func (a *attempt) run(ctx context.Context, r command, limit time.Duration) (*cairn.ToolResult, bool, error) {
	out := newOutput(a.d.o.TempDir, a.c.MaxOutput*3/4, a.c.Say)
	defer out.discard()
	dirs := &trail{}
	start := func(r command) (sandbox.Process, error) {
		cmd := r.cmd(a.b, a.dir)
		cmd.Stdout, cmd.Stderr = out, dirs
		return a.b.Start(ctx, cmd)
	}
	p, err := start(r)
	if r.shell == "bash" && isMissing(err) {
		r.shell, r.script = "sh", map[string]string{bashArgument: shArgument, bashInput: shInput}[r.script]
		p, err = start(r)
	}
	if err != nil {
		return nil, false, err
	}
	f := facts{}
	bounded, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	exit, err := p.Wait(bounded)
	if err != nil {
		if breach, gone := a.b.lost(); breach != nil || gone != nil {
			return nil, false, err
		}
		if bounded.Err() == nil {
			return nil, false, err
		}
		end, cancel := clean(ctx)
		defer cancel()
		killed, err := p.Kill(end)
		f.Killed = names(killed)
		a.c.Left.Killed = append(a.c.Left.Killed, f.Killed...)
		if err != nil || ctx.Err() != nil {
			return nil, false, err
		}
		f.TimedOut = true
		if exit, err = p.Wait(end); err != nil {
			return nil, false, err
		}
	}
	out.Close()
	f.Killed = append(f.Killed, names(exit.Left)...)
	f.ExitCode, f.Signal, f.Bytes = exit.Code, exit.Signal, out.capture.Total()
	return a.result(ctx, f, out, dirs, limit)
}

// isMissing says whether a command could not be started because its program is not
// there.
func isMissing(err error) bool {
	return err != nil && (cairn.CodeOf(err) == cairn.CodeNotFound || errors.Is(err, fs.ErrNotExist))
}
