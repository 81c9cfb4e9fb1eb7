package node_test

import (
	"net/http"
	"testing"

	"github.com/cairn-run/cairn/node"
)

// TestHosts: a node may be called by the names it was given and by no others, which
// may have been pointed at it by anyone, and by pages of the origins it was given.
func TestHosts(t *testing.T) {
	t.Parallel()
	n, _ := start(t, t.TempDir(), node.Options{
		Listen: "127.0.0.1:0", Hosts: []string{"cairn.example"}, Origins: []string{"https://app.example"},
	})
	hc := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for _, c := range []struct {
		host, origin string
		status       int
	}{
		{n.Addr(), "", 200},
		{"cairn.example", "", 200},
		{"other.example", "", 403},
		{"cairn.example", "https://app.example", 200},
		{"cairn.example", "https://other.example", 403},
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+n.Addr()+"/v1/health", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = c.host
		if c.origin != "" {
			r.Header.Set("Origin", c.origin)
		}
		resp, err := hc.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != c.status || resp.Body.Close() != nil {
			t.Errorf("host %s, origin %q: status %d, want %d", c.host, c.origin, resp.StatusCode, c.status)
		}
	}
}
