package anthropic

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/internal/sim"
	"github.com/cairn-run/cairn/model"
	"github.com/cairn-run/cairn/model/wire"
)

// fixture is a recorded answer.
type fixture struct {
	name   string
	stream bool
	body   []byte
}

// fixtures are the recorded answers that show the newest blocks.
func fixtures(t *testing.T) []fixture {
	t.Helper()
	folder := sim.Data(t, "model-traffic", "vercel-ai-fixtures", "anthropic", "src", "__fixtures__")
	files, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	var out []fixture
	for _, file := range files {
		b, err := os.ReadFile(filepath.Join(folder, file.Name()))
		if err != nil {
			t.Fatal(err)
		}
		f := fixture{name: file.Name(), body: b}
		if strings.HasSuffix(file.Name(), ".chunks.txt") { // the data of one event a line
			f.stream = true
			var sse bytes.Buffer
			for line := range strings.Lines(string(b)) {
				if line = strings.TrimSpace(line); line != "" {
					sse.WriteString("data: " + line + "\n\n")
				}
			}
			f.body = sse.Bytes()
		}
		out = append(out, f)
	}
	if len(out) < 60 {
		t.Fatalf("only %d fixtures", len(out))
	}
	return out
}

// decode reads an answer as the driver does.
func decode(f fixture, body []byte) (*cairn.ModelAnswer, error) {
	if !f.stream {
		return DecodeResponse("anthropic", body)
	}
	s := NewStream("anthropic")
	for e, err := range wire.Events(bytes.NewReader(body)) {
		if err != nil {
			return nil, err
		}
		if _, err := s.Add(e.Data); err != nil {
			return nil, err
		}
		if s.Complete() {
			break
		}
	}
	return s.Done()
}

// failing are the fixtures that hold no answer.
var failing = map[string]cairn.Code{
	"anthropic-refusal.json":            cairn.CodeRefused,
	"anthropic-refusal.chunks.txt":      cairn.CodeRefused,
	"anthropic-refusal-no-details.json": cairn.CodeRefused,
	"spliced-message-start.chunks.txt":  cairn.CodeCut, // two messages in one
}

// TestFixtures: every block that was recorded goes back as it came.
func TestFixtures(t *testing.T) {
	t.Parallel()
	left := 0
	for _, f := range fixtures(t) {
		a, err := decode(f, f.body)
		if code, ok := failing[f.name]; ok {
			if cairn.CodeOf(err) != code {
				t.Errorf("%s: %v", f.name, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", f.name, err)
			continue
		}
		if a.RawUsage == nil || a.Usage.Prompt() == 0 || a.Usage.Output == 0 || a.Model == "" {
			t.Errorf("%s: %s, usage %+v from %s", f.name, a.Model, a.Usage, a.RawUsage)
		}
		want := recorded(t, f)
		if len(want) != len(a.Content) {
			t.Errorf("%s: %d parts of %d blocks", f.name, len(a.Content), len(want))
			continue
		}
		var kept []string // without text of nothing but white space
		for i, raw := range want {
			if p := a.Content[i]; p.Kind == cairn.PartText && strings.TrimSpace(p.Text) == "" {
				left++
				continue
			}
			kept = append(kept, raw)
		}
		var sent []Message
		if err := json.Unmarshal([]byte(messages(t, user(cairn.Text("q")), assistant(a.Content...))), &sent); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, b := range sent[1].Content {
			got = append(got, string(b.Raw))
		}
		if diff := cmp.Diff(kept, got); diff != "" {
			t.Errorf("%s: %s", f.name, diff)
		}
	}
	if left == 0 {
		t.Error("no text of white space was left out: is the exception still needed?")
	}
}

// recorded are the blocks of an answer without white space; those of a stream,
// where there are no deltas for them: what the others become is in TestStreamBlocks.
func recorded(t *testing.T, f fixture) []string {
	t.Helper()
	var out []string
	if !f.stream {
		var doc struct{ Content []json.RawMessage }
		if err := json.Unmarshal(f.body, &doc); err != nil {
			t.Fatal(err)
		}
		for _, raw := range doc.Content {
			out = append(out, string(wire.Compact(raw)))
		}
		return out
	}
	var text, thinking, signature, input []string
	var cited [][]json.RawMessage
	for e, err := range wire.Events(bytes.NewReader(f.body)) {
		if err != nil {
			t.Fatal(err)
		}
		var v struct {
			Type         string
			Index        int
			ContentBlock json.RawMessage `json:"content_block"`
			Delta        struct {
				Type, Text, Thinking, Signature, Content string
				PartialJSON                              string `json:"partial_json"`
				Citation                                 json.RawMessage
			}
		}
		if err := json.Unmarshal(e.Data, &v); err != nil {
			t.Fatal(err)
		}
		switch v.Type {
		case "content_block_start":
			out = append(out, string(wire.Compact(v.ContentBlock)))
			text, thinking, signature, input = append(text, ""), append(thinking, ""), append(signature, ""), append(input, "")
			cited = append(cited, nil)
		case "content_block_delta":
			text[v.Index] += v.Delta.Text + v.Delta.Content
			thinking[v.Index] += v.Delta.Thinking
			signature[v.Index] += v.Delta.Signature
			input[v.Index] += v.Delta.PartialJSON
			if v.Delta.Citation != nil {
				cited[v.Index] = append(cited[v.Index], v.Delta.Citation)
			}
		case "message_stop":
			for i := range out {
				o, _ := parseObject([]byte(out[i]))
				set := func(key string, value any) {
					raw, err := wire.Encode(value)
					if err != nil {
						t.Fatal(err)
					}
					o.set(key, raw)
				}
				switch {
				case text[i] != "" && o.text("type") == "compaction":
					set("content", text[i])
				case text[i] != "":
					set("text", text[i])
				}
				if thinking[i] != "" {
					set("thinking", thinking[i])
				}
				if signature[i] != "" {
					set("signature", signature[i])
				}
				if input[i] != "" {
					o.set("input", json.RawMessage(input[i]))
				}
				if cited[i] != nil {
					set("citations", cited[i])
				}
				out[i] = string(o.encode())
			}
			return out
		}
	}
	return out
}

// TestFixturesCut: an answer that is cut anywhere is none.
func TestFixturesCut(t *testing.T) {
	t.Parallel()
	const most = 2 << 10 // longer ones are cut at fewer places
	for _, f := range fixtures(t) {
		whole, err := decode(f, f.body)
		if err != nil {
			continue
		}
		body := f.body
		if f.stream { // what follows the end of the message belongs to no answer
			stop := []byte(`{"type":"message_stop"}`)
			body = body[:bytes.Index(body, stop)+len(stop)+1]
		} else {
			body = bytes.TrimSpace(body)
		}
		for at := 0; at < len(body); at += 1 + len(body)/most*131 {
			a, err := decode(f, body[:at])
			fail, ok := errors.AsType[*model.Failure](err)
			if a != nil || !ok || fail.Err.Code != cairn.CodeCut || !fail.Err.Retryable || fail.Err.NotDone {
				t.Fatalf("%s, cut at %d of %d: %v, %v", f.name, at, len(body), a, err)
			}
		}
		a, err := decode(f, body)
		if diff := cmp.Diff(whole, a); err != nil || diff != "" {
			t.Errorf("%s, whole: %v %s", f.name, err, diff)
		}
	}
}
