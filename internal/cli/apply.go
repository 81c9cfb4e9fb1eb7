package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/cairn-run/cairn"
	v1 "github.com/cairn-run/cairn/api/v1"
)

// applyFlags are the flags of apply.
type applyFlags struct {
	yes, dry, check, detailed bool
}

func (a *app) applyCommand() *cobra.Command {
	var f applyFlags
	c := &cobra.Command{
		Use:   "apply DIR|FILE...",
		Short: "Make agent files the current versions, after showing what changes",
		Long: "apply reads agent files, checks all of them, shows how they differ from the versions that are registered, and\n" +
			"registers what is new. On a terminal it asks first. If one file is wrong, nothing is registered. Sessions that\n" +
			"run stay with their version. Agents that are registered and not in DIR are named and left alone.\n\n" +
			"In a directory, a file is an agent if its name ends in .md, .yaml, .yml or .json and it has a field model at the\n" +
			"top (of Markdown, in its front matter) and is no script of a model. A broken one is an error. All else may lie\n" +
			"there too: README.md, AGENTS.md, schemas. Folders in it, of skills for example, are not looked into.\n\n" +
			"--check reaches no model and no server: that the model is known, and that a tool of an MCP server exists, is not\n" +
			"looked at.",
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return a.apply(c.Context(), args, f) },
	}
	fl := c.Flags()
	fl.BoolVarP(&f.yes, "yes", "y", false, "do not ask")
	fl.BoolVar(&f.dry, "dry-run", false, "show what would change, register nothing")
	fl.BoolVar(&f.detailed, "detailed-exitcode", false, fmt.Sprintf("with --dry-run: end with code %d if something would change", ExitChanges))
	fl.BoolVar(&f.check, "check", false, "only check the files, register nothing")
	return c
}

func (a *app) apply(ctx context.Context, paths []string, f applyFlags) error {
	switch {
	case f.detailed && !f.dry:
		return usage(errors.New("--detailed-exitcode goes with --dry-run"))
	case f.check && f.dry:
		return usage(errors.New("give --check, which looks at the files alone, or --dry-run, which compares them with what is registered"))
	}
	found, err := a.findAgents(paths)
	if err != nil {
		return err
	}
	for _, name := range found.almost {
		a.note("%s is no agent: it has no field model", oneLine(name, 200))
	}
	if f.check {
		for _, file := range found.files {
			if err := a.printLine(applyLine{Name: file.Agent.Name, File: file.path, Digest: file.Agent.Digest(), Model: file.Agent.Model}, "right"); err != nil {
				return err
			}
		}
		return nil
	}
	if f.dry && a.fresh() { // looking makes no data directory
		p, err := newPlan(found, v1.AgentList{}, nil)
		if err != nil {
			return err
		}
		return a.dryRun(p, f)
	}
	return a.with(ctx, func(ctx context.Context, l *link) error {
		p, err := l.plan(ctx, found, f.dry)
		if err != nil {
			return err
		}
		if f.dry {
			return a.dryRun(p, f)
		}
		if !a.json && p.changing() > 0 {
			a.printPlan(p)
		}
		if err := a.confirm(ctx, p, f); err != nil {
			return err
		}
		return a.carryOut(ctx, l, p)
	})
}

func (a *app) dryRun(p *plan, f applyFlags) error {
	if a.json {
		for _, s := range p.steps {
			if err := a.printJSON(s.line); err != nil {
				return err
			}
		}
	} else {
		a.printPlan(p)
	}
	if f.detailed && p.changing() > 0 {
		return &exit{code: ExitChanges}
	}
	return nil
}

// confirm asks the person at the terminal whether the plan is to be carried out.
func (a *app) confirm(ctx context.Context, p *plan, f applyFlags) error {
	if f.yes || a.json || !a.Terminal.In || !a.Terminal.Err || p.changing() == 0 {
		return nil
	}
	fmt.Fprint(a.Stderr, a.err.bold("apply "+plural(p.changing(), "change")+"? [y]es [N]o")+" > ")
	said := make(chan string, 1)
	go func() { // it stays behind when the person leaves: the process ends
		line, _ := bufio.NewReader(io.LimitReader(a.Stdin, 1<<10)).ReadString('\n')
		said <- line
	}()
	var answer string
	select {
	case answer = <-said:
	case <-ctx.Done():
		fmt.Fprintln(a.Stderr)
	}
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return nil
	}
	return &exit{ExitTemporary, errors.New("not confirmed: nothing was registered")}
}

// carryOut registers what the plan has, in its order.
func (a *app) carryOut(ctx context.Context, l *link, p *plan) error {
	var done []string
	for _, s := range p.steps {
		if s.file == nil { // left alone
			if a.json {
				if err := a.printJSON(s.line); err != nil {
					return err
				}
			}
			continue
		}
		word := "unchanged"
		if s.line.Action != actionNone {
			v, err := l.apply(ctx, s.file.File)
			if err != nil {
				if len(done) > 0 {
					return fmt.Errorf("%w\nregistered before it: %s", err, strings.Join(done, ", "))
				}
				return err
			}
			done = append(done, v.Name)
			s.line.Applied, s.line.New, s.line.Created = true, v.New, v.Created
			word = "new version"
			if !v.New {
				word = "an earlier version again"
			}
		}
		if err := a.printLine(s.line, word); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) printLine(line applyLine, word string) error {
	return a.print(line, func(w io.Writer) {
		fmt.Fprintf(w, "%s %s: %s %s\n", line.Name, a.out.dim(digest(line.Digest)), word, a.out.dim("("+oneLine(line.File, 0)+")"))
	})
}

// noFiles says that there is nothing to apply.
func noFiles(paths []string) error {
	return &exit{ExitUsage, cairn.Errorf(cairn.CodeInvalid, "no agent files in %s: a file is one if it ends in .md, .yaml, .yml or .json and has a field model", strings.Join(paths, ", "))}
}
