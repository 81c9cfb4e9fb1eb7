package vault

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"filippo.io/age"
	"filippo.io/age/armor"

	"github.com/cairn-run/cairn"
)

const (
	// DefaultFile is the age file in the data directory that holds keys which were
	// stored under a name alone.
	DefaultFile = "keys.age"
	// IdentityFile is the identity that opens age files, in the data directory;
	// $CAIRN_AGE_IDENTITY names another.
	IdentityFile = "age-identity"
	identityEnv  = "CAIRN_AGE_IDENTITY"
	// maxFile bounds an age file and an identity, in bytes.
	maxFile = 1 << 20
)

// opened is an age file as it was last read.
type opened struct {
	stamp   stamp
	entries *entries
	until   time.Time
}

// stamp changes when a file does.
type stamp struct {
	size     int64
	modified time.Time
	identity time.Time
}

func (v *Vault) path(file string) (string, error) {
	if filepath.IsAbs(file) {
		return file, nil
	}
	if v.o.Dir == "" {
		return "", &cairn.Error{Code: cairn.CodeInvalid, Message: "an age file without a data directory: name it by its whole path", NotDone: true}
	}
	return filepath.Join(v.o.Dir, file), nil
}

func (v *Vault) fromFile(r Ref) (cairn.Secret, error) {
	e, err := v.open(r.Place)
	if err != nil {
		return cairn.Secret{}, err
	}
	value, ok := e.values[r.Name]
	if !ok {
		return cairn.Secret{}, absent("%s holds nothing: store it with cairn keys set %s", r, r)
	}
	return cairn.NewSecret(value), nil
}

// open returns the entries of an age file: those of the last moments, if the file
// is the same.
func (v *Vault) open(file string) (*entries, error) {
	path, err := v.path(file)
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, absent("there is no file %s: make it with cairn keys set age:%s#NAME", path, file)
	}
	if err != nil {
		return nil, fileError(err)
	}
	now := stamp{size: info.Size(), modified: info.ModTime()}
	if id, err := os.Stat(v.identityPath()); err == nil {
		now.identity = id.ModTime()
	}
	v.mu.Lock()
	last, ok := v.files[path]
	v.mu.Unlock()
	if ok && last.stamp == now && v.o.Now().Before(last.until) {
		return last.entries, nil
	}
	ids, err := v.identities()
	if err != nil {
		return nil, err
	}
	e, _, err := decrypt(path, ids)
	if err != nil {
		return nil, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.files) >= maxKept {
		clear(v.files)
	}
	v.files[path] = opened{now, e, v.o.Now().Add(keep)}
	return e, nil
}

// Names lists the entries of an age file, sorted; none if there is no file.
func (v *Vault) Names(file string) ([]string, error) {
	path, err := v.path(file)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	e, err := v.open(file)
	if err != nil {
		return nil, err
	}
	return e.names(), nil
}

func decrypt(path string, ids []age.Identity) (e *entries, armored bool, err error) {
	data, err := readFile(path)
	if err != nil {
		return nil, false, fileError(err)
	}
	var from io.Reader = bytes.NewReader(data)
	if armored = bytes.HasPrefix(bytes.TrimSpace(data), []byte(armor.Header)); armored {
		from = armor.NewReader(from)
	}
	r, err := age.Decrypt(from, ids...)
	if _, no := errors.AsType[*age.NoIdentityMatchError](err); no {
		return nil, false, absent("%s was encrypted to somebody else: name the identity that opens it in $%s", path, identityEnv)
	}
	if err != nil {
		return nil, false, damaged(path, err)
	}
	text, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err != nil {
		return nil, false, damaged(path, err)
	}
	if len(text) > maxFile {
		return nil, false, absent("%s is larger than %d bytes", path, maxFile)
	}
	if e, err = parseEntries(text); err != nil {
		return nil, false, absent("%s, decrypted: %v", path, err)
	}
	return e, armored, nil
}

func damaged(path string, err error) error {
	return &cairn.Error{Code: cairn.CodeAuth, NotDone: true, Message: path + " is not a whole file of age: make it anew, or restore it", Err: err}
}

func (v *Vault) identityPath() string {
	if p := v.o.Getenv(identityEnv); p != "" || v.o.Dir == "" {
		return p
	}
	return filepath.Join(v.o.Dir, IdentityFile)
}

// identities reads the identity file. It has to be its owner's alone.
func (v *Vault) identities() ([]age.Identity, error) {
	path := v.identityPath()
	if path == "" {
		return nil, absent("no identity of age: set $%s to its file", identityEnv)
	}
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, absent("there is no identity of age at %s: set $%s to its file", path, identityEnv)
	}
	if err != nil {
		return nil, fileError(err)
	}
	if runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
		return nil, absent("others can read the identity %s (%s): chmod 600 it, and change the keys if others could log in", path, info.Mode().Perm())
	}
	data, err := readFile(path)
	if err != nil {
		return nil, fileError(err)
	}
	ids, err := age.ParseIdentities(bytes.NewReader(data))
	if err != nil { // its words may quote the file
		return nil, absent("%s is no identity of age: a line AGE-SECRET-KEY-1…, without a passphrase", path)
	}
	return ids, nil
}

// makeIdentity writes a new identity as a whole, unless there is one.
func (v *Vault) makeIdentity() error {
	path := v.identityPath()
	if path == "" || v.o.Getenv(identityEnv) != "" {
		return nil // who names a file has to bring it
	}
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	lock, err := lockFile(path)
	if err != nil {
		return err
	}
	defer lock.release()
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return nil // another process was faster; what else is wrong is seen when it is read
	}
	id, err := age.GenerateX25519Identity()
	if err != nil {
		return err
	}
	return lock.replace(fmt.Appendf(nil, "# public key: %s\n%s\n", id.Recipient(), id))
}

// recipients are those that the identities open files for.
func recipients(ids []age.Identity) ([]age.Recipient, error) {
	var all []age.Recipient
	for _, id := range ids {
		switch id := id.(type) {
		case *age.X25519Identity:
			all = append(all, id.Recipient())
		case *age.HybridIdentity:
			all = append(all, id.Recipient())
		}
	}
	if len(all) == 0 {
		return nil, &cairn.Error{Code: cairn.CodeInvalid, Message: "the identity cannot be written to: write the file with age itself"}
	}
	return all, nil
}

// edit changes an age file as a whole or not at all, and makes it, and the
// identity, when they are missing. It is encrypted to the own identities.
func (v *Vault) edit(file string, change func(*entries) error) (err error) {
	path, err := v.path(file)
	if err != nil {
		return err
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real // or the link would be replaced, and what it leads to would stay as it is
	}
	v.writing.Lock()
	defer v.writing.Unlock()
	if err := v.makeIdentity(); err != nil {
		return err
	}
	ids, err := v.identities()
	if err != nil {
		return err
	}
	lock, err := lockFile(path)
	if err != nil {
		return err
	}
	defer lock.release()
	var e *entries
	armored := strings.HasSuffix(path, ".asc")
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		e, _ = parseEntries(nil) // nothing is not malformed
	} else if e, armored, err = decrypt(path, ids); err != nil {
		return err
	}
	if err := change(e); err != nil {
		return err
	}
	to, err := recipients(ids)
	if err != nil {
		return err
	}
	data, err := encrypt(e.text(), to, armored)
	if err != nil {
		return err
	}
	v.mu.Lock()
	delete(v.files, path)
	v.mu.Unlock()
	return lock.replace(data)
}

func encrypt(text []byte, to []age.Recipient, armored bool) ([]byte, error) {
	var b bytes.Buffer
	var out io.WriteCloser = nop{&b}
	if armored {
		out = armor.NewWriter(&b)
	}
	w, err := age.Encrypt(out, to...)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(text); err != nil {
		return nil, err
	}
	if err := errors.Join(w.Close(), out.Close()); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

type nop struct{ io.Writer }

func (nop) Close() error { return nil }
