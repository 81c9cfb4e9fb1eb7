package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/cairn-run/cairn"
	v1 "github.com/cairn-run/cairn/api/v1"
	"github.com/cairn-run/cairn/internal/config"
)

func (a *app) agentsCommand() *cobra.Command {
	var version string
	show := func(c *cobra.Command, arg string) error {
		name, at, err := agentArg(arg, version)
		if err != nil {
			return err
		}
		return a.agent(c.Context(), name, at)
	}
	c := &cobra.Command{
		Use:   "agents [NAME[@DIGEST]]",
		Short: "List the registered agents, or show one",
		Long: "agents lists the current version of every agent. A version is known by its digest, of which the first\n" +
			"characters will do where there is only one that begins so: support@3fa21b9c.",
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 1 {
				return show(c, args[0])
			}
			return a.agents(c.Context())
		},
	}
	const digestHelp = "this version instead of the current one"
	c.Flags().StringVar(&version, "digest", "", digestHelp)
	one := &cobra.Command{
		Use:   "show NAME[@DIGEST]",
		Short: "Show a version of an agent, as YAML",
		Long: "show prints a version of an agent as YAML: an agent file of the same version, but for skills, of whose files\n" +
			"it has only the names. --json prints the whole definition.",
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return show(c, args[0]) },
	}
	one.Flags().StringVar(&version, "digest", "", digestHelp)
	c.AddCommand(one, a.historyCommand(), a.agentsDiffCommand())
	return c
}

// agentArg takes NAME@DIGEST apart. The flag --digest means the same.
func agentArg(arg, flag string) (name, at string, err error) {
	name, at, ok := strings.Cut(arg, "@")
	if name == "" || ok && at == "" {
		return "", "", usage(fmt.Errorf("%q: write NAME, or NAME@DIGEST for a version", arg))
	}
	if flag != "" {
		if at != "" && at != flag {
			return "", "", usage(errors.New("the version is given twice: after the @ and with --digest"))
		}
		at = flag
	}
	return name, at, nil
}

func (a *app) agents(ctx context.Context) error {
	var list v1.AgentList
	if !a.fresh() {
		err := a.with(ctx, func(ctx context.Context, l *link) (err error) {
			list, err = l.Agents(ctx)
			return err
		})
		if err != nil {
			return err
		}
	}
	if a.json {
		for _, v := range list.Agents {
			if err := a.printJSON(v); err != nil {
				return err
			}
		}
		return nil
	}
	if len(list.Agents) == 0 {
		a.note("no agents yet: cairn run AGENTFILE, or cairn apply DIR, registers them")
		return nil
	}
	t := &table{head: []string{"AGENT", "VERSION", "MODEL", "SINCE", "DESCRIPTION"}}
	for _, v := range list.Agents {
		t.add(word(v.Name), digest(v.Digest), oneLine(v.Model, 40), v.Created.In(a.Location).Format("2006-01-02 15:04"), oneLine(v.Description, 60))
	}
	t.print(a.Stdout, a.out)
	return nil
}

func (a *app) agent(ctx context.Context, name, at string) error {
	if a.fresh() {
		return noAgent(name)
	}
	return a.with(ctx, func(ctx context.Context, l *link) error {
		v, err := l.version(ctx, name, at)
		if err != nil {
			return err
		}
		if a.json {
			return a.printJSON(v)
		}
		sections, err := config.Readable(v.Definition)
		if err != nil {
			return fmt.Errorf("the definition of %s cannot be read: %w", word(v.Name), err)
		}
		a.note("%s %s, %s, since %s", word(v.Name), word(v.Digest), oneLine(v.Model, 60), v.Created.In(a.Location).Format("2006-01-02 15:04:05"))
		for _, s := range sections {
			fmt.Fprint(a.Stdout, clean(s.Text))
		}
		return nil
	})
}

func noAgent(name string) error {
	return cairn.Errorf(cairn.CodeNotFound, "there is no agent %q: cairn agents lists those that are registered", name)
}

// printDiff prints the lines of a unified difference, those that came and went in
// their colours. What a terminal would not show is written as an escape, because a
// person decides by what stands here.
func (a *app) printDiff(w io.Writer, indent, text string) {
	for line := range strings.Lines(text) {
		line = shown(strings.TrimRight(line, "\n"))
		switch {
		case strings.HasPrefix(line, "+"):
			line = a.out.green(line)
		case strings.HasPrefix(line, "-"):
			line = a.out.red(line)
		case strings.HasPrefix(line, "@@"):
			line = a.out.dim(line)
		}
		fmt.Fprintln(w, strings.TrimRight(indent+line, " "))
	}
}

// shown writes every character that is not to be seen as an escape.
func shown(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case r == '\t' || unicode.IsPrint(r) && r != utf8.RuneError:
			b.WriteRune(r)
		case r > 0xffff:
			fmt.Fprintf(&b, `\U%08x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

// printChanges prints field by field how two versions differ.
func (a *app) printChanges(w io.Writer, indent string, changes []config.Change) {
	for _, c := range changes {
		fmt.Fprintln(w, indent+a.out.bold(oneLine(c.Field, 200)))
		a.printDiff(w, indent+"  ", c.Diff)
	}
}
