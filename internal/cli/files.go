package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/cairn-run/cairn"
	v1 "github.com/cairn-run/cairn/api/v1"
	"github.com/cairn-run/cairn/client"
)

const atHelp = "the state after this event (logs --json shows their numbers); 0: what the session began with; default: now"

// atFlag reads the number of an event; empty is without.
func atFlag(flag, s string, without client.At) (client.At, error) {
	if s == "" {
		return without, nil
	}
	n, err := strconv.ParseUint(s, 10, 62)
	if err != nil {
		return 0, usage(fmt.Errorf("--%s: %q is not the number of an event", flag, s))
	}
	return client.At(n), nil
}

// listFlags are the flags of files.
type listFlags struct {
	at           string
	depth, limit int
}

func (a *app) filesCommand() *cobra.Command {
	var f listFlags
	c := &cobra.Command{
		Use:   "files SESSION|last [PATH]",
		Short: "List the files of a session, or get one of them",
		Long: "files lists what is in /workspace of a session, or below a path in it, now or after an event. An absolute PATH\n" +
			"is looked for in the whole sandbox. What a call is doing right now is not shown: only recorded states are.",
		Example: "  cairn files last\n  cairn files last src --depth 3 --at 41\n  cairn files get last report.md -o report.md\n  cairn files archive last -o workspace.tar",
		Args:    cobra.RangeArgs(1, 2),
		RunE: func(c *cobra.Command, args []string) error {
			path := ""
			if len(args) == 2 {
				path = args[1]
			}
			return a.files(c.Context(), args[0], path, f)
		},
	}
	c.Flags().StringVar(&f.at, "at", "", atHelp)
	c.Flags().IntVar(&f.depth, "depth", 1, "levels below PATH, 0 to 64; 0: PATH itself")
	c.Flags().IntVarP(&f.limit, "limit", "n", 1000, "at most so many entries, 1 to 20000")
	c.AddCommand(a.filesGetCommand(), a.filesArchiveCommand())
	return c
}

func (a *app) filesGetCommand() *cobra.Command {
	var at, out string
	c := &cobra.Command{
		Use:   "get SESSION|last PATH",
		Short: "Write a file of a session to stdout, or to a file",
		Example: "  cairn files get last main.go\n" +
			"  cairn files get last report.pdf -o report.pdf\n" +
			"  cairn files get last /tmp/notes.txt --at 41",
		Args: cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			return a.filesGet(c.Context(), args[0], args[1], at, out)
		},
	}
	c.Flags().StringVar(&at, "at", "", atHelp)
	c.Flags().StringVarP(&out, "output", "o", "", "write it to this file, which must not exist yet")
	return c
}

func (a *app) filesArchiveCommand() *cobra.Command {
	var at, out string
	c := &cobra.Command{
		Use:   "archive SESSION|last",
		Short: "Write what is in /workspace as a tar to stdout, or to a file",
		Example: "  cairn files archive last -o workspace.tar\n" +
			"  cairn files archive last | tar x -C there",
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			seq, err := atFlag("at", at, client.Now)
			if err != nil {
				return err
			}
			if out == "" && a.Terminal.Out {
				return usage(errors.New("a tar is nothing for a terminal: give -o FILE, or a pipe"))
			}
			return a.fetch(c.Context(), args[0], out, func(ctx context.Context, l *link, id cairn.SessionID, w io.Writer) error {
				return l.Archive(ctx, id, seq, w)
			})
		},
	}
	c.Flags().StringVar(&at, "at", "", atHelp)
	c.Flags().StringVarP(&out, "output", "o", "", "write it to this file, which must not exist yet")
	return c
}

func (a *app) files(ctx context.Context, arg, path string, f listFlags) error {
	at, err := atFlag("at", f.at, client.Now)
	if err != nil {
		return err
	}
	if f.depth < 0 || f.depth > 64 || f.limit < 1 || f.limit > 20_000 {
		return usage(errors.New("--depth is 0 to 64, --limit 1 to 20000"))
	}
	if a.fresh() {
		return cairn.Errorf(cairn.CodeNotFound, "there are no sessions in %s", a.data)
	}
	return a.with(ctx, func(ctx context.Context, l *link) error {
		ctx, cancel := context.WithTimeout(ctx, callTimeout)
		defer cancel()
		id, err := l.sessionOf(ctx, arg)
		if err != nil {
			return err
		}
		q := client.FileQuery{Path: path, At: at, Depth: f.depth, Limit: f.limit}
		if f.depth == 0 {
			q.Depth = -1 // the client takes 0 for not given
		}
		list, err := l.Files(ctx, id, q)
		if err != nil {
			return err
		}
		return a.printFiles(list)
	})
}

func (a *app) printFiles(list v1.FileList) error {
	if a.json {
		for _, f := range list.Entries {
			if err := a.printJSON(f); err != nil {
				return err
			}
		}
		return nil
	}
	if len(list.Entries) == 0 {
		where := oneLine(list.Path, 200)
		if where == "." {
			where = "/workspace"
		}
		a.note("no files in %s in the state after event %d", where, list.At)
		return nil
	}
	t := &table{head: []string{"MODE", "SIZE", "PATH"}, right: map[int]bool{1: true}}
	for _, f := range list.Entries {
		name, size := safePath(f.Name()), ""
		switch f.Kind {
		case v1.FileDir:
			name = a.out.cyan(name + "/")
		case v1.FileSymlink:
			name += a.out.dim(" -> " + safePath(f.Target))
		case v1.FileRegular:
			size = count(f.Size)
			if f.Mode&0o111 != 0 {
				name = a.out.green(name)
			}
		default:
			name += a.out.dim(" (" + word(f.Kind) + ")")
		}
		t.add(os.FileMode(f.Mode).Perm().String()[1:], size, name)
	}
	t.print(a.Stdout, a.out)
	if list.Truncated {
		a.note("there are more: --limit, --depth and PATH choose; cairn files archive gets all")
	}
	return nil
}

// safePath is the name of a file on one line: what a terminal would act on is
// written as an escape.
func safePath(path string) string {
	if utf8.ValidString(path) && clean(path) == path && !strings.ContainsAny(path, "\n\t") {
		return path
	}
	return strconv.Quote(path)
}

func (a *app) filesGet(ctx context.Context, arg, path, at, out string) error {
	seq, err := atFlag("at", at, client.Now)
	if err != nil {
		return err
	}
	return a.fetch(ctx, arg, out, func(ctx context.Context, l *link, id cairn.SessionID, w io.Writer) error {
		if out != "" || !a.Terminal.Out {
			_, err := l.ReadFile(ctx, id, path, seq, w)
			return err
		}
		var b limitedBuffer
		if _, err := l.ReadFile(ctx, id, path, seq, &b); err != nil && !errors.Is(err, errLong) {
			return err
		} else if err != nil || !utf8.Valid(b.Bytes()) || bytes.IndexByte(b.Bytes(), 0) >= 0 {
			return usage(errors.New("the file is long, or not text: give -o FILE, or a pipe"))
		}
		_, err := io.WriteString(w, clean(withoutEscapes(b.String()))) // an agent wrote it
		return err
	})
}

// limitedBuffer takes what a person may read on a terminal.
type limitedBuffer struct{ bytes.Buffer }

var errLong = errors.New("cli: too long for a terminal")

// Write takes a piece.
func (b *limitedBuffer) Write(p []byte) (int, error) {
	if b.Len()+len(p) > 1<<20 {
		return 0, errLong
	}
	return b.Buffer.Write(p)
}

// fetch writes what is downloaded of a session to stdout or to a new file. A file
// is there when all of it is.
func (a *app) fetch(ctx context.Context, arg, out string, get func(context.Context, *link, cairn.SessionID, io.Writer) error) error {
	if a.fresh() {
		return cairn.Errorf(cairn.CodeNotFound, "there are no sessions in %s", a.data)
	}
	return a.with(ctx, func(ctx context.Context, l *link) error {
		id, err := l.sessionOf(ctx, arg)
		if err != nil {
			return err
		}
		if out == "" {
			return get(ctx, l, id, a.Stdout)
		}
		return newFile(out, func(w io.Writer) error { return get(ctx, l, id, w) })
	})
}

// newFile writes a file that must not exist yet. Until all of it is there, its name
// stands for an empty file: what is not whole never has it.
func newFile(name string, write func(io.Writer) error) (err error) {
	reserved, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, os.ErrExist) {
		return usage(fmt.Errorf("-o: %s exists already; give another name, or remove it", name))
	} else if err != nil {
		return fmt.Errorf("-o: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(name))
		}
	}()
	if err := reserved.Close(); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(name), ".cairn-*")
	if err != nil {
		return fmt.Errorf("-o: %w", err)
	}
	if err := errors.Join(write(f), f.Chmod(0o644), f.Close()); err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return os.Rename(f.Name(), name)
}
