package wire

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"html"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/cairn-run/cairn"
)

// TestForms: a key is known in every form in which it may be quoted, in the cause
// of an error, too, which stands in logs.
func TestForms(t *testing.T) {
	t.Parallel()
	const key = `sk-proj-AbCd+Ef/Gh==IjKl"Mn\Op12`
	for name, quoted := range map[string]string{
		"as it is": key, "upper case": strings.ToUpper(key), "lower case": strings.ToLower(key),
		"query": url.QueryEscape(key), "path": url.PathEscape(key), "HTML": html.EscapeString(key), "hex": hex.EncodeToString([]byte(key)),
		"JSON": strconv.Quote(key), "JSON of PHP": strings.ReplaceAll(strconv.Quote(key), "/", `\/`),
		"base64": base64.StdEncoding.EncodeToString([]byte(key)), "base64 of URLs": base64.RawURLEncoding.EncodeToString([]byte(key)),
		"base64, one on": base64.StdEncoding.EncodeToString([]byte("u" + key)), "base64, two on": base64.StdEncoding.EncodeToString([]byte("u:" + key)),
		"basic": base64.StdEncoding.EncodeToString([]byte("user:" + key + ":x")),
	} {
		got := scrub(&cairn.Error{Message: "<" + quoted + ">", Err: errors.New(quoted)}, cairn.NewSecret(key))
		// What is left is less than a piece, and what stood beside it.
		if rest := strings.ReplaceAll(got.Message, cairn.Redacted, ""); len(rest) > 2+piece+2 {
			t.Errorf("%s: %s", name, got.Message)
		}
		if rest := strings.ReplaceAll(got.Err.Error(), cairn.Redacted, ""); len(rest) > piece+2 {
			t.Errorf("%s: %s", name, got.Err)
		}
	}
}

func TestScrub(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ key, in, want string }{
		"whole":          {"sk-abcdefgh1234", "Incorrect API key provided: sk-abcdefgh1234.", "Incorrect API key provided: [redacted]."},
		"twice":          {"sk-abcdefgh1234", "sk-abcdefgh1234sk-abcdefgh1234", "[redacted][redacted]"},
		"the beginning":  {"sk-abcdefgh1234", "key sk-abcde… is wrong", "key [redacted]… is wrong"},
		"the end":        {"sk-abcdefgh1234", "key …efgh1234 is wrong", "key …[redacted] is wrong"},
		"too little":     {"sk-abcdefgh1234", "key sk-a…1234 is wrong", "key sk-a…1234 is wrong"},
		"short":          {"test", "the key test is wrong", "the key [redacted] is wrong"},
		"one letter":     {"e", "the", "th[redacted]"},
		"none":           {"", "the", "the"},
		"the mark":       {"[redacted]", "is [redacted] it", "is [redacted] it"},
		"around a mark":  {"xx[redacted]yy", "is xx[redacted]yy it", "is [redacted] it"},
		"the same thing": {"aaaaaaaaaaaa", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!", "[redacted]!"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := scrub(&cairn.Error{Message: test.in}, cairn.NewSecret(test.key)).Message
			if strings.Contains(test.want, "!") { // how many marks is of no interest
				got = strings.ReplaceAll(got, "[redacted][redacted]", "[redacted]")
				for strings.Contains(got, "[redacted][redacted]") {
					got = strings.ReplaceAll(got, "[redacted][redacted]", "[redacted]")
				}
			}
			if got != test.want {
				t.Errorf("%q, want %q", got, test.want)
			}
		})
	}
}

// TestNoKey: whatever a provider quotes of the key, and wherever, no eight bytes of
// it are in the error.
func TestNoKey(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		key := rapid.StringMatching(`(sk-|gsk_|AIza)?[A-Za-z0-9_-]{0,60}`).Draw(t, "key")
		var body strings.Builder
		for range rapid.IntRange(0, 4).Draw(t, "quotes") {
			from := rapid.IntRange(0, len(key)).Draw(t, "from")
			to := rapid.IntRange(from, len(key)).Draw(t, "to")
			body.WriteString(rapid.StringMatching(`[ a-z*…"{}:]{0,300}`).Draw(t, "words"))
			body.WriteString(key[from:to])
		}
		said := body.String()
		if rapid.Bool().Draw(t, "json") {
			b, err := Encode(map[string]any{"error": map[string]any{"message": said, "type": key}})
			if err != nil {
				t.Fatal(err)
			}
			said = string(b)
		}
		status := rapid.SampledFrom([]int{0, 400, 401, 429, 500}).Draw(t, "status")
		secret := cairn.NewSecret(key)
		for _, e := range []*cairn.Error{
			scrub(Classify("acme", status, nil, []byte(said)), secret),
			(&Reply{name: "acme", key: secret}).Failed([]byte(said)),
		} {
			for i := 0; i+piece <= len(key); i++ {
				if strings.Contains(e.Message, key[i:i+piece]) {
					t.Fatalf("%q of the key %q is in %q", key[i:i+piece], key, e.Message)
				}
			}
		}
	})
}
