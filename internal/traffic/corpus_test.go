package traffic_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairn-run/cairn/internal/traffic"
)

var update = flag.Bool("update", false, "rewrite exclusions.txt")

// TestNothingIsLeftOutUnseen pins how many exchanges there are of each wire, and
// writes down what is left out and why.
func TestNothingIsLeftOutUnseen(t *testing.T) {
	t.Parallel()
	c := traffic.Load(t)
	var b strings.Builder
	fmt.Fprintf(&b, "Recorded exchanges: %d in the corpus, %d left out.\n\nIn the corpus\n", len(c.Exchanges), len(c.Excluded))
	for _, w := range []traffic.Wire{traffic.Chat, traffic.Responses, traffic.Messages, traffic.Generate} {
		n := map[string]int{}
		for _, e := range c.Only(w) {
			switch {
			case e.Status >= 300:
				n["errors"]++
			case e.Stream:
				n["streams"]++
			default:
				n["documents"]++
			}
		}
		fmt.Fprintf(&b, "%6d %s: %d streams, %d documents, %d errors\n", len(c.Only(w)), w, n["streams"], n["documents"], n["errors"])
	}
	b.WriteString("\nLeft out, by reason\n")
	for _, x := range c.Exclusions() {
		fmt.Fprintf(&b, "%6d %s\n", x.N, x.Reason)
	}
	reason := ""
	for _, x := range c.Excluded {
		if x.Reason != reason {
			reason = x.Reason
			fmt.Fprintf(&b, "\n%s\n", reason)
		}
		fmt.Fprintf(&b, "  %s\n", x.Name)
	}
	if strings.Contains(b.String(), "unknown endpoint") {
		t.Errorf("a recording has no wire and no reason to be left out:\n%s", b.String())
	}
	golden(t, "exclusions.txt", b.String())
}

// golden compares a text with a file beside the test, or rewrites that.
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

// TestBodiesAreOfTheirWire looks for exchanges that were put to a wrong wire, or
// whose bodies were damaged by reading.
func TestBodiesAreOfTheirWire(t *testing.T) {
	t.Parallel()
	keys := map[traffic.Wire][2]string{ // of documents, and of events
		traffic.Chat:      {`"choices":`, `"choices":`},
		traffic.Responses: {`"output":`, `"type":"response.`},
		traffic.Messages:  {`"content":`, `"type":"message_start"`},
		traffic.Generate:  {`"usageMetadata":`, `"usageMetadata":`},
	}
	for _, e := range traffic.Load(t).Exchanges {
		if e.Request != nil && !json.Valid(e.Request) {
			t.Errorf("%s: the request is not JSON", e.Name)
		}
		key, body := keys[e.Wire][0], e.Body
		switch {
		case e.Status >= 300:
			key = `"message":`
		case e.Stream:
			key = keys[e.Wire][1]
		}
		if e.Stream {
			body = bytes.ReplaceAll(body, []byte(`": "`), []byte(`":"`))
			if !bytes.Contains(body, []byte("data:")) {
				t.Errorf("%s: a stream without data", e.Name)
			}
		} else if !json.Valid(body) {
			t.Errorf("%s: the answer is not JSON", e.Name)
		}
		if !bytes.Contains(body, []byte(key)) {
			t.Errorf("%s: the answer has no %s: %.300s", e.Name, key, body)
		}
		if e.Model == "" || e.Provider == "" || e.Status == 0 {
			t.Errorf("%s: %q of %q, status %d", e.Name, e.Model, e.Provider, e.Status)
		}
	}
}
