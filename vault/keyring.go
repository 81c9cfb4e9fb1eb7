package vault

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/zalando/go-keyring"

	"github.com/cairn-run/cairn"
)

// Store keeps secrets by service and user. Its errors are ErrNotFound, and others.
// It may hang: a vault does not wait for it.
type Store interface {
	Get(service, user string) (string, error)
	Set(service, user, secret string) error
	Delete(service, user string) error
}

// ErrNotFound is what a [Store] says of a secret that it does not have.
var ErrNotFound = keyring.ErrNotFound

// system is the keyring of the operating system: the Secret Service on Linux, the
// Keychain on macOS, the Credential Manager on Windows.
type system struct{}

func (system) Get(service, user string) (string, error) { return keyring.Get(service, user) }
func (system) Set(service, user, s string) error        { return keyring.Set(service, user, s) }
func (system) Delete(service, user string) error        { return keyring.Delete(service, user) }

// ask puts a question to the keyring and waits for a while: a session bus without
// anybody on it never answers. The question itself cannot be stopped; there are
// never more than a few.
func ask[T any](ctx context.Context, v *Vault, do func() (T, error)) (T, error) {
	type answer struct {
		value T
		err   error
	}
	var none T
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	done := make(chan answer, 1)
	select {
	case v.asking <- struct{}{}:
	case <-ctx.Done():
		return none, silent(ctx)
	}
	go func() {
		defer func() { <-v.asking }()
		value, err := do()
		done <- answer{value, err}
	}()
	select {
	case a := <-done:
		return a.value, a.err
	case <-ctx.Done():
		return none, silent(ctx)
	}
}

func silent(ctx context.Context) error {
	return &cairn.Error{
		Code: cairn.CodeUnavailable, Retryable: true, NotDone: true, Err: ctx.Err(),
		Message: "the keyring of the operating system does not answer: is a session unlocked? Without one, keep the key in an age file (cairn keys set NAME) or in the environment",
	}
}

// keyringError is what is said of a keyring that answered with an error.
func keyringError(r Ref, err error) error {
	if _, ok := errors.AsType[*cairn.Error](err); ok {
		return err
	}
	if errors.Is(err, ErrNotFound) {
		return &cairn.Error{Code: cairn.CodeNotFound, Message: fmt.Sprintf("%s holds nothing", r), Err: err}
	}
	return &cairn.Error{
		Code: cairn.CodeUnavailable, NotDone: true, Err: err,
		Message: "the keyring of the operating system cannot be used here; keep the key in an age file (cairn keys set NAME) or in the environment",
	}
}

func (v *Vault) fromKeyring(ctx context.Context, r Ref) (cairn.Secret, error) {
	if s, ok := v.remembered(r); ok {
		return s, nil
	}
	value, err := ask(ctx, v, func() (string, error) { return v.o.Keyring.Get(r.Place, r.Name) })
	if errors.Is(err, ErrNotFound) {
		return cairn.Secret{}, absent("%s holds nothing: store it with cairn keys set %s", r, r)
	}
	if err != nil {
		return cairn.Secret{}, keyringError(r, err)
	}
	s := cairn.NewSecret(value)
	v.remember(r, s)
	return s, nil
}

func (v *Vault) setKeyring(ctx context.Context, r Ref, s cairn.Secret) error {
	_, err := ask(ctx, v, func() (struct{}, error) { return struct{}{}, v.o.Keyring.Set(r.Place, r.Name, s.Reveal()) })
	if err != nil {
		return keyringError(r, err)
	}
	return nil
}

func (v *Vault) removeKeyring(ctx context.Context, r Ref) error {
	_, err := ask(ctx, v, func() (struct{}, error) { return struct{}{}, v.o.Keyring.Delete(r.Place, r.Name) })
	if err != nil {
		return keyringError(r, err)
	}
	return nil
}

// notesFile lists what was put into the keyring from here, because a keyring
// cannot be listed: one reference a line, no secrets.
const notesFile = "keyring-refs"

func (v *Vault) notes() ([]string, error) {
	b, err := readFile(filepath.Join(v.o.Dir, notesFile))
	if errors.Is(err, os.ErrNotExist) || v.o.Dir == "" {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(strings.Split(string(b), "\n"), func(s string) bool { return s == "" }), nil
}

// note remembers that a reference is in the keyring, or is not any more.
func (v *Vault) note(r Ref, there bool) error {
	if v.o.Dir == "" {
		return nil
	}
	v.writing.Lock()
	defer v.writing.Unlock()
	list, err := v.notes()
	if err != nil {
		return err
	}
	list = slices.DeleteFunc(list, func(s string) bool { return s == r.String() })
	if there {
		list = append(list, r.String())
	}
	slices.Sort(list)
	path := filepath.Join(v.o.Dir, notesFile)
	f, err := lockFile(path)
	if err != nil {
		return err
	}
	return f.replace([]byte(strings.Join(list, "\n") + "\n"))
}
