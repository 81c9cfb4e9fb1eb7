package traffic_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/cairn-run/cairn/internal/traffic"
	"github.com/cairn-run/cairn/model/anthropic"
	"github.com/cairn-run/cairn/model/google"
	"github.com/cairn-run/cairn/model/openai"
	"github.com/cairn-run/cairn/model/wire"
)

// TestRequestsAreRead decodes every recorded request into the type that the drivers
// encode, which the gateway reads as a server, and encodes it again. What other
// clients send and the types have no field for is counted in requests.txt; a value
// that is there is never another one.
func TestRequestsAreRead(t *testing.T) {
	t.Parallel()
	c := traffic.Load(t)
	read, lost := map[traffic.Wire]int{}, map[string]int{}
	for i := range c.Exchanges {
		e := &c.Exchanges[i]
		if e.Request == nil {
			continue
		}
		var into any
		switch e.Wire {
		case traffic.Chat:
			into = new(openai.ChatRequest)
		case traffic.Responses:
			into = new(openai.ResponsesRequest)
		case traffic.Messages:
			into = new(anthropic.Request)
		default:
			into = new(google.Request)
		}
		if err := json.Unmarshal(e.Request, into); err != nil {
			lost[fmt.Sprintf("%s: not read at all: %v", e.Wire, err)]++
			continue
		}
		again, err := wire.Encode(into)
		if err != nil {
			t.Errorf("%s: %v", e.Name, err)
			continue
		}
		read[e.Wire]++
		paths := map[string]bool{}
		differences("", decoded(e.Request), decoded(again), func(path, what string) {
			if strings.Contains(what, "becomes") && (e.Wire != traffic.Messages || path != ".system") { // a text is a list of one
				t.Errorf("%s: %s %s", e.Name, path, what)
			}
			paths[fmt.Sprintf("%s: %s %s", e.Wire, path, what)] = true
		})
		for p := range paths {
			lost[p]++
		}
	}
	var b strings.Builder
	for _, w := range []traffic.Wire{traffic.Chat, traffic.Responses, traffic.Messages, traffic.Generate} {
		fmt.Fprintf(&b, "%6d requests of %s read\n", read[w], w)
	}
	b.WriteString("\nRequests that have something else after they were read and written:\n\n")
	for _, k := range slices.Sorted(maps.Keys(lost)) {
		fmt.Fprintf(&b, "%6d %s\n", lost[k], k)
	}
	golden(t, "requests.txt", b.String())
}

// differences says what became of each value.
func differences(path string, before, after any, say func(path, what string)) {
	if reflect.DeepEqual(before, after) {
		return
	}
	switch b := before.(type) {
	case map[string]any:
		a, ok := after.(map[string]any)
		if !ok {
			break
		}
		for k, v := range b {
			if w, there := a[k]; there {
				differences(path+"."+k, v, w, say)
			} else if v != nil && v != false && v != "" && v != 0.0 { // what is left out means the same
				say(path+"."+k, "is left out")
			}
		}
		for k := range a {
			if _, there := b[k]; !there {
				say(path+"."+k, "is put in")
			}
		}
		return
	case []any:
		a, ok := after.([]any)
		if !ok || len(a) != len(b) {
			break
		}
		for i := range b {
			differences(path+"[]", b[i], a[i], say)
		}
		return
	}
	say(path, fmt.Sprintf("is a %s and becomes a %s", kind(before), kind(after)))
}

func kind(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case []any:
		return fmt.Sprintf("list of %d", len(v))
	case map[string]any:
		return "object"
	case string:
		return "string"
	}
	return fmt.Sprint(v)
}
