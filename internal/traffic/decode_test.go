package traffic_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/internal/traffic"
)

// TestEveryExchangeDecodes puts every recorded exchange through its driver. Those
// that end in a failure stand with its type in failures.txt.
func TestEveryExchangeDecodes(t *testing.T) {
	t.Parallel()
	c := traffic.Load(t)
	var failures strings.Builder
	answers, stops := 0, map[cairn.StopReason]int{}
	for i := range c.Exchanges {
		e := &c.Exchanges[i]
		h, err := decode(t.Context(), e)
		if err != nil {
			t.Errorf("%s: %v", e.Name, err)
			continue
		}
		if h.failed != nil {
			fmt.Fprintf(&failures, "%s: %s\n", e.Name, failureLine(h.failed.Err))
			continue
		}
		answers++
		stops[h.answer.Stop]++
		if e.Status >= 300 {
			t.Errorf("%s: an answer came of status %d", e.Name, e.Status)
		}
		checkAnswer(t, e, h)
	}
	fmt.Fprintf(&failures, "\n%d answers, %d failures\n", answers, len(c.Exchanges)-answers)
	for _, s := range []cairn.StopReason{cairn.StopEnd, cairn.StopToolUse, cairn.StopMaxOutput, cairn.StopRefusal, cairn.StopSequence, cairn.StopPause} {
		fmt.Fprintf(&failures, "%6d %s\n", stops[s], s)
		delete(stops, s)
	}
	if len(stops) > 0 {
		t.Errorf("unknown reasons to stop: %v", stops)
	}
	golden(t, "failures.txt", failures.String())
}

func failureLine(e *cairn.Error) string {
	line := string(e.Code)
	if e.Retryable {
		line += ", retryable"
	}
	if e.NotDone {
		line += ", not done"
	}
	if e.RetryAfter != 0 {
		line += ", after " + e.RetryAfter.String()
	}
	return line + ": " + e.Message
}

// contradictory are recordings that were written by hand: what they stream is not
// what they end with.
var contradictory = map[string]bool{
	"vercel/openai/src/responses/__fixtures__/openai-shell-container.1.chunks.txt": true,
}

// checkAnswer holds an answer to what every answer promises.
func checkAnswer(t *testing.T, e *traffic.Exchange, h heard) {
	t.Helper()
	a := h.answer
	told := len(h.said) > 0 // an answer in one piece may be told in deltas or not, but wholly
	if a.Model == "" || a.Stop == "" {
		t.Errorf("%s: model %q, stop %q", e.Name, a.Model, a.Stop)
	}
	ids := map[string]bool{}
	for i, p := range a.Content {
		shown := p.Text
		switch p.Kind {
		case cairn.PartToolCall:
			shown = p.Args
			if p.Tool == "" || p.CallID == "" || ids[p.CallID] {
				t.Errorf("%s: part %d calls %q with the id %q, missing or not the only one", e.Name, i, p.Tool, p.CallID)
			}
			ids[p.CallID] = true
		case cairn.PartReasoning, cairn.PartOpaque:
			if p.Provider != e.Provider {
				t.Errorf("%s: part %d, %s, is of the provider %q", e.Name, i, p.Kind, p.Provider)
			}
		case cairn.PartText, cairn.PartImage, cairn.PartFile:
		default:
			t.Errorf("%s: part %d is a %s", e.Name, i, p.Kind)
		}
		if p.Opaque != nil && (!json.Valid(p.Opaque) || p.Provider != e.Provider) {
			t.Errorf("%s: part %d has a block that is not JSON or nobody's", e.Name, i)
		}
		if said := h.said[i]; said != shown && (e.Stream || told) && !contradictory[e.Name] && (p.Kind == cairn.PartText || p.Kind == cairn.PartReasoning || p.Kind == cairn.PartToolCall) {
			t.Errorf("%s: part %d was streamed as %q and is %q", e.Name, i, clip(said), clip(shown))
		}
		delete(h.said, i)
	}
	for i := range h.said {
		t.Errorf("%s: part %d was streamed and is not in the answer", e.Name, i)
	}
	if a.Stop == cairn.StopToolUse && len(ids) == 0 {
		t.Errorf("%s: stopped for tools and calls none", e.Name)
	}
	if a.RawUsage != nil && !json.Valid(a.RawUsage) {
		t.Errorf("%s: the raw usage is not JSON", e.Name)
	}
	u := a.Usage
	if min(u.Input, u.CacheRead, u.CacheWrite5m, u.CacheWrite1h, u.Output, u.Reasoning, u.InputAudio, u.OutputAudio, u.Searches) < 0 || u.Reasoning > u.Output {
		t.Errorf("%s: usage %+v", e.Name, u)
	}
	if a.RawUsage == nil && u != (cairn.Usage{}) {
		t.Errorf("%s: usage %+v out of nothing", e.Name, u)
	}
}

func clip(s string) string {
	if len(s) > 200 {
		return s[:200] + "…"
	}
	return s
}
