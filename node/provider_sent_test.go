package node

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/model"
)

// requests is a transport that keeps what would be sent.
type requests struct {
	header http.Header
	body   string
}

var errNotSent = errors.New("not sent")

func (r *requests) RoundTrip(q *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(q.Body)
	r.header, r.body = q.Header, string(body)
	return nil, errors.Join(errNotSent, err)
}

// TestSentToItsOwn: what only a provider's own service knows is not sent to a server
// that stands in for it.
func TestSentToItsOwn(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		model, elsewhere string
		env              []string
		own              func(*requests) bool
	}{
		{
			"openai/gpt-4o", "OPENAI_BASE_URL",
			[]string{"OPENAI_API_KEY", "k", "OPENAI_ORG_ID", "org-1", "OPENAI_PROJECT_ID", "proj-1"},
			func(r *requests) bool {
				return r.header.Get("OpenAI-Organization") == "org-1" && r.header.Get("OpenAI-Project") == "proj-1"
			},
		},
		{
			"anthropic/claude-sonnet-5", "ANTHROPIC_BASE_URL",
			[]string{"ANTHROPIC_API_KEY", "k"},
			func(r *requests) bool { return strings.Contains(r.body, `"service_tier":"standard_only"`) },
		},
	} {
		for _, url := range []string{"", "https://stand-in.example/v1"} {
			var sent requests
			p, err := OpenProviders(ProviderOptions{
				Getenv: variables(append([]string{tt.elsewhere, url}, tt.env...)...), Client: &http.Client{Transport: &sent},
			})
			if err != nil {
				t.Fatal(err)
			}
			provider, _ := model.Split(tt.model)
			request := &cairn.ModelRequest{
				Model: tt.model, Messages: []cairn.Message{{Role: cairn.RoleUser, Content: []cairn.Part{cairn.Text("hi")}}},
				Params: cairn.ModelParams{MaxOutput: 9},
			}
			for _, err := range p.Drivers()[provider].Call(t.Context(), model.Call{Request: request, Attempt: 1}) {
				if err == nil {
					t.Fatal("no error")
				}
			}
			all := sent.body
			for k, v := range sent.header {
				all += "\n" + k + ": " + strings.Join(v, " ")
			}
			if said := tt.own(&sent); said != (url == "") || url != "" && (strings.Contains(all, "org-1") || strings.Contains(all, "proj-1") || strings.Contains(all, "service_tier")) {
				t.Errorf("%s at %q is sent:\n%s", tt.model, url, all)
			}
		}
	}
}
