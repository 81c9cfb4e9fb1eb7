package blob_test

import (
	"errors"
	"regexp"
	"testing"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/blob"
)

func FuzzCheckDigest(f *testing.F) {
	f.Add(string(cairn.DigestOf(nil)))
	f.Add("sha256:../../etc/passwd")
	f.Add("")
	form := regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
	f.Fuzz(func(t *testing.T, s string) {
		err := blob.CheckDigest(cairn.Digest(s))
		if (err == nil) != form.MatchString(s) {
			t.Fatalf("%q: %v", s, err)
		}
		if err != nil && !errors.Is(err, blob.ErrDigest) {
			t.Fatalf("%q: %v is not ErrDigest", s, err)
		}
	})
}
