package airline

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/model"
	"github.com/cairn-run/cairn/model/script"
)

// TestTheScriptSaysWhatWasRecorded lets the script model speak every trajectory.
func TestTheScriptSaysWhatWasRecorded(t *testing.T) {
	t.Parallel()
	_, all := load(t)
	dir := t.TempDir()
	for _, tr := range all {
		text, err := tr.ScriptFile()
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, tr.Name+".json"), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	driver := script.Open(dir)
	for _, tr := range all {
		request := &cairn.ModelRequest{
			Model: "script/" + tr.Name, Params: cairn.ModelParams{MaxOutput: 1 << 20},
			Messages: []cairn.Message{{Role: cairn.RoleUser, Content: []cairn.Part{cairn.Text(tr.Turns[0].Text)}}},
		}
		results := tr.Results
		for i, want := range tr.Replies {
			answer := ask(t, driver, request)
			got := Reply{Text: cairn.TextOf(answer.Content), Closing: want.Closing}
			next := cairn.Message{Role: cairn.RoleUser, Content: []cairn.Part{cairn.Text("…")}}
			for _, p := range answer.Content {
				if p.Kind == cairn.PartToolCall {
					got.Calls = append(got.Calls, Call{ID: p.CallID, Tool: p.Tool, Args: p.Args})
					if len(next.Content) > 0 && next.Role == cairn.RoleUser {
						next = cairn.Message{Role: cairn.RoleTool}
					}
					next.Content = append(next.Content, cairn.Part{Kind: cairn.PartToolResult, CallID: p.CallID, Text: results[0].Text})
					results = results[1:]
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("%s, reply %d: %s", tr.Name, i, diff)
			}
			request.Messages = append(request.Messages, cairn.Message{Role: cairn.RoleAssistant, Content: answer.Content}, next)
		}
	}
}

func ask(t *testing.T, d model.Driver, r *cairn.ModelRequest) *cairn.ModelAnswer {
	t.Helper()
	for chunk, err := range d.Call(t.Context(), model.Call{Attempt: 1, Request: r}) {
		if err != nil {
			t.Fatal(err)
		}
		if chunk.Answer != nil {
			return chunk.Answer
		}
	}
	t.Fatal("no answer")
	return nil
}

// TestRecordedArgumentsFitTheSchemas: a runtime that validates arguments lets
// every recorded call through.
func TestRecordedArgumentsFitTheSchemas(t *testing.T) {
	t.Parallel()
	db, all := load(t)
	schemas := map[string]*jsonschema.Schema{}
	for _, def := range db.tools {
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(def.Parameters))
		if err != nil {
			t.Fatal(err)
		}
		c := jsonschema.NewCompiler()
		if err := c.AddResource(def.Name, doc); err != nil {
			t.Fatal(err)
		}
		if schemas[def.Name], err = c.Compile(def.Name); err != nil {
			t.Fatal(err)
		}
	}
	for _, tr := range all {
		for _, r := range tr.Results {
			args, err := cairn.Canonical([]byte(r.Args))
			if err != nil {
				t.Errorf("%s, %s %s: %v", tr.Name, r.Tool, r.Args, err)
				continue
			}
			doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(args))
			if err == nil {
				err = schemas[r.Tool].Validate(doc)
			}
			if err != nil {
				t.Errorf("%s, %s %s: %v", tr.Name, r.Tool, r.Args, err)
			}
		}
	}
}
