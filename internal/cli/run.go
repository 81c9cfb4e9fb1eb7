package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/cairn-run/cairn"
	v1 "github.com/cairn-run/cairn/api/v1"
	"github.com/cairn-run/cairn/client"
	"github.com/cairn-run/cairn/internal/config"
)

// runFlags are the flags of run.
type runFlags struct {
	model                string
	input, title, budget string
	record               string
	once, wait, detach   bool
	quiet                bool
	workspace            string
	limit                cairn.Bytes
	scripts, attach      []string
	metadata             map[string]string
}

func (a *app) runCommand() *cobra.Command {
	var f runFlags
	c := &cobra.Command{
		Use:   "run AGENTFILE|NAME --input TEXT|FILE|-",
		Short: "Start a session and show it until its run ends",
		Long: "run registers the agent file (or takes the agent that is registered under the name), starts a\n" +
			"session with the input and shows what it does. Progress goes to stderr, the final answer to stdout.\n\n" +
			"Without a server the session runs in this process, on the same data directory; after a kill,\n" +
			"cairn attach or cairn serve carries it on. On a terminal, what the session asks is put to you;\n" +
			"elsewhere run ends with code 3 when an answer is needed, and the session stays.\n\n" +
			"An interrupt (Ctrl-C) leaves and the session stays; a second one at once cancels it.\n\n" +
			"--workspace DIR gives the session a copy of a directory as /workspace, .git and all; nothing in DIR itself is\n" +
			"changed. cairn diff shows what the agent did, and cairn diff last --patch | git apply takes it home.\n\n" +
			"--record FILE.yaml writes down what the models say, as a script model: the same agent with\n" +
			"model: script/FILE gives the same answers again, without a key and a network.",
		Example: "  cairn run support.md --input \"Where is order A1?\"\n" +
			"  cairn run reviewer --input diff.patch --once\n" +
			"  git diff | cairn run reviewer --input -\n" +
			"  cairn run coder.md --workspace . --input \"Make the tests pass.\"",
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return a.run(c.Context(), args[0], f) },
	}
	fl := c.Flags()
	fl.StringVarP(&f.input, "input", "i", "", "what the session is asked: text, the name of a file, or - for stdin")
	fl.StringArrayVar(&f.attach, "attach", nil, attachHelp)
	fl.StringVar(&f.title, "title", "", "title in lists")
	fl.StringVar(&f.budget, "budget", "", "most the session may cost, like $0.50; tightens the agent's")
	fl.BoolVar(&f.once, "once", false, "the session ends with this run")
	fl.BoolVar(&f.wait, "wait", false, "stay while an ask is open; somebody else answers it")
	fl.BoolVarP(&f.detach, "detach", "d", false, "print the id of the session and end")
	fl.BoolVarP(&f.quiet, "quiet", "q", false, "print no progress, only the answer")
	fl.StringVar(&f.record, "record", "", "write what the models say into FILE, a script model (needs the run in this process)")
	fl.StringVarP(&f.model, "model", "m", "", "model instead of the one that the agent file names, like ollama/qwen3")
	fl.StringVar(&f.workspace, "workspace", "", "directory whose copy is /workspace of the session")
	fl.TextVar(&f.limit, "workspace-limit", cairn.Bytes(1<<30), "most that the files of the workspace may have, like 500Mi")
	a.sandboxFlag(fl)
	fl.StringVar(&a.providers, "providers", "", providersHelp)
	fl.StringArrayVar(&f.scripts, "scripts", nil, "directory of script models (default: that of the agent file, and scripts in it)")
	fl.StringToStringVar(&f.metadata, "meta", nil, "metadata of the session, key=value")
	return c
}

func (a *app) run(ctx context.Context, name string, f runFlags) (err error) {
	if err := a.recordable(f); err != nil {
		return err
	}
	file, err := readAgentArg(name)
	if err != nil {
		return err
	}
	if f.model != "" {
		if file == nil {
			return usage(fmt.Errorf("--model: %s is a registered agent; its model is part of its version: give its file, or move the session", name))
		}
		a.model, file.Agent.Model = f.model, f.model
		file.Agent.Fallback = slices.DeleteFunc(file.Agent.Fallback, func(m string) bool { return m == f.model })
		if err := file.Agent.Validate(); err != nil {
			return usage(fmt.Errorf("--model: %w", err))
		}
	}
	input, err := a.content(f.input, f.attach, f.quiet)
	if err != nil {
		return err
	}
	var files *packing
	if f.workspace != "" {
		if files, err = untilSignal(a, func() (*packing, error) { return a.pack(f.workspace, int64(f.limit)) }); err != nil {
			return err
		}
	}
	if err := a.sandboxKnown(); err != nil {
		return err
	}
	create := v1.CreateSession{Agent: name, Input: input, Title: f.title, Once: f.once, Metadata: f.metadata}
	if f.budget != "" {
		m, err := cairn.ParseMoney(f.budget)
		if err != nil {
			return usage(fmt.Errorf("--budget: %w", err))
		}
		if m == 0 {
			return usage(errors.New("--budget: $0 would allow nothing; leave it out for no limit"))
		}
		create.Budget.Session = m
	}
	if file != nil {
		create.Agent = file.Agent.Name
		if err := a.keepScripts(name, file.Agent, f.scripts); err != nil {
			return err
		}
	}
	n := needRun
	if f.detach {
		n = needStore
	}
	if f.record != "" {
		end, failed := a.record(f.record)
		if failed != nil {
			return failed
		}
		defer func() { err = end(err) }()
	}
	soon, stop := a.interruptible(ctx) // until there is a session, an interrupt just ends
	defer stop()
	l, err := a.connect(soon, n)
	if err != nil {
		return interrupted(soon, err)
	}
	if f.record != "" && l.node == nil {
		return a.errServed()
	}
	if a.providers != "" && l.node == nil {
		return errProviders()
	}
	fl := a.newFollower(l, "", f.wait, f.quiet)
	defer func() { err = errors.Join(err, fl.link.close()) }()
	if err := a.openedSandbox(l); err != nil {
		return err
	}
	if files != nil {
		tree, err := a.upload(soon, l, files, f.quiet)
		if err != nil {
			return interrupted(soon, err)
		}
		create.Workspace = tree
	}
	s, err := a.start(soon, l, file, create)
	if err != nil {
		return interrupted(soon, err)
	}
	stop()
	if f.detach {
		if err := a.print(s, func(w io.Writer) { fmt.Fprintln(w, s.ID) }); err != nil {
			return err
		}
		l.carried(s.ID)
		return nil
	}
	fl.v.id = s.ID
	return fl.outcome(ctx, fl.watch(ctx))
}

// errProviders: another process calls the models.
func errProviders() error {
	return usage(errors.New("--providers: the session runs in the server; give the file to cairn serve"))
}

// start registers the agent file, if there is one, and starts a session.
func (a *app) start(ctx context.Context, l *link, file *config.File, create v1.CreateSession) (v1.Session, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if file != nil {
		if _, err := l.apply(ctx, file); err != nil {
			return v1.Session{}, err
		}
	}
	s, err := l.CreateSession(ctx, create, client.Key(a.NewKey()))
	if name, version, ok := strings.Cut(create.Agent, "@"); ok && file == nil && err != nil {
		return s, usage(fmt.Errorf("a session starts under the current version of an agent: %s, then %s",
			a.command("run %s", shellWord(name)), a.command("sessions move last %s", shellWord(name+"@"+version))))
	}
	if file == nil && cairn.CodeOf(err) == cairn.CodeNotFound {
		return s, cairn.Errorf(cairn.CodeNotFound, "there is no agent %q: name an agent file instead, or register one with %s", create.Agent, a.command("apply FILE"))
	}
	return s, err
}

// apply registers an agent file. What the node finds wrong with it is shown at
// its line.
func (l *link) apply(ctx context.Context, file *config.File) (v1.Applied, error) {
	v, err := l.Apply(ctx, file.Agent)
	return v, l.app.locate(file, err)
}

// locate shows what a node finds wrong with an agent file at its line. What is
// wrong with --model is said of that, and where a script that is missing might lie
// beside the file, which the node does not know.
func (a *app) locate(file *config.File, err error) error {
	field, ok := errors.AsType[*cairn.FieldError](err)
	if info, is := errors.AsType[*v1.ErrorInfo](err); is && len(info.Fields) > 0 {
		p := info.Fields[0]
		field, ok = &cairn.FieldError{Path: strings.TrimPrefix(p.Path, "body."), Problem: p.Problem}, true
	}
	if !ok {
		return err
	}
	if field.Path == "model" && a.model != "" {
		return usage(fmt.Errorf("--model %s: %s", a.model, field.Problem))
	}
	located := file.Locate(field)
	if field.Path == "model" && a.unfound[file.Agent.Model] {
		return fmt.Errorf("%w\nit may lie beside the agent file, too, or in scripts there", located)
	}
	return located
}

// readAgentArg reads the agent file an argument names; nil: it is the name of a
// registered agent.
func readAgentArg(name string) (*config.File, error) {
	switch strings.ToLower(filepath.Ext(name)) {
	case ".md", ".markdown", ".yaml", ".yml", ".json":
		return readAgent(name)
	}
	if strings.ContainsRune(name, filepath.Separator) {
		return readAgent(name)
	}
	return nil, nil
}

func (a *app) attachCommand() *cobra.Command {
	var wait, quiet bool
	c := &cobra.Command{
		Use:   "attach SESSION|last",
		Short: "Show a session until its run ends, and carry it on when no server does",
		Long: "attach shows the end of a session's history and what it does from now on. Without a server it\n" +
			"opens the data directory itself: sessions that a killed process left go on from where they were.",
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return a.attach(c.Context(), args[0], 0, wait, quiet) },
	}
	c.Flags().StringVar(&a.providers, "providers", "", providersHelp)
	a.sandboxFlag(c.Flags())
	c.Flags().BoolVar(&wait, "wait", false, "stay while an ask is open; somebody else answers it")
	c.Flags().BoolVarP(&quiet, "quiet", "q", false, "print no progress, only the answer")
	return c
}

// attach follows a session from its tail on. A run that ended before event
// `after` is not what the caller waits for.
func (a *app) attach(ctx context.Context, arg string, after cairn.Seq, wait, quiet bool) (err error) {
	if a.fresh() {
		return cairn.Errorf(cairn.CodeNotFound, "there are no sessions in %s", a.data)
	}
	if err := a.sandboxKnown(); err != nil {
		return err
	}
	soon, stop := a.interruptible(ctx)
	defer stop()
	l, err := a.connect(soon, needRun)
	if err != nil {
		return interrupted(soon, err)
	}
	if a.providers != "" && l.node == nil {
		return errProviders()
	}
	f := a.newFollower(l, "", wait, quiet)
	defer func() { err = errors.Join(err, f.link.close()) }()
	if err := a.openedSandbox(l); err != nil {
		return err
	}
	id, err := l.sessionOf(soon, arg)
	if err != nil {
		return interrupted(soon, err)
	}
	stop()
	f.v.id = id
	f.least = after
	if err := f.persist(ctx, f.backlog); err != nil {
		return err
	}
	f.restless, f.rest = true, time.After(a.Grace)
	return f.outcome(ctx, f.watch(ctx))
}

// backlogSize is how many events of a session's past are shown.
const backlogSize = 100

// backlog shows the end of the past and learns what is open.
func (f *follower) backlog(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	page, err := f.link.Events(ctx, f.v.id, client.EventQuery{Before: tailSeq, Limit: backlogSize})
	if err != nil {
		return err
	}
	before := f.least
	if page.Prev > 0 {
		before = max(before, page.Prev-1)
	}
	if before > 0 && !f.quiet {
		f.app.note("… %s before: %s", plural(int(before), "event"), f.app.command("logs %s", f.v.id))
	}
	f.target = page.Last
	for i := range page.Events {
		if err := f.show(&page.Events[i]); err != nil {
			return err
		}
	}
	asks, err := f.link.Asks(ctx, client.AskQuery{Session: f.v.id})
	if err != nil {
		return err
	}
	f.v.asks = nil
	for _, ask := range asks.Asks {
		f.v.asks = append(f.v.asks, askOf(ask))
	}
	row, err := f.link.Session(ctx, f.v.id)
	if err != nil {
		return err
	}
	if row.LastSeq == f.v.seq { // the page may begin in the middle
		f.v.usage, f.v.cost, f.v.status, f.v.sandbox = row.Usage, row.Cost, row.Status, row.Sandbox
	}
	return nil
}

// tailSeq is beyond the end of any session.
const tailSeq = cairn.Seq(1) << 62

// askOf is an ask in the runtime's own form.
func askOf(a v1.Ask) cairn.Ask {
	return cairn.Ask{
		ID: a.ID, Kind: a.Kind, Run: a.Run, Effect: a.Effect, Tool: a.Tool, Class: a.Class, Args: a.Args,
		Digest: a.Digest, Rule: a.Rule, Reason: a.Reason, Prose: a.Prose, Amount: a.Amount, Scope: a.Scope,
		Opened: a.Opened, Expires: a.Expires, OnExpire: a.OnExpire,
	}
}
