package traffic

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

// TestTreesKeepWhatJSONSaid writes YAML as PyYAML does, which resolves plain
// scalars by YAML 1.1.
func TestTreesKeepWhatJSONSaid(t *testing.T) {
	t.Parallel()
	const doc = `
z: 1
a: 1.50
exp: 1.0e-05
version: 1e3
octal: 0o14
minus: -3
none: null
tilde: ~
empty: ''
nothing:
quoted: 'true'
bool: true
word: "yes"
day: 2025-01-01
block: |-
  line one  
    indented

  last
kept: |+
  text

folded: "a\
  \ b\u2028\x01<&>é"
list:
- []
- {}
- - 1
`
	const want = `{"z":1,"a":1.50,"exp":1.0e-05,"version":"1e3","octal":"0o14","minus":-3,"none":null,"tilde":null,"empty":"",` +
		`"nothing":null,"quoted":"true","bool":true,"word":"yes","day":"2025-01-01","block":"line one  \n  indented\n\nlast",` +
		`"kept":"text\n\n","folded":"a b` + "\u2028" + `\u0001<&>é","list":[[],{},[1]]}`
	var n yaml.Node
	if err := yaml.Unmarshal([]byte(doc), &n); err != nil {
		t.Fatal(err)
	}
	got, err := document(n.Content[0])
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Error(diff)
	}
}

func TestRoutes(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		method, url string
		wire        Wire
		reason      string
	}{
		{http.MethodPost, "https://api.openai.com/v1/responses", Responses, ""},
		{http.MethodPost, "https://api.openai.com/v1/responses/compact", "", "compaction of a history"},
		{http.MethodGet, "https://api.openai.com/v1/responses/resp_1", "", "stored response fetched"},
		{http.MethodPost, "https://api.anthropic.com/v1/messages?beta=true", Messages, ""},
		{http.MethodPost, "https://x.example/v1/chat/completions", Chat, ""},
		{http.MethodPost, "https://x.example/v1beta/models/m:streamGenerateContent?alt=sse", Generate, ""},
		{http.MethodPost, "https://x.example/v1/something", "", unknown},
		{http.MethodGet, "https://x.example/v1/chat/completions", "", unknown},
	} {
		u, err := url.Parse(test.url)
		if err != nil {
			t.Fatal(err)
		}
		if w, reason := route(test.method, u, "application/json"); w != test.wire || reason != test.reason {
			t.Errorf("%s %s is %q, %q; want %q, %q", test.method, test.url, w, reason, test.wire, test.reason)
		}
	}
}
