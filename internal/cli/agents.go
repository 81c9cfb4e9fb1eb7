package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/cairn-run/cairn"
	v1 "github.com/cairn-run/cairn/api/v1"
	"github.com/cairn-run/cairn/internal/config"
	"github.com/cairn-run/cairn/policy"
	"github.com/cairn-run/cairn/tool"
	"github.com/cairn-run/cairn/tool/builtin"
	toolhttp "github.com/cairn-run/cairn/tool/http"
	"github.com/cairn-run/cairn/tool/mcp"
)

func (a *app) agentsCommand() *cobra.Command {
	var version string
	c := &cobra.Command{
		Use:   "agents [NAME]",
		Short: "List the registered agents, or show one",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 1 {
				return a.agent(c.Context(), args[0], cairn.Digest(version))
			}
			return a.agents(c.Context())
		},
	}
	c.Flags().StringVar(&version, "digest", "", "this version instead of the current one")
	return c
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

func (a *app) agent(ctx context.Context, name string, version cairn.Digest) error {
	if a.fresh() {
		return cairn.Errorf(cairn.CodeNotFound, "there is no agent %q", name)
	}
	return a.with(ctx, func(ctx context.Context, l *link) error {
		v, err := l.Agent(ctx, name, version)
		if err != nil {
			return err
		}
		return a.print(v, func(w io.Writer) {
			fmt.Fprintf(w, "%s %s, %s, since %s\n", a.out.bold(word(v.Name)), a.out.dim(word(v.Digest)), oneLine(v.Model, 60), v.Created.In(a.Location).Format("2006-01-02 15:04:05"))
			if v.Description != "" {
				fmt.Fprintln(w, oneLine(v.Description, 400))
			}
			fmt.Fprintln(w, indentJSON(v.Definition, ""))
		})
	})
}

func (a *app) applyCommand() *cobra.Command {
	var dry bool
	c := &cobra.Command{
		Use:   "apply FILE|DIR...",
		Short: "Check agent files and make them the current versions",
		Long: "apply reads agent files (of a directory: every .md, .yaml, .yml and .json in it that has the fields of an\n" +
			"agent), checks all of them, and registers them only if all are right. --check reaches no model and no server:\n" +
			"that the model is known, and that a tool of an MCP server exists, is not looked at.",
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return a.apply(c.Context(), args, dry) },
	}
	c.Flags().BoolVar(&dry, "check", false, "only check, register nothing")
	return c
}

func (a *app) apply(ctx context.Context, paths []string, dry bool) error {
	var files []*config.File
	var names []string
	var problems []error
	tools := mcp.New(mcp.Options{Log: a.quietLogger()})
	defer func() { _ = tools.Close() }() // it has no connection: nothing is called
	catalog := tool.New(tool.Options{HTTP: toolhttp.New(), MCP: tools, Builtin: builtin.Tools(), Log: a.quietLogger()})
	for _, path := range paths {
		found, err := agentFiles(path)
		if err != nil {
			return err
		}
		for _, name := range found {
			f, err := readAgent(name)
			if err == nil {
				err = f.Locate(catalog.Validate(f.Agent))
			}
			if err != nil {
				problems = append(problems, err)
				continue
			}
			files, names = append(files, f), append(names, name)
		}
	}
	if len(problems) > 0 {
		return usage(errors.Join(problems...))
	}
	if len(files) == 0 {
		return usage(fmt.Errorf("no agent files in %s", strings.Join(paths, ", ")))
	}
	if dry {
		for i, f := range files {
			if err := a.printApplied(names[i], v1.Applied{AgentVersion: v1.AgentVersion{Name: f.Agent.Name, Digest: f.Agent.Digest(), Model: f.Agent.Model, Description: f.Agent.Description}}, "right"); err != nil {
				return err
			}
		}
		return nil
	}
	for i, f := range files {
		if err := a.keepScripts(names[i], f.Agent, nil); err != nil {
			return err
		}
	}
	return a.with(ctx, func(ctx context.Context, l *link) error {
		for i, f := range files {
			v, err := l.apply(ctx, f)
			if err != nil {
				return err
			}
			word := "unchanged"
			if v.New {
				word = "new version"
			}
			if err := a.printApplied(names[i], v, word); err != nil {
				return err
			}
		}
		return nil
	})
}

func (a *app) printApplied(file string, v v1.Applied, word string) error {
	return a.print(v, func(w io.Writer) {
		fmt.Fprintf(w, "%s %s: %s %s\n", v.Name, a.out.dim(digest(v.Digest)), word, a.out.dim("("+file+")"))
	})
}

// readAgent reads an agent file and checks what can be checked without a node.
func readAgent(path string) (*config.File, error) {
	f, err := config.ReadAgent(path)
	if err != nil {
		return nil, err
	}
	if _, err := policy.Compile(f.Agent.Policy); err != nil {
		return nil, f.Locate(err)
	}
	return f, nil
}

// agentFiles are the agent files a path stands for. In a directory, other
// Markdown, YAML and JSON may lie beside them: a file counts when its front
// matter or its fields have a model.
func agentFiles(path string) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return []string{path}, nil
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, err
	}
	var found []string
	for _, e := range entries {
		name := filepath.Join(path, e.Name())
		switch strings.ToLower(filepath.Ext(name)) {
		case ".md", ".markdown", ".yaml", ".yml", ".json":
		default:
			continue
		}
		if e.Type()&fs.ModeType != 0 {
			continue
		}
		ok, err := config.IsAgent(name)
		if err != nil {
			return nil, err
		}
		if ok {
			found = append(found, name)
		}
	}
	return found, nil
}
