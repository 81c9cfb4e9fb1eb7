package http_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/cairn-run/cairn"
)

// TestLongAnswer: what is shown as the end of an answer is its end, or it is said that it
// is not.
func TestLongAnswer(t *testing.T) {
	t.Parallel()
	piece := []byte(strings.Repeat("y", 1<<20))
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		n := 64
		if r.URL.Path == "/longer" {
			n = 66
		}
		for range n {
			_, _ = w.Write(piece)
		}
	}))
	t.Cleanup(s.Close)
	for path, longer := range map[string]bool{"/longer": true, "/just": false} {
		got, err := newDriver(t).Call(t.Context(), call(cairn.HTTPTool{Name: "x", Method: "GET", URL: s.URL + path}, `{}`))
		if err != nil {
			t.Fatal(err)
		}
		if text := cairn.TextOf(got.Content); strings.Contains(text, "goes on after 67108864 bytes, which is where reading stopped") != longer || got.Truncated < 60<<20 {
			t.Errorf("%s: %d, %.200s … %s", path, got.Truncated, text, text[max(0, len(text)-200):])
		}
	}
}
