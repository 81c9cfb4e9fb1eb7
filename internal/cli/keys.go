package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/node"
	"github.com/cairn-run/cairn/vault"
)

func (a *app) keysCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "keys list | set NAME | rm NAME",
		Short: "Keep keys of model providers on this machine, encrypted",
		Long: "keys keeps credentials out of configuration. A NAME like OPENAI_API_KEY is kept in the file keys.age of the data\n" +
			"directory, encrypted to the identity in age-identity beside it (or in $CAIRN_AGE_IDENTITY); the provider that\n" +
			"reads the variable of that name finds it there. A reference may be given instead: age:FILE#NAME, or\n" +
			"keyring:SERVICE/USER for the keyring of the operating system. The value is read from stdin, or typed at a hidden\n" +
			"prompt; it is never an argument, and never shown.",
		Example: "  cairn keys set OPENAI_API_KEY             # asks for it\n" +
			"  pass openai | cairn keys set OPENAI_API_KEY\n" +
			"  cairn keys set keyring:cairn/openai\n" +
			"  cairn keys list",
		Args: func(_ *cobra.Command, args []string) error {
			switch {
			case len(args) == 0 || !slices.Contains([]string{"list", "set", "rm"}, args[0]):
				return errors.New("say what to do: cairn keys list, cairn keys set NAME or cairn keys rm NAME")
			case args[0] == "list" && len(args) > 1, args[0] == "rm" && len(args) != 2:
				return fmt.Errorf("cairn keys %s: wrong number of arguments", args[0])
			case args[0] == "set" && len(args) > 2:
				return errors.New("the value is read from stdin or typed at the prompt: an argument would be seen by others, and stay in the shell's history")
			case args[0] == "set" && len(args) != 2:
				return errors.New("cairn keys set: give a name, like OPENAI_API_KEY")
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			if a.data == "" {
				return usage(errors.New("no data directory: give --data DIR or set CAIRN_DATA"))
			}
			ctx, stop := context.WithCancel(c.Context())
			defer stop()
			v := vault.Open(vault.Options{Dir: a.data, Getenv: a.Getenv, Now: a.Now})
			switch args[0] {
			case "set":
				return a.setKey(ctx, v, args[1])
			case "rm":
				return a.removeKey(ctx, v, args[1])
			}
			return a.listKeys(ctx, v)
		},
	}
}

// keyRef reads the name of a key: a reference, or a name in the default file.
func keyRef(name string) (vault.Ref, error) {
	if !strings.Contains(name, ":") {
		name = "age:" + vault.DefaultFile + "#" + name
	}
	r, err := vault.ParseRef(name)
	if err != nil {
		return r, usage(errors.New("this is not the name of a key: write one like OPENAI_API_KEY, age:FILE#NAME or keyring:SERVICE/USER"))
	}
	return r, nil
}

// keyLine is one key as keys prints it with --json.
type keyLine struct {
	vault.Entry
	Providers []string `json:"providers,omitempty"` // those that look for it
}

// usedBy lists the providers that look for a key.
func (a *app) usedBy() (func(ref string) []string, error) {
	found, err := node.OpenProviders(node.ProviderOptions{Dir: a.data, Getenv: a.Getenv})
	if err != nil {
		return nil, err
	}
	return func(ref string) []string {
		var names []string
		for _, p := range found.All() {
			if slices.Contains(p.Keys, ref) {
				names = append(names, p.Name)
			}
		}
		return names
	}, nil
}

func (a *app) setKey(ctx context.Context, v *vault.Vault, name string) error {
	r, err := keyRef(name)
	if err != nil {
		return err
	}
	if r.Source == vault.Env {
		return usage(errors.New("a variable is set where the process is started: give a NAME, age:FILE#NAME or keyring:SERVICE/USER"))
	}
	s, err := a.readSecret(ctx, r)
	if err != nil {
		return err
	}
	if err := v.Set(ctx, r, s); err != nil {
		return err
	}
	line := keyLine{Entry: vault.Entry{Ref: r.String()}}
	if usedBy, err := a.usedBy(); err == nil { // a broken providers file has its own commands
		line.Providers = usedBy(line.Ref)
	}
	return a.print(line, func(w io.Writer) {
		if len(line.Providers) > 0 {
			fmt.Fprintf(w, "kept as %s, for %s\n", line.Ref, strings.Join(line.Providers, ", "))
			return
		}
		fmt.Fprintf(w, "kept as %s\n", line.Ref)
		a.note("no provider looks for it by itself: name it in %s as key: %s", node.ProvidersFile, line.Ref)
	})
}

func (a *app) removeKey(ctx context.Context, v *vault.Vault, name string) error {
	r, err := keyRef(name)
	if err != nil {
		return err
	}
	if err := v.Remove(ctx, r); err != nil {
		return err
	}
	return a.print(keyLine{Entry: vault.Entry{Ref: r.String()}}, func(w io.Writer) { fmt.Fprintf(w, "removed %s\n", r) })
}

func (a *app) listKeys(ctx context.Context, v *vault.Vault) error {
	list, err := v.List(ctx)
	if err != nil {
		return err
	}
	usedBy, err := a.usedBy()
	if err != nil { // the keys are there all the same
		a.note("which providers look for them cannot be said: %s", message(err))
		usedBy = func(string) []string { return nil }
	}
	t := table{head: []string{"KEY", "PROVIDERS", "STATE"}}
	for _, e := range list {
		line := keyLine{e, usedBy(e.Ref)}
		if a.json {
			if err := a.printJSON(line); err != nil {
				return err
			}
			continue
		}
		state := a.out.green("ok")
		if e.Problem != "" {
			state = a.out.red(oneLine(e.Problem, 200))
		}
		t.add(oneLine(e.Ref, 120), strings.Join(line.Providers, ", "), state)
	}
	switch {
	case a.json:
	case len(t.rows) == 0:
		a.note("no keys are kept here: cairn keys set OPENAI_API_KEY keeps one")
	default:
		t.print(a.Stdout, a.out)
	}
	return nil
}

// maxKey bounds a credential that is read, in bytes.
const maxKey = 64 << 10

// readSecret reads a value from stdin, or asks for it without showing it.
func (a *app) readSecret(ctx context.Context, r vault.Ref) (cairn.Secret, error) {
	f, ok := a.Stdin.(*os.File)
	if a.Terminal.In && ok {
		return a.typedSecret(ctx, f, r)
	}
	b, err := io.ReadAll(io.LimitReader(a.Stdin, maxKey+1))
	if err != nil {
		return cairn.Secret{}, err
	}
	if len(b) > maxKey {
		return cairn.Secret{}, usage(fmt.Errorf("more than %d bytes on stdin: that is no key", maxKey))
	}
	if len(strings.TrimSpace(string(b))) == 0 {
		return cairn.Secret{}, usage(errors.New("stdin is empty: the value is read from it"))
	}
	return cairn.NewSecret(string(b)), nil
}

// typedSecret reads a line from a terminal that does not show it. A signal leaves
// the terminal as it was.
func (a *app) typedSecret(ctx context.Context, f *os.File, r vault.Ref) (cairn.Secret, error) {
	fd := int(f.Fd())
	was, err := term.GetState(fd)
	if err != nil {
		return cairn.Secret{}, fmt.Errorf("the terminal cannot hide what is typed: give the value on stdin: %w", err)
	}
	fmt.Fprintf(a.Stderr, "value of %s (not shown): ", r)
	type typed struct {
		b   []byte
		err error
	}
	done := make(chan typed, 1)
	go func() {
		b, err := term.ReadPassword(fd)
		done <- typed{b, err}
	}()
	defer fmt.Fprintln(a.Stderr)
	select {
	case t := <-done:
		return cairn.NewSecret(string(t.b)), t.err
	case <-a.Signals:
	case <-ctx.Done():
	}
	// The read stays behind: the process ends.
	return cairn.Secret{}, &exit{ExitTemporary, errors.Join(errors.New("interrupted: nothing was changed"), term.Restore(fd, was))}
}
