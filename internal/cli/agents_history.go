package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/cairn-run/cairn"
	v1 "github.com/cairn-run/cairn/api/v1"
	"github.com/cairn-run/cairn/internal/config"
)

func (a *app) historyCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "history NAME",
		Short: "List the versions of an agent, newest first",
		Args:  cobra.ExactArgs(1),
		RunE:  func(c *cobra.Command, args []string) error { return a.history(c.Context(), args[0]) },
	}
}

// versionLine is one version as history prints it with --json.
type versionLine struct {
	v1.AgentVersion
	Current bool `json:"current"`
}

func (a *app) history(ctx context.Context, name string) error {
	if a.fresh() {
		return noAgent(name)
	}
	return a.with(ctx, func(ctx context.Context, l *link) error {
		current, all, err := l.versions(ctx, name)
		if err != nil {
			return err
		}
		t := &table{head: []string{"VERSION", "SINCE", "MODEL", "DESCRIPTION"}}
		for _, v := range all {
			v.Definition = nil
			line := versionLine{v, v.Digest == current}
			if a.json {
				if err := a.printJSON(line); err != nil {
					return err
				}
				continue
			}
			mark := digest(v.Digest)
			if line.Current {
				mark = a.out.bold(mark) + a.out.dim(" (current)")
			}
			t.add(mark, v.Created.In(a.Location).Format("2006-01-02 15:04:05"), oneLine(v.Model, 40), oneLine(v.Description, 60))
		}
		if !a.json {
			t.print(a.Stdout, a.out)
		}
		return nil
	})
}

func (a *app) agentsDiffCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "diff NAME [DIGEST [DIGEST]]",
		Short: "Show how two versions of an agent differ, field by field",
		Long: "diff compares two versions of an agent. Without the second it takes the current one, and without the first\n" +
			"the one that was registered before the current one.",
		Args: cobra.RangeArgs(1, 3),
		RunE: func(c *cobra.Command, args []string) error { return a.agentsDiff(c.Context(), args[0], args[1:]) },
	}
}

// compared is what agents diff prints with --json.
type compared struct {
	Name    string          `json:"name"`
	From    cairn.Digest    `json:"from"`
	To      cairn.Digest    `json:"to"`
	Changes []config.Change `json:"changes"`
}

func (a *app) agentsDiff(ctx context.Context, name string, at []string) error {
	if a.fresh() {
		return noAgent(name)
	}
	return a.with(ctx, func(ctx context.Context, l *link) error {
		from, to, err := l.pair(ctx, name, at)
		if err != nil {
			return err
		}
		changes, err := config.Compare(from.Definition, to.Definition)
		if err != nil {
			return fmt.Errorf("the versions of %s cannot be compared: %w", word(name), err)
		}
		if changes == nil {
			changes = []config.Change{}
		}
		return a.print(compared{name, from.Digest, to.Digest, changes}, func(w io.Writer) {
			fmt.Fprintf(w, "%s %s → %s\n", a.out.bold(word(name)), digest(from.Digest), digest(to.Digest))
			if len(changes) == 0 {
				a.note("they do not differ")
			}
			a.printChanges(w, "  ", changes)
		})
	})
}

// pair is the two versions that diff compares.
func (l *link) pair(ctx context.Context, name string, at []string) (from, to v1.AgentVersion, err error) {
	second := ""
	if len(at) == 2 {
		second = at[1]
	}
	if to, err = l.version(ctx, name, second); err != nil {
		return from, to, err
	}
	if len(at) > 0 {
		from, err = l.version(ctx, name, at[0])
		return from, to, err
	}
	_, all, err := l.versions(ctx, name)
	if err != nil {
		return from, to, err
	}
	i := slices.IndexFunc(all, func(v v1.AgentVersion) bool { return v.Digest == to.Digest })
	if i < 0 || i+1 >= len(all) {
		return from, to, cairn.Errorf(cairn.CodeNotFound, "agent %q has no version before %s", name, digest(to.Digest))
	}
	from, err = l.Agent(ctx, name, all[i+1].Digest)
	return from, to, err
}

// Digests: what somebody may write for one.
const (
	digestPrefix = "sha256:"
	digestSize   = 64
	leastDigest  = 4 // characters, below it too many begin alike
)

// version finds a version of an agent by its digest or the beginning of it; empty: the
// current one.
func (l *link) version(ctx context.Context, name, at string) (v1.AgentVersion, error) {
	at = strings.TrimPrefix(at, digestPrefix)
	if at == "" || len(at) == digestSize {
		d := cairn.Digest("")
		if at != "" {
			d = cairn.Digest(digestPrefix + at)
		}
		v, err := l.Agent(ctx, name, d)
		switch {
		case at == "" && cairn.CodeOf(err) == cairn.CodeNotFound:
			return v, noAgent(name)
		case err == nil && v.Name != name: // a digest names its agent, too
			return v, cairn.Errorf(cairn.CodeNotFound, "%s is a version of %s, not of %s", digest(v.Digest), word(v.Name), name)
		}
		return v, err
	}
	if len(at) < leastDigest || strings.Trim(at, "0123456789abcdef") != "" {
		return v1.AgentVersion{}, usage(fmt.Errorf("%q is not the digest of a version: give at least %d of the characters that cairn agents history %s shows", at, leastDigest, name))
	}
	_, all, err := l.versions(ctx, name)
	if err != nil {
		return v1.AgentVersion{}, err
	}
	var found []v1.AgentVersion
	for _, v := range all {
		if strings.HasPrefix(string(v.Digest), digestPrefix+at) {
			found = append(found, v)
		}
	}
	switch len(found) {
	case 0:
		return v1.AgentVersion{}, cairn.Errorf(cairn.CodeNotFound, "agent %q has no version %s: cairn agents history %s lists them", name, at, name)
	case 1:
		return l.Agent(ctx, name, found[0].Digest)
	}
	return v1.AgentVersion{}, usage(fmt.Errorf("%d versions of %s begin with %s: give more of it", len(found), name, at))
}

// maxVersions is how many versions of an agent are looked at.
const maxVersions = 1000

// versions are the versions of an agent, newest first, and the digest of the current
// one.
func (l *link) versions(ctx context.Context, name string) (current cairn.Digest, all []v1.AgentVersion, err error) {
	list, err := l.Versions(ctx, name, maxVersions)
	if cairn.CodeOf(err) == cairn.CodeNotFound {
		return "", nil, noAgent(name)
	}
	return list.Current, list.Versions, err
}

// definitionOf is the canonical JSON under which a definition is stored.
func definitionOf(a *cairn.Agent) ([]byte, error) {
	b, err := json.Marshal(a)
	if err != nil {
		return nil, err
	}
	return cairn.Canonical(b)
}
