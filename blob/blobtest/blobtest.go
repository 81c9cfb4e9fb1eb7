// Package blobtest is the conformance suite of package blob: a driver is done
// when it passes.
package blobtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/blob"
)

// Run checks a driver. Open is called once for each test and returns an empty
// one; it closes it with t.Cleanup.
func Run(t *testing.T, open func(t *testing.T) blob.Driver) {
	t.Helper()
	for name, test := range map[string]func(*testing.T, blob.Driver){
		"round trip":        roundTrip,
		"missing":           missing,
		"tenants are apart": tenants,
		"odd tenants":       oddTenants,
		"copies":            copies,
		"limit":             limit,
		"cancelled":         cancelled,
		"malformed digests": malformed,
		"at once":           atOnce,
		"same at once":      sameAtOnce,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, open(t))
		})
	}
}

const tenant cairn.TenantID = "acme"

func roundTrip(t *testing.T, d blob.Driver) {
	s := blob.New(d, blob.Options{})
	rapid.Check(t, func(t *rapid.T) {
		want := rapid.SliceOfN(rapid.Byte(), 0, 4096).Draw(t, "bytes")
		for range 2 { // putting it again changes nothing
			digest, err := s.Put(context.Background(), tenant, want)
			if err != nil {
				t.Fatal(err)
			}
			if digest != cairn.DigestOf(want) {
				t.Fatalf("digest %s, want %s", digest, cairn.DigestOf(want))
			}
			got, err := s.Get(context.Background(), tenant, digest)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Fatal(cmp.Diff(want, got))
			}
		}
	})
	large := bytes.Repeat([]byte("0123456789abcdef"), 1<<16) // 1 MiB
	digest, err := s.Put(t.Context(), tenant, large)
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.Get(t.Context(), tenant, digest)
	if err != nil || !bytes.Equal(got, large) {
		t.Fatalf("a large blob came back with %d bytes, %v", len(got), err)
	}
}

func missing(t *testing.T, d blob.Driver) {
	s := blob.New(d, blob.Options{})
	_, err := s.Get(t.Context(), tenant, cairn.DigestOf([]byte("never put")))
	if !errors.Is(err, blob.ErrNotFound) || cairn.CodeOf(err) != cairn.CodeNotFound {
		t.Fatalf("got %v, want ErrNotFound with code not_found", err)
	}
}

func tenants(t *testing.T, d blob.Driver) {
	s := blob.New(d, blob.Options{})
	digest, err := s.Put(t.Context(), "one", []byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	for _, other := range []cairn.TenantID{"two", "One", "ONE", "one/", "./one", "on", "", "two/../one"} {
		if _, err := s.Get(t.Context(), other, digest); !errors.Is(err, blob.ErrNotFound) {
			t.Errorf("tenant %q: got %v, want ErrNotFound", other, err)
		}
	}
}

// oddTenants puts under names that would be trouble as parts of a path.
func oddTenants(t *testing.T, d blob.Driver) {
	s := blob.New(d, blob.Options{})
	names := []cairn.TenantID{
		"", ".", "..", "../..", "/", "/etc", "a/b", `a\b`, "a\x00b", "tmp", "con", "A", "a", "ä", "\xff",
		cairn.TenantID(bytes.Repeat([]byte("x"), 5000)),
	}
	digests := make([]cairn.Digest, len(names))
	for i, n := range names {
		var err error
		if digests[i], err = s.Put(t.Context(), n, []byte(fmt.Sprint("of ", i))); err != nil {
			t.Fatalf("tenant %.20q: %v", n, err)
		}
	}
	for i, n := range names {
		for j, digest := range digests {
			_, err := s.Get(t.Context(), n, digest)
			if i == j && err != nil {
				t.Errorf("tenant %.20q: %v", n, err)
			}
			if i != j && !errors.Is(err, blob.ErrNotFound) {
				t.Errorf("tenant %.20q reads what belongs to %.20q: %v", n, names[j], err)
			}
		}
	}
}

func copies(t *testing.T, d blob.Driver) {
	s := blob.New(d, blob.Options{})
	b := []byte("immutable")
	digest, err := s.Put(t.Context(), tenant, b)
	if err != nil {
		t.Fatal(err)
	}
	b[0] = 'X'
	got, err := s.Get(t.Context(), tenant, digest)
	if err != nil {
		t.Fatal(err)
	}
	got[0] = 'Y'
	if got, err = s.Get(t.Context(), tenant, digest); err != nil || string(got) != "immutable" {
		t.Fatalf("got %q, %v", got, err)
	}
}

func limit(t *testing.T, d blob.Driver) {
	s := blob.New(d, blob.Options{MaxSize: 10})
	if _, err := s.Put(t.Context(), tenant, make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	_, err := s.Put(t.Context(), tenant, make([]byte, 11))
	if !errors.Is(err, blob.ErrTooLarge) || cairn.CodeOf(err) != cairn.CodeInvalid {
		t.Fatalf("got %v, want ErrTooLarge with code invalid", err)
	}
	if _, err := s.Get(t.Context(), tenant, cairn.DigestOf(make([]byte, 11))); !errors.Is(err, blob.ErrNotFound) {
		t.Fatalf("what was refused is there: %v", err)
	}
	digest, err := blob.New(d, blob.Options{}).Put(t.Context(), tenant, make([]byte, 12))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get(t.Context(), tenant, digest); !errors.Is(err, blob.ErrTooLarge) {
		t.Fatalf("got %v, want ErrTooLarge", err)
	}
}

func cancelled(t *testing.T, d blob.Driver) {
	s := blob.New(d, blob.Options{})
	digest, err := s.Put(t.Context(), tenant, []byte("here"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Put(ctx, tenant, []byte("not here")); !errors.Is(err, context.Canceled) {
		t.Errorf("put: %v", err)
	}
	if err := d.Put(ctx, tenant, cairn.DigestOf([]byte("nor here")), []byte("nor here")); !errors.Is(err, context.Canceled) {
		t.Errorf("driver's put: %v", err)
	}
	if _, err := s.Get(ctx, tenant, digest); !errors.Is(err, context.Canceled) {
		t.Errorf("get: %v", err)
	}
	if _, err := d.Get(ctx, tenant, digest, 100); !errors.Is(err, context.Canceled) {
		t.Errorf("driver's get: %v", err)
	}
}

func malformed(t *testing.T, d blob.Driver) {
	s := blob.New(d, blob.Options{})
	for _, digest := range []cairn.Digest{"", "sha256:", "sha256:../../x", "md5:00", cairn.DigestOf(nil) + "0", cairn.DigestOf(nil)[7:]} {
		_, err := s.Get(t.Context(), tenant, digest)
		if !errors.Is(err, blob.ErrDigest) || cairn.CodeOf(err) != cairn.CodeInvalid {
			t.Errorf("%q: got %v, want ErrDigest with code invalid", digest, err)
		}
	}
}

func atOnce(t *testing.T, d blob.Driver) {
	s := blob.New(d, blob.Options{})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 4 {
				name := cairn.TenantID(fmt.Sprint("tenant", j%2))
				want := fmt.Sprintf("%d of %d", j, i)
				digest, err := s.Put(t.Context(), name, []byte(want))
				if err != nil {
					t.Error(err)
					return
				}
				if got, err := s.Get(t.Context(), name, digest); err != nil || string(got) != want {
					t.Errorf("got %q, %v", got, err)
				}
			}
		})
	}
	wg.Wait()
}

// sameAtOnce lets many write one blob: whoever was told that it is there finds it
// whole, whatever the others are doing.
func sameAtOnce(t *testing.T, d blob.Driver) {
	s := blob.New(d, blob.Options{})
	b := bytes.Repeat([]byte("same"), 1<<12)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 4 {
				digest, err := s.Put(t.Context(), tenant, b)
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := s.Get(t.Context(), tenant, digest); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}
