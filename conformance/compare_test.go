package conformance_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/internal/traffic"
	"github.com/cairn-run/cairn/model"
	"github.com/cairn-run/cairn/model/anthropic"
	"github.com/cairn-run/cairn/model/google"
	"github.com/cairn-run/cairn/model/openai"
	"github.com/cairn-run/cairn/model/wire"
)

var update = flag.Bool("update", false, "rewrite compared.txt, after looking at the difference")

// decoders are the official SDKs, by wire.
var decoders = map[traffic.Wire]func(context.Context, *traffic.Exchange, *tally) (answer, error){
	traffic.Chat:      sdkChat,
	traffic.Responses: sdkResponses,
	traffic.Messages:  sdkMessages,
	traffic.Generate:  sdkGenerate,
}

// tally counts what was compared and what was not, and why.
type tally struct {
	mu    sync.Mutex
	n     map[string]int
	names map[string][]string
}

func (c *tally) add(what string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n[what]++
}

// exclude counts a thing that is not compared, with the exchange.
func (c *tally) exclude(what string, e *traffic.Exchange) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.names[what] = append(c.names[what], e.Name)
}

// TestDriversDecodeAsTheSDKsDo compares every recorded exchange. What cannot be
// compared stands in compared.txt, with how often and why.
func TestDriversDecodeAsTheSDKsDo(t *testing.T) {
	t.Parallel()
	c := traffic.Load(t)
	count := &tally{n: map[string]int{}, names: map[string][]string{}}
	for i := range c.Exchanges {
		e := &c.Exchanges[i]
		theirs, theirErr := decoders[e.Wire](t.Context(), e, count)
		ours, ourErr := decode(t.Context(), e)
		if ourErr != nil && ours != nil {
			t.Errorf("%s: %v", e.Name, ourErr)
			continue
		}
		switch {
		case theirErr != nil && ourErr != nil:
			count.add(fmt.Sprintf("%s: both fail", e.Wire))
			continue
		case theirErr != nil:
			count.exclude(fmt.Sprintf("%s: the SDK fails: %s", e.Wire, cause(theirErr)), e)
			continue
		case ourErr != nil:
			count.exclude(fmt.Sprintf("%s: we fail, the SDK gives an answer that ended with %q: %s", e.Wire, theirs.Finish, cause(ourErr)), e)
			continue
		}
		mine := normal(e, ours, &theirs, count)
		if diff := cmp.Diff(theirs, mine); diff != "" {
			t.Errorf("%s (-SDK +driver):\n%s", e.Name, diff)
			continue
		}
		count.add(fmt.Sprintf("%s: agree", e.Wire))
		for what, there := range map[string]bool{
			"text": mine.Text != "", "reasoning": mine.Reasoning != "", "calls": mine.Calls != nil, "usage": mine.Usage != nil,
			"cached tokens": mine.Usage["cached"]+mine.Usage["cache_read"] > 0,
		} {
			if there {
				count.add(fmt.Sprintf("%s: agree, on %s among others", e.Wire, what))
			}
		}
	}
	golden(t, "compared.txt", count.String())
}

// cause is the beginning of an error, which is the same for all of its kind.
func cause(err error) string {
	s := err.Error()
	if i := strings.IndexAny(s, "\n{"); i > 0 {
		s = s[:i]
	}
	return strings.TrimSpace(s)
}

func (c *tally) String() string {
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(c.n)) {
		fmt.Fprintf(&b, "%6d %s\n", c.n[k], k)
	}
	b.WriteString("\nNot compared, or not as it came\n")
	for _, k := range slices.Sorted(maps.Keys(c.names)) {
		fmt.Fprintf(&b, "\n%6d %s\n", len(c.names[k]), k)
		if len(c.names[k]) <= 20 {
			for _, name := range c.names[k] {
				fmt.Fprintf(&b, "       %s\n", name)
			}
		}
	}
	return b.String()
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file) //nolint:gosec // a file beside the test
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s changed; look at the difference, then run with -update (-want +got):\n%s", file, diff)
	}
}

// decode puts an exchange through Cairn's driver. An answer beside an error means
// that the driver broke its contract.
func decode(ctx context.Context, e *traffic.Exchange) (*cairn.ModelAnswer, error) {
	at := wire.Endpoint{Name: e.Provider, URL: "https://recorded.test/v1", Client: e.Client()}
	var d model.Driver
	switch e.Wire {
	case traffic.Chat:
		d = openai.New(openai.Options{Endpoint: at, API: "chat"})
	case traffic.Responses:
		d = openai.New(openai.Options{Endpoint: at, API: "responses"})
	case traffic.Messages:
		d = anthropic.New(anthropic.Options{Endpoint: at})
	default:
		d = google.New(google.Options{Endpoint: at})
	}
	var a *cairn.ModelAnswer
	for chunk, err := range d.Call(ctx, model.Call{Request: &cairn.ModelRequest{
		Model:    e.Provider + "/" + e.Model,
		Messages: []cairn.Message{{Role: cairn.RoleUser, Content: []cairn.Part{cairn.Text("hi")}}},
		Params:   cairn.ModelParams{MaxOutput: 4096},
	}}) {
		if err != nil {
			return a, err
		}
		if chunk.Answer != nil {
			a = chunk.Answer
		}
	}
	if a == nil {
		return &cairn.ModelAnswer{}, errors.New("neither an answer nor an error")
	}
	return a, nil
}

// normal is our answer in the form both are compared in. The buckets are put
// together again to the numbers that the provider reports.
func normal(e *traffic.Exchange, a *cairn.ModelAnswer, theirs *answer, count *tally) answer {
	n := answer{Model: a.Model, Finish: a.Finish}
	for _, p := range a.Content {
		switch p.Kind {
		case cairn.PartText:
			n.Text += p.Text
		case cairn.PartReasoning:
			n.Reasoning += p.Text
		case cairn.PartToolCall:
			n.Calls = append(n.Calls, call{p.CallID, p.Tool, p.Args})
		}
	}
	for i := range min(len(n.Calls), len(theirs.Calls)) {
		if theirs.Calls[i].ID == "" { // a call has to have one: it is derived
			count.exclude(fmt.Sprintf("%s: the provider gave a call no id, ours is derived", e.Wire), e)
			n.Calls[i].ID = ""
		}
	}
	if theirs.Model == "" {
		count.exclude(fmt.Sprintf("%s: the provider did not name the model, ours is the one asked for", e.Wire), e)
		n.Model = ""
	}
	u := a.Usage
	switch e.Wire {
	case traffic.Messages:
		for i := range n.Calls {
			n.Calls[i].Args = compact([]byte(n.Calls[i].Args))
		}
		messagesUsage(&n, u)
	case traffic.Generate:
		for i := range n.Calls {
			n.Calls[i].Args = generic(n.Calls[i].Args)
		}
		n.count("prompt_and_tools", u.Prompt())
		n.count("cached", u.CacheRead)
		n.count("candidates", u.Output+u.OutputAudio-u.Reasoning)
		n.count("thoughts", u.Reasoning)
		n.count("audio_in", u.InputAudio)
	default:
		openaiUsage(e, &n, u, theirs, count)
	}
	return n
}

// generic writes an object as one that was read into a map, which is what genai
// makes of arguments: its keys sorted, its numbers doubles.
func generic(raw string) string {
	var v any
	if json.Unmarshal([]byte(raw), &v) != nil {
		return raw
	}
	b, err := json.Marshal(v)
	if err != nil {
		return raw
	}
	return string(b)
}
