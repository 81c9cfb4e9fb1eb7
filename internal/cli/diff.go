package cli

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/cairn-run/cairn"
	v1 "github.com/cairn-run/cairn/api/v1"
	"github.com/cairn-run/cairn/client"
)

// diffFlags are the flags of diff.
type diffFlags struct {
	from, to    string
	stat, patch bool
	all         bool
}

func (a *app) diffCommand() *cobra.Command {
	var f diffFlags
	c := &cobra.Command{
		Use:   "diff SESSION|last",
		Short: "Show what changed in the files of a session",
		Long: "diff compares two recorded states of /workspace: what the session began with and now, or those after two\n" +
			"events. On a terminal it shows the patch and, below it, what changed in which file. Elsewhere it writes the patch\n" +
			"exactly, in the format of git, binary files included:\n\n" +
			"  cairn diff last --patch | git apply\n\n" +
			"takes the changes home, into the directory that the workspace was a copy of.",
		Example: "  cairn diff last\n  cairn diff last --stat\n  cairn diff last --from 41 --to 57\n  cairn diff last --patch | git apply",
		Args:    cobra.ExactArgs(1),
		RunE:    func(c *cobra.Command, args []string) error { return a.diff(c.Context(), args[0], f) },
	}
	c.Flags().StringVar(&f.from, "from", "", "the old state: after this event; default: what the session began with")
	c.Flags().StringVar(&f.to, "to", "", "the new state: after this event; default: now")
	c.Flags().BoolVar(&f.stat, "stat", false, "only say which files changed, and how much")
	c.Flags().BoolVar(&f.patch, "patch", false, "only the patch")
	c.Flags().BoolVar(&f.all, "all", false, "list also what is inside .git; a patch never has that, because git apply refuses it")
	return c
}

func (a *app) diff(ctx context.Context, arg string, f diffFlags) error {
	from, err := atFlag("from", f.from, 0)
	if err != nil {
		return err
	}
	to, err := atFlag("to", f.to, client.Now)
	if err != nil {
		return err
	}
	if f.stat && f.patch {
		return usage(errors.New("--stat and --patch exclude each other"))
	}
	if a.json && f.patch {
		return usage(errors.New("--json prints what changed, not a patch: leave out one of them"))
	}
	if a.fresh() {
		return cairn.Errorf(cairn.CodeNotFound, "there are no sessions in %s", a.data)
	}
	return a.with(ctx, func(ctx context.Context, l *link) error {
		id, err := l.sessionOf(ctx, arg)
		if err != nil {
			return err
		}
		if f.patch && !a.Terminal.Out {
			return l.Patch(ctx, id, client.DiffQuery{From: from, To: to, All: f.all}, a.Stdout)
		}
		changes, err := l.Diff(ctx, id, client.DiffQuery{From: from, To: to, All: f.all})
		if err != nil {
			return err
		}
		if a.json {
			return a.printJSON(changes)
		}
		// The patch is of the states that the list is of, whatever happens meanwhile.
		return a.showDiff(ctx, l, id, changes, f)
	})
}

func (a *app) showDiff(ctx context.Context, l *link, id cairn.SessionID, changes v1.FileDiff, f diffFlags) error {
	if changes.Hidden > 0 {
		defer a.note("%s inside .git not shown (--all)", plural(changes.Hidden, "change"))
	}
	if len(changes.Changes) == 0 {
		a.note("nothing changed between event %d and event %d", changes.From, changes.To)
		return nil
	}
	p := &patchPrinter{style: a.out}
	switch {
	case f.stat:
	case a.Terminal.Out:
		p.out = a.Stdout
	default:
		p.raw = a.Stdout
	}
	q := client.DiffQuery{From: client.At(changes.From), To: client.At(changes.To), All: f.all}
	if err := l.Patch(ctx, id, q, p); err != nil {
		return err
	}
	if err := p.end(); err != nil || f.patch {
		return err
	}
	w, s := a.Stdout, a.out
	switch {
	case p.raw != nil:
		w, s = a.Stderr, a.err // the patch alone stands on stdout
	case p.out != nil:
		fmt.Fprintln(w)
	}
	printStat(w, changes.Changes, p.counts, s)
	return nil
}

// printStat lists what changed, and how many lines of it.
func printStat(w io.Writer, changes []v1.FileChange, lines map[string]lineCount, s style) {
	t := &table{head: []string{"", "PATH", "LINES", "BYTES"}, right: map[int]bool{3: true}}
	var sum cairn.Changes
	var total lineCount
	for _, c := range changes {
		if c.Kind == v1.FileDir {
			continue // git knows no directories
		}
		var sign string
		name := safePath(c.Name())
		switch c.Change {
		case v1.ChangeAdded:
			sign = s.green("+")
			sum.Added++
		case v1.ChangeRemoved:
			sign = s.red("-")
			sum.Removed++
		default:
			sign = s.yellow("~")
			sum.Modified++
		}
		if c.OldMode != c.NewMode && c.Change != v1.ChangeAdded && c.Change != v1.ChangeRemoved {
			name += s.dim(fmt.Sprintf(" (mode %o to %o)", c.OldMode, c.NewMode))
		}
		n, counted := lines[c.Name()]
		total.added, total.removed = total.added+n.added, total.removed+n.removed
		text := ""
		if counted {
			text = s.green("+"+count(int64(n.added))) + " " + s.red("-"+count(int64(n.removed)))
		}
		t.add(sign, name, text, byteChange(c))
	}
	t.print(w, s)
	fmt.Fprintf(w, "%s, %s, %s\n", "files "+changesText(sum), s.green("+"+count(int64(total.added)))+" lines", s.red("-"+count(int64(total.removed)))+" lines")
}

// byteChange says how the size of a file changed.
func byteChange(c v1.FileChange) string {
	switch {
	case c.Change == v1.ChangeAdded:
		return count(c.NewSize)
	case c.Change == v1.ChangeRemoved:
		return "-" + count(c.OldSize)
	case c.OldSize == c.NewSize:
		return "="
	}
	return fmt.Sprintf("%+d", c.NewSize-c.OldSize)
}
