package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/lmittmann/tint"
	"github.com/spf13/cobra"

	"github.com/cairn-run/cairn"
	v1 "github.com/cairn-run/cairn/api/v1"
	"github.com/cairn-run/cairn/journal"
	"github.com/cairn-run/cairn/model"
)

// app is one run of the command line.
type app struct {
	Env
	out, err style // of stdout and stderr
	data     string
	server   string
	json     bool
	noColor  bool
	verbose  bool
	// begun says that the command line was understood: errors before are usage.
	begun bool
	// wrap is put around every model driver of a node that this command opens; nil:
	// nothing is.
	wrap func(provider string, d model.Driver) model.Driver
	// model stands for the one that an agent file names; empty: that one holds.
	model string
	// unfound are the models of scripts that do not lie beside the agent file.
	unfound map[string]bool
	// providers is a file of model providers instead of the one in the data directory.
	providers string
	// sandbox is the driver of the commands of a node that this command opens; empty:
	// its default.
	sandbox string
}

const providersHelp = "file of model providers (default providers.yaml in the data directory, if there is one)"

// Run runs the command line and returns the exit code of the process.
func Run(ctx context.Context, env Env) int {
	if env.Location == nil {
		env.Location = time.Local
	}
	if env.Grace == 0 {
		env.Grace = 1500 * time.Millisecond
	}
	if env.Terminal.Width == nil {
		env.Terminal.Width = func() int { return 80 }
	}
	if env.Terminal.Height == nil {
		env.Terminal.Height = func() int { return 24 }
	}
	out := &kept{to: env.Stdout}
	env.Stdout = out
	a := &app{Env: env}
	root := a.root()
	refuseUnknownHelp(root)
	root.SetArgs(env.Args)
	root.SetIn(env.Stdin)
	root.SetOut(env.Stdout)
	root.SetErr(env.Stderr)
	c, err := root.ExecuteContextC(ctx)
	if lost := out.lost(); err == nil && lost != nil {
		err = &exit{ExitStorage, fmt.Errorf("not all of the output was written: %w", lost)}
	}
	if err == nil {
		return ExitOK
	}
	if !a.begun {
		a.json = a.json || slices.Contains(env.Args, "--json") // it may stand behind the mistake
		if _, ok := errors.AsType[*exit](err); !ok {
			err = usage(misused(c, err))
		}
	}
	code := exitCode(err)
	a.report(err, code)
	return code
}

// kept is stdout, and remembers what could not be written: an answer that is lost
// on a full disk is no success.
type kept struct {
	to  io.Writer
	mu  sync.Mutex
	err error
}

func (k *kept) Write(p []byte) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	n, err := k.to.Write(p)
	if k.err == nil {
		k.err = err
	}
	return n, err
}

func (k *kept) lost() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.err
}

// misused says of a command line that was not understood how the command is
// written, and where its help is.
func misused(c *cobra.Command, err error) error {
	if !c.Runnable() || c == c.Root() {
		return fmt.Errorf("%w\nrun %q for help", err, "cairn help")
	}
	return fmt.Errorf("%w\nusage: %s\nrun %q for help", err, c.UseLine(), c.CommandPath()+" --help")
}

// report prints an error. With --json it is one line that a program can read.
func (a *app) report(err error, code int) {
	if e, ok := errors.AsType[*exit](err); ok && e.err == nil {
		return
	}
	if a.json {
		body := struct {
			Error struct {
				Code    cairn.Code `json:"code"`
				Message string     `json:"message"`
				Ask     *v1.Ask    `json:"ask,omitempty"`
			} `json:"error"`
			Exit int `json:"exit"`
		}{Exit: code}
		body.Error.Code, body.Error.Message = codeOf(err, code), message(err)
		if info, ok := errors.AsType[*v1.ErrorInfo](err); ok {
			body.Error.Ask = info.Ask
		}
		b, merr := json.Marshal(body)
		if merr == nil {
			fmt.Fprintln(a.Stderr, string(b))
			return
		}
	}
	fmt.Fprintln(a.Stderr, a.err.red("error:"), clean(message(err)))
}

// message is what a person reads of an error.
func message(err error) string {
	if e, ok := errors.AsType[*exit](err); ok {
		err = e.err
	}
	if e, ok := err.(*cairn.Error); ok { //nolint:errorlint // only if nothing was said around it
		return e.Message
	}
	return withoutSource(err, err.Error())
}

// withoutSource takes the class of an error out of a text, and of one that came
// from the API that it did: the API may be in this process, and the message has
// said it all.
func withoutSource(err error, text string) string {
	if e, ok := err.(*cairn.Error); ok { //nolint:errorlint // the tree is walked here
		if _, ok := errors.AsType[*v1.ErrorInfo](e.Err); ok || e.Err == nil {
			return strings.ReplaceAll(text, e.Error(), e.Message)
		}
	}
	switch e := err.(type) { //nolint:errorlint // the tree is walked here
	case interface{ Unwrap() error }:
		if inner := e.Unwrap(); inner != nil {
			return withoutSource(inner, text)
		}
	case interface{ Unwrap() []error }:
		for _, inner := range e.Unwrap() {
			text = withoutSource(inner, text)
		}
	}
	return text
}

// codeOf classifies an error for a program.
func codeOf(err error, code int) cairn.Code {
	if e, ok := errors.AsType[*cairn.Error](err); ok {
		return e.Code
	}
	switch code {
	case ExitUsage:
		return cairn.CodeInvalid
	case ExitNotFound:
		return cairn.CodeNotFound
	case ExitConflict:
		return cairn.CodeConflict
	case ExitDenied:
		return cairn.CodeDenied
	case ExitStorage:
		if errors.Is(err, journal.ErrFull) || errors.Is(err, syscall.ENOSPC) {
			return cairn.CodeFull
		}
		return cairn.CodeInvalid // a file or a directory that somebody named
	case ExitUnavailable, ExitInUse, ExitTemporary:
		return cairn.CodeUnavailable
	}
	return cairn.CodeInternal
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "cairn",
		Short: "Run agents that survive crashes, ask before they do harm and keep to their budget",
		Long: "Cairn runs agents: every step is recorded before the next one begins, so that a session\n" +
			"goes on after a crash with nothing done twice and nothing lost.\n\n" + exitTable(),
		SilenceErrors: true,
		SilenceUsage:  true,
		PersistentPreRunE: func(*cobra.Command, []string) error {
			a.begun = true
			a.settle()
			return nil
		},
	}
	f := root.PersistentFlags()
	f.StringVar(&a.data, "data", "", "data directory (default $CAIRN_DATA, else ~/.cairn)")
	f.StringVar(&a.server, "server", "", "address of a server, http://host:port (default $CAIRN_SERVER; its token is read from $CAIRN_TOKEN)")
	f.BoolVar(&a.json, "json", false, "print JSON; streams print one object a line")
	f.BoolVar(&a.noColor, "no-color", false, "no colours (also $NO_COLOR)")
	f.BoolVarP(&a.verbose, "verbose", "v", false, "log what the runtime does to stderr")
	root.CompletionOptions.DisableDefaultCmd = true // ours says more
	root.AddGroup(
		&cobra.Group{ID: "run", Title: "Run agents:"},
		&cobra.Group{ID: "look", Title: "Look at sessions:"},
		&cobra.Group{ID: "act", Title: "Act on sessions:"},
		&cobra.Group{ID: "node", Title: "This machine:"},
	)
	for group, commands := range map[string][]*cobra.Command{
		"run":  {a.runCommand(), a.attachCommand(), a.agentsCommand(), a.applyCommand()},
		"look": {a.psCommand(), a.showCommand(), a.logsCommand(), a.asksCommand(), a.usageCommand(), a.filesCommand(), a.diffCommand(), a.exportCommand(), a.sessionsCommand()},
		"act":  {a.sendCommand(), a.approveCommand(), a.rejectCommand(), a.answerCommand(), a.controlCommand(cairn.ControlPause), a.controlCommand(cairn.ControlResume), a.controlCommand(cairn.ControlCancel)},
		"node": {a.serveCommand(), a.modelsCommand(), a.keysCommand(), a.doctorCommand(), a.versionCommand(), a.completionCommand(), a.manCommand()},
	} {
		for _, c := range commands {
			c.GroupID = group
			root.AddCommand(c)
		}
	}
	root.SetHelpCommandGroupID("node")
	refuseUnknown(root)
	addExamples(root)
	a.complete(root)
	return root
}

// settle works out what the flags and the environment say together.
func (a *app) settle() {
	if a.data == "" {
		a.data = a.Getenv("CAIRN_DATA")
	}
	if a.data == "" {
		a.data = a.defaultData()
	}
	if a.server == "" {
		a.server = a.Getenv("CAIRN_SERVER")
	}
	plain := a.noColor || a.json || a.Getenv("NO_COLOR") != "" || a.Getenv("TERM") == "dumb"
	a.out = style{color: a.Terminal.Out && !plain}
	a.err = style{color: a.Terminal.Err && !plain}
}

// defaultData is the data directory when nothing says otherwise; empty: there is none.
func (a *app) defaultData() string {
	if a.Home == "" {
		return ""
	}
	return filepath.Join(a.Home, ".cairn")
}

func exitTable() string {
	var b strings.Builder
	b.WriteString("Exit codes:\n")
	for _, c := range ExitCodes() {
		fmt.Fprintf(&b, "  %2d  %s\n", c.Code, c.Meaning)
	}
	return strings.TrimRight(b.String(), "\n")
}

// logger is where the node of this process logs. In a command that shows
// something else it says only what went wrong.
func (a *app) logger(w io.Writer, level slog.Level, format string) *slog.Logger {
	switch {
	case format == "json":
		return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level}))
	case a.err.color:
		return slog.New(tint.NewTextHandler(w, &tint.Options{Level: level, TimeFormat: time.TimeOnly}))
	}
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: level}))
}

// quietLogger is the logger of commands that are not serve.
func (a *app) quietLogger() *slog.Logger {
	if a.verbose {
		return a.logger(a.Stderr, slog.LevelInfo, "")
	}
	return a.logger(a.Stderr, slog.LevelError, "")
}

// print writes to stdout, or as JSON with --json.
func (a *app) print(v any, text func(w io.Writer)) error {
	if a.json {
		return a.printJSON(v)
	}
	text(a.Stdout)
	return nil
}

// printJSON writes one object on one line.
func (a *app) printJSON(v any) error {
	e := json.NewEncoder(a.Stdout)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// note tells a person something that is not what was asked for. A program that
// asked for JSON is not bothered.
func (a *app) note(format string, args ...any) {
	if a.json {
		return
	}
	fmt.Fprintln(a.Stderr, a.err.dim(fmt.Sprintf(format, args...)))
}

// callTimeout bounds one request to a server.
const callTimeout = 30 * time.Second
