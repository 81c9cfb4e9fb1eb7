package node_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/cairn-run/cairn"
	v1 "github.com/cairn-run/cairn/api/v1"
	"github.com/cairn-run/cairn/model"
	"github.com/cairn-run/cairn/model/script"
	"github.com/cairn-run/cairn/node"
)

// TestReadResult: of a long result the model sees the two ends, and by the number
// that stands between them it reads the rest. Nothing of it is lost.
func TestReadResult(t *testing.T) {
	t.Parallel()
	var whole strings.Builder
	for i := range 4000 {
		fmt.Fprintf(&whole, "line %d.\n", i)
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(whole.String())) }))
	defer s.Close()
	// Events 1 to 7 are: created, started, message, requested, completed, call, result.
	watched := &seen{Driver: script.New(map[string]*script.Script{"reader": {Replies: []script.Reply{
		{Calls: []script.Call{{Tool: "get_log"}}},
		{Calls: []script.Call{{Tool: "read_result", Args: `{"result":7,"offset":20000,"limit":100}`}, {Tool: "read_result", Args: `{"result":3}`}}},
		{Calls: []script.Call{{Tool: "read_result", Args: `{"result":7,"offset":9000000}`}}},
		{Text: "Read."},
	}}})}
	n, _ := start(t, t.TempDir(), node.Options{Models: map[string]model.Driver{"script": watched}})
	a := &cairn.Agent{
		Name: "reader", Model: "script/reader", Context: cairn.ContextRules{Results: 4096},
		Tools: []cairn.ToolSource{{Builtin: []string{"read_result"}}, {HTTP: &cairn.HTTPTool{Name: "get_log", Method: "GET", URL: s.URL}}},
	}
	if _, _, err := n.Apply(t.Context(), cairn.DefaultTenant, a); err != nil {
		t.Fatal(err)
	}
	ses, err := n.Client().CreateSession(t.Context(), v1.CreateSession{Agent: "reader", Input: v1.Text("What is in the log?"), Once: true})
	if err != nil {
		t.Fatal(err)
	}
	settled(t, n.Client(), ses.ID)
	if len(watched.requests) != 4 {
		t.Fatalf("%d requests, want 4", len(watched.requests))
	}
	last := watched.requests[3].Messages
	shown := last[2].Content[0].Text
	if len(shown) > 4096+200 || !strings.HasPrefix(shown, "line 0.\n") || !strings.HasSuffix(shown, "line 3999.\n") {
		t.Errorf("%d bytes are shown: %.80q … %.80q", len(shown), shown, shown[len(shown)-80:])
	}
	hint := regexp.MustCompile(`\[… (\d+) bytes left out here.*read_result \{"result":7,"offset":(\d+)\}`).FindStringSubmatch(shown)
	if hint == nil {
		t.Fatalf("no hint in %q", shown)
	}
	gone, _ := strconv.Atoi(hint[1])
	head, _ := strconv.Atoi(hint[2])
	if shown[:head] != whole.String()[:head] || head+gone >= whole.Len() || head+gone < whole.Len()-4096 {
		t.Errorf("%d bytes are shown, then %d of %d are left out", head, gone, whole.Len())
	}
	for i, want := range []string{
		"[bytes 20000 to 20100 of " + strconv.Itoa(whole.Len()) + "]\n" + whole.String()[20000:20100],
		"There is no result 3 in this session.",
	} {
		if got := last[4].Content[i].Text; got != want {
			t.Errorf("part %d is %q, want %q", i, got, want)
		}
	}
	if got := last[6].Content[0].Text; got != fmt.Sprintf("Result 7 has %d bytes.", whole.Len()) {
		t.Errorf("beyond the end: %q", got)
	}
}
