package wire

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"html"
	"net/url"
	"strings"

	"github.com/cairn-run/cairn"
)

// piece is how much of a credential in one piece gives something away, in bytes.
const piece = 8

// scrub takes the credential, and every piece of it, out of an error: providers
// quote the key they refuse, and net/http quotes lines that it cannot read.
func scrub(e *cairn.Error, key cairn.Secret) *cairn.Error {
	e.Message = without(e.Message, key)
	e.Err = unquoted(e.Err, key)
	return e
}

// unquoted is an error whose text has nothing of the credential: the same if it
// had nothing.
func unquoted(err error, key cairn.Secret) error {
	if err == nil {
		return nil
	}
	if e, ok := err.(*cairn.Error); ok { //nolint:errorlint // not one that is wrapped
		other := *e // it may be the cause of a context, which others read
		return scrub(&other, key)
	}
	said := err.Error()
	if clean := without(said, key); clean != said {
		return errors.New(clean)
	}
	return err
}

// without takes a credential out of a text, in whatever case and in the forms in
// which it may be repeated. It looks at each place of the text once.
func without(m string, key cairn.Secret) string {
	k := key.Reveal()
	if k == "" {
		return m
	}
	if len(k) < piece {
		return strings.ReplaceAll(m, k, cairn.Redacted)
	}
	pieces := map[string]bool{}
	for _, form := range forms(k) {
		form = lower(form)
		for i := 0; i+piece <= len(form); i++ {
			pieces[form[i:i+piece]] = true
		}
	}
	low := lower(m)
	var b strings.Builder
	end := 0 // what is before it belongs to the key or is written
	open := false
	for i := range len(m) {
		switch {
		case i+piece <= len(m) && pieces[low[i:i+piece]]:
			if !open || i >= end {
				b.WriteString(cairn.Redacted)
			}
			open, end = true, i+piece
		case i >= end:
			open = false
			b.WriteByte(m[i])
		}
	}
	return b.String()
}

// forms are ways to write a key: as it is, escaped, and as a part of something in
// base64, where it begins at one of three places.
func forms(k string) []string {
	all := []string{k, url.QueryEscape(k), url.PathEscape(k), html.EscapeString(k), hex.EncodeToString([]byte(k))}
	if quoted, err := Encode(k); err == nil {
		all = append(all, string(quoted[1:len(quoted)-1]))
		all = append(all, strings.ReplaceAll(all[len(all)-1], "/", `\/`))
	}
	for before, shared := range []int{0, 2, 3} { // characters that hold bits of what stands before
		text := []byte("\x00\x00"[:before] + k)
		for _, e := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			all = append(all, e.EncodeToString(text)[shared:])
		}
	}
	return all
}

// lower changes the case of ASCII only: every byte stays in its place.
func lower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}
