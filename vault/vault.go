package vault

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/cairn-run/cairn"
)

// Options say where a vault looks. The zero value reads the environment and the
// operating system's keyring, and age files by absolute paths.
type Options struct {
	// Dir is the data directory: relative age files and the identity that opens them
	// lie there.
	Dir string
	// Getenv reads the environment; default os.Getenv.
	Getenv func(string) string
	// Keyring is the store behind keyring: references; default that of the operating
	// system.
	Keyring Store
	// Now is the clock; default time.Now.
	Now func() time.Time
}

const (
	// askTimeout bounds one question to the keyring.
	askTimeout = 5 * time.Second
	// keep is how long a secret that was hard to get is remembered.
	keep = 30 * time.Second
	// maxKept bounds how many are.
	maxKept = 256
	// maxSecret bounds a secret, in bytes.
	maxSecret = 64 << 10
)

// Vault resolves references. It is safe for concurrent use. What is changed is
// seen within half a minute, without a restart: the environment and files at once.
type Vault struct {
	o Options
	// asking bounds the questions to a keyring that does not answer.
	asking chan struct{}
	// writing is held by who changes a file.
	writing sync.Mutex

	mu    sync.Mutex
	kept  map[Ref]kept
	files map[string]opened
}

type kept struct {
	secret cairn.Secret
	until  time.Time
}

// Open returns a vault. Nothing is read before it is needed.
func Open(o Options) *Vault {
	if o.Getenv == nil {
		o.Getenv = os.Getenv
	}
	if o.Keyring == nil {
		o.Keyring = system{}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Vault{o: o, asking: make(chan struct{}, 4), kept: map[Ref]kept{}, files: map[string]opened{}}
}

// Resolve returns the secret that a reference names. CodeInvalid: it is no
// reference; CodeAuth: there is no such secret, or it may not be used;
// CodeUnavailable, retryable: the keyring does not answer.
func (v *Vault) Resolve(ctx context.Context, ref string) (cairn.Secret, error) {
	r, err := ParseRef(ref)
	if err != nil {
		return cairn.Secret{}, err
	}
	return v.Get(ctx, r)
}

// Get is Resolve for a reference that was parsed.
func (v *Vault) Get(ctx context.Context, r Ref) (cairn.Secret, error) {
	var s cairn.Secret
	var err error
	switch r.Source {
	case Env:
		if s = cairn.NewSecret(v.o.Getenv(r.Name)); s.Empty() {
			err = absent("the environment variable %s is not set", r.Name)
		}
	case Keyring:
		s, err = v.fromKeyring(ctx, r)
	case Age:
		s, err = v.fromFile(r)
	default:
		_, err = ParseRef(r.String())
	}
	if err != nil {
		return cairn.Secret{}, err
	}
	if s, err = trimmed(s); err != nil {
		return cairn.Secret{}, absent("what %s holds is no credential: it is empty or too long", r)
	}
	return s, nil
}

// trimmed takes the spaces and line breaks off that files and clipboards leave.
func trimmed(s cairn.Secret) (cairn.Secret, error) {
	t := strings.TrimSpace(s.Reveal())
	if t == "" || len(t) > maxSecret {
		return s, &cairn.Error{Code: cairn.CodeInvalid, Message: fmt.Sprintf("the value is no credential: it is empty, or longer than %d bytes", maxSecret)}
	}
	return cairn.NewSecret(t), nil
}

// absent is the error of a secret that cannot be had.
func absent(format string, args ...any) error {
	return &cairn.Error{Code: cairn.CodeAuth, NotDone: true, Message: fmt.Sprintf(format, args...)}
}

// remembered is a secret of the last moments.
func (v *Vault) remembered(r Ref) (cairn.Secret, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	k, ok := v.kept[r]
	return k.secret, ok && v.o.Now().Before(k.until)
}

func (v *Vault) remember(r Ref, s cairn.Secret) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.kept) >= maxKept {
		clear(v.kept)
	}
	v.kept[r] = kept{s, v.o.Now().Add(keep)}
}

func (v *Vault) forget(r Ref) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.kept, r)
}

// Set stores a secret under a reference. CodeInvalid: the environment cannot be
// written, or the value is no credential.
func (v *Vault) Set(ctx context.Context, r Ref, s cairn.Secret) error {
	s, err := trimmed(s)
	if err != nil {
		return err
	}
	defer v.forget(r)
	switch r.Source {
	case Keyring:
		if err := v.setKeyring(ctx, r, s); err != nil {
			return err
		}
		return v.note(r, true)
	case Age:
		return v.edit(r.Place, func(f *entries) error { return f.set(r.Name, s.Reveal()) })
	}
	return notWritten(r)
}

// Remove takes a secret away. CodeNotFound: there is none.
func (v *Vault) Remove(ctx context.Context, r Ref) error {
	defer v.forget(r)
	switch r.Source {
	case Keyring:
		err := v.removeKeyring(ctx, r)
		if err == nil || cairn.CodeOf(err) == cairn.CodeNotFound {
			err = errors.Join(err, v.note(r, false))
		}
		return err
	case Age:
		if e, err := v.open(r.Place); err != nil {
			return err
		} else if e.yaml {
			return errYAML
		}
		return v.edit(r.Place, func(f *entries) error {
			if !f.remove(r.Name) {
				return missing(r)
			}
			return nil
		})
	}
	return notWritten(r)
}

func missing(r Ref) error {
	return &cairn.Error{Code: cairn.CodeNotFound, Message: fmt.Sprintf("%s holds nothing", r)}
}

func notWritten(r Ref) error {
	return &cairn.Error{
		Code:    cairn.CodeInvalid,
		Message: fmt.Sprintf("%s cannot be changed from here: set the variable where the process is started, or keep the secret under age:FILE#NAME or keyring:SERVICE/USER", r),
	}
}
