package node_test

import (
	"context"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cairn-run/cairn"
	v1 "github.com/cairn-run/cairn/api/v1"
	"github.com/cairn-run/cairn/client"
	"github.com/cairn-run/cairn/model"
	"github.com/cairn-run/cairn/node"
)

// router answers with another model than was asked, at five times the price.
type router struct{}

func (router) Info(_ context.Context, name string) (cairn.ModelInfo, error) {
	in := cairn.Dollar
	switch name {
	case "auto":
	case "large-2026-11-01":
		in = 5 * cairn.Dollar
	default:
		return cairn.ModelInfo{}, cairn.Errorf(cairn.CodeNotFound, "no model is called %q", name)
	}
	return cairn.ModelInfo{Name: name, Priced: true, Table: "t", Prices: cairn.Flat(cairn.Rates{Input: in, Output: in})}, nil
}

func (router) Call(_ context.Context, c model.Call) iter.Seq2[model.Chunk, error] {
	return func(yield func(model.Chunk, error) bool) {
		served := "large-2026-11-01"
		if strings.Contains(cairn.TextOf(c.Request.Messages[0].Content), "unknown") {
			served = "nobody-knows"
		}
		yield(model.Chunk{Answer: &cairn.ModelAnswer{
			Model: served, Stop: cairn.StopEnd, Content: []cairn.Part{cairn.Text("Hi.")}, Usage: cairn.Usage{Input: 1000, Output: 10},
		}}, nil)
	}
}

// TestServed: what answered is what is billed, if its price is known.
func TestServed(t *testing.T) {
	t.Parallel()
	n, _ := start(t, t.TempDir(), node.Options{Models: map[string]model.Driver{"r": router{}}})
	if _, _, err := n.Apply(t.Context(), cairn.DefaultTenant, &cairn.Agent{Name: "a", Model: "r/auto"}); err != nil {
		t.Fatal(err)
	}
	for input, want := range map[string]cairn.Money{"Hi.": 5 * 1_010_000, "To an unknown one.": 1_010_000} {
		s, err := n.Client().CreateSession(t.Context(), v1.CreateSession{Agent: "a", Input: v1.Text(input), Once: true})
		if err != nil {
			t.Fatal(err)
		}
		settled(t, n.Client(), s.ID)
		sum, err := n.Journal().Summary(t.Context(), cairn.SessionKey{Tenant: cairn.DefaultTenant, ID: s.ID})
		if err != nil || sum.Cost != want {
			t.Errorf("%q cost %s, want %s: %v", input, sum.Cost, want, err)
		}
	}
}

// TestFallbackIsChecked: a slip in the last line of defence is found when the agent
// is applied.
func TestFallbackIsChecked(t *testing.T) {
	t.Parallel()
	n, _ := start(t, t.TempDir(), node.Options{Models: map[string]model.Driver{"r": router{}}})
	for path, a := range map[string]*cairn.Agent{
		"model: ":       {Name: "a", Model: "r/atuo"},
		"fallback[1]: ": {Name: "a", Model: "r/auto", Fallback: []string{"r/large-2026-11-01", "rr/auto"}},
	} {
		if _, _, err := n.Apply(t.Context(), cairn.DefaultTenant, a); err == nil || !strings.HasPrefix(err.Error(), path) {
			t.Errorf("%s%v", path, err)
		}
	}
}

// TestBrokenProviders: a mistake in the providers file keeps nobody from looking
// at what there is and from stopping it.
func TestBrokenProviders(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, node.ProvidersFile), []byte("providers: 7\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if n, err := node.Open(t.Context(), node.Options{Dir: dir}); err == nil {
		_ = n.Close()
		t.Error("a node that has to perform opened")
	}
	n, err := node.Open(t.Context(), node.Options{Dir: dir, Paused: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = n.Close() }()
	if _, err := n.Client().Sessions(t.Context(), client.SessionQuery{}); err != nil {
		t.Error(err)
	}
}
