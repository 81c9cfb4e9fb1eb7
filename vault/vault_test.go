package vault_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"filippo.io/age"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/vault"
)

// memory is a keyring.
type memory struct {
	mu   sync.Mutex
	m    map[string]string
	gets int
	hang <-chan struct{}
	err  error
}

func (k *memory) wait() {
	if k.hang != nil {
		<-k.hang
	}
}

func (k *memory) Get(service, user string) (string, error) {
	k.wait()
	k.mu.Lock()
	defer k.mu.Unlock()
	k.gets++
	s, ok := k.m[service+"/"+user]
	if !ok && k.err == nil {
		return "", vault.ErrNotFound
	}
	return s, k.err
}

func (k *memory) Set(service, user, secret string) error {
	k.wait()
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.m == nil {
		k.m = map[string]string{}
	}
	k.m[service+"/"+user] = secret
	return k.err
}

func (k *memory) Delete(service, user string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if _, ok := k.m[service+"/"+user]; !ok {
		return vault.ErrNotFound
	}
	delete(k.m, service+"/"+user)
	return nil
}

func env(pairs ...string) func(string) string {
	m := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i]] = pairs[i+1]
	}
	return func(k string) string { return m[k] }
}

func ref(t *testing.T, s string) vault.Ref {
	t.Helper()
	r, err := vault.ParseRef(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

const secret = "sk-very-secret-0123456789"

func TestResolve(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	v := vault.Open(vault.Options{
		Dir: dir, Getenv: env("KEY", secret, "PADDED", " "+secret+"\n", "BLANK", " \n"), Keyring: &memory{},
	})
	ctx := t.Context()
	for _, r := range []string{"keyring:cairn/open ai", "age:keys.age#KEY", "age:" + filepath.Join(dir, "team#1.age") + "#KEY"} {
		if err := v.Set(ctx, ref(t, r), cairn.NewSecret(secret)); err != nil {
			t.Fatalf("set %s: %v", r, err)
		}
	}
	tests := []struct {
		ref  string
		code cairn.Code
		says string
	}{
		{"env:KEY", "", ""},
		{"env:PADDED", "", ""},
		{"keyring:cairn/open ai", "", ""},
		{"age:keys.age#KEY", "", ""},
		{"age:" + dir + "/team#1.age#KEY", "", ""},
		{"env:NONE", cairn.CodeAuth, "NONE is not set"},
		{"env:BLANK", cairn.CodeAuth, "no credential"},
		{"keyring:cairn/other", cairn.CodeAuth, "cairn keys set keyring:cairn/other"},
		{"age:keys.age#OTHER", cairn.CodeAuth, "cairn keys set age:keys.age#OTHER"},
		{"age:none.age#KEY", cairn.CodeAuth, "there is no file"},
		{secret, cairn.CodeInvalid, "never the secret itself"},
		{"sk:" + secret, cairn.CodeInvalid, "never the secret itself"},
		{"env:" + secret, cairn.CodeInvalid, "the name of a variable"},
		{"keyring:" + secret, cairn.CodeInvalid, "a service and a user"},
		{"age:" + secret, cairn.CodeInvalid, "a file and the name"},
		{"", cairn.CodeInvalid, "not a reference"},
		{"env:A\nB", cairn.CodeInvalid, "not a reference"},
	}
	for _, tt := range tests {
		got, err := v.Resolve(ctx, tt.ref)
		if cairn.CodeOf(err) != tt.code || err != nil && !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v, want %s (%s)", tt.ref, err, tt.code, tt.says)
		}
		if err == nil && got.Reveal() != secret {
			t.Errorf("%s: another value", tt.ref)
		}
		if err != nil && strings.Contains(err.Error(), secret) {
			t.Errorf("%s: the error holds the value: %v", tt.ref, err)
		}
	}
}

// TestChanges: what is changed is seen without a restart.
func TestChanges(t *testing.T) {
	t.Parallel()
	dir, ring := t.TempDir(), &memory{}
	vars := map[string]string{"KEY": "one"}
	now := time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC)
	v := vault.Open(vault.Options{
		Dir: dir, Getenv: func(k string) string { return vars[k] }, Keyring: ring, Now: func() time.Time { return now },
	})
	other := vault.Open(vault.Options{Dir: dir, Getenv: env(), Keyring: ring}) // another process
	ctx := t.Context()
	want := func(r, value string) {
		t.Helper()
		if got, err := v.Resolve(ctx, r); err != nil || got.Reveal() != value {
			t.Errorf("%s is %q, want %q (%v)", r, got.Reveal(), value, err)
		}
	}
	set := func(v *vault.Vault, r, value string) {
		t.Helper()
		if err := v.Set(ctx, ref(t, r), cairn.NewSecret(value)); err != nil {
			t.Fatal(err)
		}
	}
	want("env:KEY", "one")
	vars["KEY"] = "two"
	want("env:KEY", "two")
	const file, key = "age:keys.age#KEY", "keyring:s/u"
	set(v, file, "one")
	set(v, key, "one")
	want(file, "one")
	want(key, "one")
	set(v, file, "two!")
	set(v, key, "two")
	want(file, "two!")
	want(key, "two")
	set(other, file, "three")
	set(other, key, "three")
	want(file, "three")
	was := ring.gets
	want(key, "two") // of the last moments
	if ring.gets != was {
		t.Error("the keyring was asked again at once")
	}
	now = now.Add(31 * time.Second)
	want(key, "three")
	if err := other.Remove(ctx, ref(t, file)); err != nil {
		t.Fatal(err)
	}
	if _, err := v.Resolve(ctx, file); cairn.CodeOf(err) != cairn.CodeAuth {
		t.Errorf("a removed entry: %v", err)
	}
	if err := v.Remove(ctx, ref(t, key)); err != nil {
		t.Fatal(err)
	}
	if _, err := v.Resolve(ctx, key); cairn.CodeOf(err) != cairn.CodeAuth {
		t.Errorf("a removed key: %v", err)
	}
}

// TestKeyringHangs: a session bus that nobody is on does not stop anything.
func TestKeyringHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		end := make(chan struct{})
		v := vault.Open(vault.Options{Getenv: env(), Keyring: &memory{hang: end}})
		var all sync.WaitGroup
		for i := range 20 {
			all.Go(func() {
				_, err := v.Resolve(t.Context(), fmt.Sprintf("keyring:s/%d", i))
				e, ok := errors.AsType[*cairn.Error](err)
				if !ok || e.Code != cairn.CodeUnavailable || !e.Retryable || !e.NotDone || !strings.Contains(e.Message, "does not answer") {
					t.Errorf("%v", err)
				}
			})
		}
		all.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := v.Resolve(ctx, "keyring:s/u"); err == nil {
			t.Error("no error from a context that is over")
		}
		close(end)
	})
}

func TestKeyringFails(t *testing.T) {
	t.Parallel()
	v := vault.Open(vault.Options{Getenv: env(), Keyring: &memory{err: errors.New("dbus: " + secret)}})
	_, err := v.Resolve(t.Context(), "keyring:s/u")
	if e, ok := errors.AsType[*cairn.Error](err); !ok || e.Code != cairn.CodeUnavailable || strings.Contains(e.Message, secret) {
		t.Errorf("%v", err)
	}
	if err := v.Remove(t.Context(), ref(t, "keyring:s/u")); cairn.CodeOf(err) != cairn.CodeNotFound {
		t.Errorf("%v", err)
	}
}

func TestAgeFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ctx := t.Context()
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, text string, mode os.FileMode) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	sealed := func(name, text string, to age.Recipient) {
		t.Helper()
		f, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		w, err := age.Encrypt(f, to)
		if err != nil {
			t.Fatal(err)
		}
		_, err = w.Write([]byte(text))
		if err := errors.Join(err, w.Close(), f.Close()); err != nil {
			t.Fatal(err)
		}
	}
	mine := write("mine", id.String()+"\n", 0o600)
	v := vault.Open(vault.Options{Dir: dir, Getenv: env("CAIRN_AGE_IDENTITY", mine), Keyring: &memory{}})
	stranger, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	sealed("lines", "# keys\n\nexport A="+secret+"\r\nB='b b'\nC=\"c=1\"\n", id.Recipient())
	sealed("yaml", "A: "+secret+"\nB: |\n  one\n  two\n", id.Recipient())
	sealed("empty", "", id.Recipient())
	sealed("odd", "A="+secret+"\nB "+secret+"\n", id.Recipient())
	sealed("twice", "A=1\nA="+secret+"\n", id.Recipient())
	sealed("text", secret+": [", id.Recipient())
	sealed("foreign", "A=1\n", stranger.Recipient())
	write("plain", "A="+secret+"\n", 0o600)
	for _, tt := range []struct{ ref, want, says string }{
		{"age:lines#A", secret, ""},
		{"age:lines#B", "b b", ""},
		{"age:lines#C", "c=1", ""},
		{"age:yaml#A", secret, ""},
		{"age:yaml#B", "one\ntwo", ""},
		{"age:empty#A", "", "holds nothing"},
		{"age:odd#A", "", "line 2: write NAME=VALUE"},
		{"age:twice#A", "", "line 2: the name of line 1 is given again"},
		{"age:text#A", "", "neither lines"},
		{"age:foreign#A", "", "somebody else"},
		{"age:plain#A", "", "not a whole file of age"},
	} {
		got, err := v.Resolve(ctx, tt.ref)
		if tt.want != "" && (err != nil || got.Reveal() != tt.want) {
			t.Errorf("%s: %q, %v", tt.ref, got.Reveal(), err)
		}
		if tt.says != "" && (cairn.CodeOf(err) != cairn.CodeAuth || !strings.Contains(err.Error(), tt.says) || strings.Contains(err.Error(), secret)) {
			t.Errorf("%s: %v", tt.ref, err)
		}
	}
	// Comments and the other entries stay as they are.
	for r, value := range map[string]string{"age:lines#B": "new", "age:lines#D": `"quoted"`} {
		if err := v.Set(ctx, ref(t, r), cairn.NewSecret(value)); err != nil {
			t.Fatal(err)
		}
		if got, err := v.Resolve(ctx, r); err != nil || got.Reveal() != value {
			t.Errorf("%s: %q, %v", r, got.Reveal(), err)
		}
	}
	if names, err := v.Names("lines"); err != nil || cmp.Diff([]string{"A", "B", "C", "D"}, names) != "" {
		t.Errorf("%v, %v", names, err)
	}
	if err := v.Set(ctx, ref(t, "age:lines#E"), cairn.NewSecret("a\nb")); cairn.CodeOf(err) != cairn.CodeInvalid {
		t.Errorf("a value of two lines: %v", err)
	}
	for _, r := range []string{"age:yaml#A", "env:A"} {
		if err := v.Set(ctx, ref(t, r), cairn.NewSecret("a")); cairn.CodeOf(err) != cairn.CodeInvalid {
			t.Errorf("set %s: %v", r, err)
		}
		if err := v.Remove(ctx, ref(t, r)); cairn.CodeOf(err) != cairn.CodeInvalid {
			t.Errorf("remove %s: %v", r, err)
		}
	}
	if err := v.Remove(ctx, ref(t, "age:lines#Z")); cairn.CodeOf(err) != cairn.CodeNotFound {
		t.Errorf("%v", err)
	}
	if err := v.Set(ctx, ref(t, "age:lines#A"), cairn.NewSecret(" \n")); cairn.CodeOf(err) != cairn.CodeInvalid {
		t.Errorf("an empty value: %v", err)
	}
	// A file that is being written by somebody else is left alone.
	busy := write("lines.new", "", 0o600)
	if err := v.Set(ctx, ref(t, "age:lines#A"), cairn.NewSecret("x")); cairn.CodeOf(err) != cairn.CodeConflict {
		t.Errorf("%v", err)
	}
	if _, err := os.Stat(busy); err != nil {
		t.Error("the lock of the other process is gone")
	}
	if runtime.GOOS == "windows" {
		return
	}
	if err := os.Chmod(mine, 0o640); err != nil {
		t.Fatal(err)
	}
	v = vault.Open(vault.Options{Dir: dir, Getenv: env("CAIRN_AGE_IDENTITY", mine), Keyring: &memory{}})
	if _, err := v.Resolve(ctx, "age:lines#A"); cairn.CodeOf(err) != cairn.CodeAuth || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("an identity that others can read: %v", err)
	}
	none := vault.Open(vault.Options{Dir: dir, Getenv: env("CAIRN_AGE_IDENTITY", filepath.Join(dir, "no")), Keyring: &memory{}})
	if err := none.Set(ctx, ref(t, "age:new#A"), cairn.NewSecret("x")); cairn.CodeOf(err) != cairn.CodeAuth {
		t.Errorf("an identity that was named and is not there: %v", err)
	}
}

// TestFilesAreTheOwnersAlone: and they hold no value in the clear.
func TestFilesAreTheOwnersAlone(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "new")
	v := vault.Open(vault.Options{Dir: dir, Getenv: env(), Keyring: &memory{}})
	ctx := t.Context()
	for _, r := range []string{"age:keys.age#A", "age:keys.asc#A", "keyring:cairn/a"} {
		if err := v.Set(ctx, ref(t, r), cairn.NewSecret(secret)); err != nil {
			t.Fatal(err)
		}
	}
	list, err := v.List(ctx, "keys.age", "keys.asc")
	want := []vault.Entry{{Ref: "age:keys.age#A"}, {Ref: "age:keys.asc#A"}, {Ref: "keyring:cairn/a"}}
	if d := cmp.Diff(want, list); d != "" || err != nil {
		t.Errorf("%v\n%s", err, d)
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 4 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, f := range files {
		b, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil || strings.Contains(string(b), secret) {
			t.Errorf("%s holds the value (%v)", f.Name(), err)
		}
		if info, err := f.Info(); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", f.Name(), info.Mode(), err)
		}
	}
	if err := v.Remove(ctx, ref(t, "keyring:cairn/a")); err != nil {
		t.Fatal(err)
	}
	if list, err := v.List(ctx); err != nil || len(list) != 1 {
		t.Errorf("%v, %v", list, err)
	}
}

// TestFirstAtOnce: of processes that store the first keys at the same time, each
// stores its own or says that another one writes.
func TestFirstAtOnce(t *testing.T) {
	t.Parallel()
	for range 20 {
		dir := t.TempDir()
		stored := make([]bool, 4)
		var all sync.WaitGroup
		for i := range stored {
			all.Go(func() {
				v := vault.Open(vault.Options{Dir: dir, Getenv: env(), Keyring: &memory{}})
				err := v.Set(t.Context(), ref(t, fmt.Sprintf("age:keys.age#K%d", i)), cairn.NewSecret("x"))
				stored[i] = err == nil
				if err != nil && cairn.CodeOf(err) != cairn.CodeConflict {
					t.Error(err)
				}
			})
		}
		all.Wait()
		v := vault.Open(vault.Options{Dir: dir, Getenv: env(), Keyring: &memory{}})
		for i, ok := range stored {
			if _, err := v.Resolve(t.Context(), fmt.Sprintf("age:keys.age#K%d", i)); ok && err != nil {
				t.Error(err)
			}
		}
	}
}

// TestFilesElsewhere: a link stays a link, and what it leads to is changed; what is
// no file is not waited for.
func TestFilesElsewhere(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		return
	}
	dir, other := t.TempDir(), filepath.Join(t.TempDir(), "shared.age")
	v := vault.Open(vault.Options{Dir: dir, Getenv: env(), Keyring: &memory{}})
	link := filepath.Join(dir, vault.DefaultFile)
	for _, value := range []string{"one", "two"} {
		if err := v.Set(t.Context(), ref(t, "age:keys.age#K"), cairn.NewSecret(value)); err != nil {
			t.Fatal(err)
		}
		for _, r := range []string{"age:keys.age#K", "age:" + other + "#K"} {
			if got, err := v.Resolve(t.Context(), r); value == "two" && got.Reveal() != value {
				t.Errorf("%s: %q, %v", r, got.Reveal(), err)
			}
		}
		if value == "one" {
			if err := errors.Join(os.Rename(link, other), os.Symlink(other, link)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if info, err := os.Lstat(link); err != nil || info.Mode().Type() != os.ModeSymlink {
		t.Errorf("the link is %v, %v", info.Mode(), err)
	}
	if _, err := v.Resolve(t.Context(), "age:/dev/zero#K"); cairn.CodeOf(err) != cairn.CodeAuth || !strings.Contains(err.Error(), "is not a file") {
		t.Error(err)
	}
}

// TestNoSecretInErrors: whatever stands where a reference belongs is not repeated.
func TestNoSecretInErrors(t *testing.T) {
	t.Parallel()
	v := vault.Open(vault.Options{Getenv: env(), Keyring: &memory{}})
	rapid.Check(t, func(t *rapid.T) {
		value := rapid.StringMatching(`[A-Za-z0-9+/=_-]{12,40}`).Draw(t, "secret")
		text := rapid.SampledFrom([]string{"%s", "Bearer %s", "key:%s", "https://u:%s@host/x", "ENV:%s", "age:%s", "env:1%s"}).Draw(t, "form")
		_, err := v.Resolve(context.Background(), fmt.Sprintf(text, value))
		if cairn.CodeOf(err) != cairn.CodeInvalid || strings.Contains(err.Error(), value) {
			t.Fatalf("%v", err)
		}
	})
}

func FuzzRef(f *testing.F) {
	for _, s := range []string{"env:A", "keyring:a/b/c", "age:a#b#C", "age:#A", "", ":", "env:", "x:y"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := vault.ParseRef(s)
		if err != nil {
			return
		}
		if r.String() != s {
			t.Errorf("%q became %q", s, r)
		}
	})
}
