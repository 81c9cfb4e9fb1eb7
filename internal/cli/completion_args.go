package cli

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/client"
	"github.com/cairn-run/cairn/node"
)

// Bounds of a completion: somebody waits at a prompt.
const (
	completionTime = 1500 * time.Millisecond
	completions    = 50
)

// completer lists what may stand at a place of the command line, each with what is
// said of it behind a tab.
type completer func(ctx context.Context) []string

// complete gives every command and every flag its completions. What an argument is
// stands in the usage line of its command: SESSION, ASK, AGENTFILE …
func (a *app) complete(root *cobra.Command) {
	for _, c := range commandsOf(root) {
		if c.ValidArgsFunction == nil && c.ValidArgs == nil && c.Runnable() {
			c.ValidArgsFunction = a.completeArgs
		}
		for name, of := range map[string]completer{
			"agent":      a.agentNames,
			"session":    a.sessionIDs,
			"type":       func(context.Context) []string { return texts(cairn.EventTypes()) },
			"log-format": func(context.Context) []string { return []string{"text", "json"} },
			"log-level":  func(context.Context) []string { return []string{"debug", "info", "warn", "error"} },
			"status":     statusesOf(c),
		} {
			if c.Flags().Lookup(name) == nil {
				continue
			}
			_ = c.RegisterFlagCompletionFunc(name, func(_ *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
				return a.completed(of, typed), cobra.ShellCompDirectiveNoFileComp
			}) // it fails if the command has its own, which is better
		}
		for _, name := range []string{"scripts", "data"} {
			if c.LocalFlags().Lookup(name) != nil {
				_ = c.MarkFlagDirname(name) // as above
			}
		}
	}
}

// commandsOf lists a command and all below it.
func commandsOf(c *cobra.Command) []*cobra.Command {
	all := []*cobra.Command{c}
	for _, sub := range c.Commands() {
		all = append(all, commandsOf(sub)...)
	}
	return all
}

// statusesOf lists what --status takes: of asks, or of sessions.
func statusesOf(c *cobra.Command) completer {
	all := texts(append(slices.Clone(active), cairn.StatusCompleted, cairn.StatusFailed, cairn.StatusCancelled))
	if c.Name() == "asks" {
		all = texts([]cairn.AskStatus{
			cairn.AskOpen, cairn.AskApproved, cairn.AskEdited, cairn.AskRejected, cairn.AskAnswered, cairn.AskLapsed, cairn.AskCancelled, cairn.AskSuperseded,
		})
	}
	return func(context.Context) []string { return all }
}

func texts[S ~string](list []S) []string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = string(s)
	}
	return out
}

// completeArgs completes an argument by its word in the usage line.
func (a *app) completeArgs(c *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	const none = cobra.ShellCompDirectiveNoFileComp
	if c.Name() == "keys" {
		return a.completed(a.keyArgs(args), typed), none
	}
	var found []string
	directive := none
	for _, w := range strings.Split(argWord(c, len(args)), "|") {
		switch {
		case w == "SESSION":
			found = append(found, a.completed(a.sessionIDs, typed)...)
		case w == "ASK":
			found = append(found, a.completed(a.askIDs, typed)...)
		case w == "PROVIDER":
			found = append(found, a.completed(a.providerNames, typed)...)
		case w == "NAME" && (c.Name() == "run" || c.Name() == "agents" || c.Parent().Name() == "agents"), w == "NAME@DIGEST", w == "AGENT":
			found = append(found, a.completed(a.agentNames, typed)...)
		case w == "AGENTFILE":
			found = append(found, agentFilesHere(typed)...)
			if len(found) == 0 {
				directive = cobra.ShellCompDirectiveDefault
			}
		case w == "DIR" && directive == none && !strings.Contains(c.Use, "FILE"):
			directive = cobra.ShellCompDirectiveFilterDirs
		case w == "FILE", w == "DIR":
			directive = cobra.ShellCompDirectiveDefault
		case w != "" && w == strings.ToLower(w) && strings.HasPrefix(w, typed) && len(w) > 1:
			found = append(found, w)
		}
	}
	if len(found) > 0 && directive == cobra.ShellCompDirectiveFilterDirs {
		directive = none
	}
	return found, directive
}

// argWord is the word of the usage line for the argument that comes after n others,
// with its alternatives: "SESSION|last".
func argWord(c *cobra.Command, n int) string {
	var words []string
	for _, w := range strings.Fields(c.Use)[1:] {
		if strings.HasPrefix(w, "-") { // a flag; its value comes with it
			break
		}
		words = append(words, w)
	}
	if len(words) == 0 {
		return ""
	}
	last := words[len(words)-1]
	if n >= len(words) {
		if !strings.Contains(last, "...") {
			return ""
		}
		n = len(words) - 1
	}
	word := strings.NewReplacer("[@DIGEST]", "", "[@VERSION]", "").Replace(words[n])
	return strings.NewReplacer("...", "", "[", "", "]", "").Replace(word)
}

// plainWord is what may stand on a command line without quotes.
var plainWord = regexp.MustCompile(`^[A-Za-z0-9._/@:-]+$`)

// completed runs a completer within its time, in silence: a completion is no place for
// errors. What a shell might take for more than a word is left out.
func (a *app) completed(of completer, typed string) []string {
	ctx, cancel := context.WithTimeout(context.Background(), completionTime)
	defer cancel()
	stderr := a.Stderr
	a.Stderr = io.Discard
	defer func() { a.Stderr = stderr }()
	var out []string
	for _, s := range of(ctx) {
		value, note, _ := strings.Cut(s, "\t")
		if !strings.HasPrefix(value, typed) || !plainWord.MatchString(value) {
			continue
		}
		if note = oneLine(note, 60); note != "" {
			value += "\t" + note
		}
		if out = append(out, value); len(out) == completions {
			break
		}
	}
	return out
}

// glance looks at the node, if there is one or something that it left.
func (a *app) glance(ctx context.Context, do func(l *link) error) {
	a.settle()
	if a.fresh() || a.data == "" && a.server == "" {
		return
	}
	l, err := a.connect(ctx, needStore)
	if err != nil {
		return
	}
	_ = do(l)     // what could not be had is not offered
	_ = l.close() // nothing was changed
}

func (a *app) sessionIDs(ctx context.Context) (all []string) {
	a.glance(ctx, func(l *link) error {
		list, err := l.Sessions(ctx, client.SessionQuery{Limit: completions})
		for _, s := range list.Sessions {
			all = append(all, string(s.ID)+"\t"+strings.TrimSuffix(s.Agent+", "+string(s.Status)+", "+s.Title, ", "))
		}
		return err
	})
	return all
}

func (a *app) askIDs(ctx context.Context) (all []string) {
	a.glance(ctx, func(l *link) error {
		list, err := l.Asks(ctx, client.AskQuery{Status: cairn.AskOpen, Limit: completions})
		for _, k := range list.Asks {
			all = append(all, string(k.ID)+"\t"+string(k.Kind)+" "+k.Tool)
		}
		return err
	})
	return all
}

func (a *app) agentNames(ctx context.Context) (all []string) {
	a.glance(ctx, func(l *link) error {
		list, err := l.Agents(ctx)
		for _, v := range list.Agents {
			all = append(all, v.Name+"\t"+v.Description)
		}
		return err
	})
	return all
}

// providerNames asks no provider.
func (a *app) providerNames(context.Context) []string {
	a.settle()
	found, err := node.OpenProviders(node.ProviderOptions{Dir: a.data, File: a.providers, Getenv: a.Getenv})
	if err != nil {
		return nil
	}
	var all []string
	for _, p := range found.All() {
		all = append(all, p.Name)
	}
	return all
}

// keyArgs completes the arguments of keys: what to do, then the names that
// providers look for.
func (a *app) keyArgs(args []string) completer {
	return func(context.Context) []string {
		switch {
		case len(args) == 0:
			return []string{"list\tthe keys that are kept", "set\tkeep a key", "rm\tremove a key"}
		case len(args) > 1 || args[0] == "list":
			return nil
		}
		a.settle()
		found, err := node.OpenProviders(node.ProviderOptions{Dir: a.data, Getenv: a.Getenv})
		if err != nil {
			return nil
		}
		var all []string
		for _, p := range found.All() {
			for _, k := range p.Keys {
				if name, ok := strings.CutPrefix(k, "env:"); ok {
					all = append(all, name+"\t"+p.Name)
				}
			}
		}
		return all
	}
}

// agentFilesHere lists files of the working directory that may be agents. Where a
// path was begun, the shell completes it.
func agentFilesHere(typed string) []string {
	if strings.ContainsRune(typed, filepath.Separator) {
		return nil
	}
	dir, err := os.Open(".")
	if err != nil {
		return nil
	}
	entries, _ := dir.ReadDir(10 * completions) // those that could be read
	_ = dir.Close()                             // it was only read
	var all []string
	for _, e := range entries {
		switch strings.ToLower(filepath.Ext(e.Name())) {
		case ".md", ".markdown", ".yaml", ".yml", ".json":
			if strings.HasPrefix(e.Name(), typed) && !e.IsDir() && plainWord.MatchString(e.Name()) && len(all) < completions {
				all = append(all, e.Name())
			}
		}
	}
	slices.Sort(all)
	return all
}
