package cairn_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/cairn-run/cairn"
)

func call(id string) cairn.Part {
	return cairn.Part{Kind: cairn.PartToolCall, CallID: id, Tool: "look", Args: "{}"}
}

func result(id string) cairn.Part {
	return cairn.Part{Kind: cairn.PartToolResult, CallID: id, Tool: "look", Text: "seen"}
}

func message(role cairn.Role, parts ...cairn.Part) cairn.Message {
	return cairn.Message{Role: role, Content: parts}
}

func TestModelRequestValidate(t *testing.T) {
	t.Parallel()
	hello := message(cairn.RoleUser, cairn.Text("Hello."))
	const user, assistant, tool = cairn.RoleUser, cairn.RoleAssistant, cairn.RoleTool
	for name, c := range map[string]struct {
		want     string // part of the error; empty: valid
		messages []cairn.Message
	}{
		"one message":       {"", []cairn.Message{hello}},
		"two in a row":      {"", []cairn.Message{hello, hello}},
		"calls and results": {"", []cairn.Message{hello, message(assistant, cairn.Text("I look."), call("a"), call("b")), message(tool, result("a"), result("b"))}},
		"ids that repeat":   {"", []cairn.Message{hello, message(assistant, call("a"), call("a")), message(tool, result("a"), result("a")), hello}},
		"opaque":            {"", []cairn.Message{hello, message(assistant, cairn.Part{Kind: cairn.PartOpaque, Provider: "p", Opaque: json.RawMessage(`1`)}), hello}},
		"image":             {"", []cairn.Message{message(user, cairn.Part{Kind: cairn.PartImage, MediaType: "image/png", Data: []byte{1}})}},

		"nothing":               {"no messages", nil},
		"empty message":         {"message 1 is empty", []cairn.Message{hello, message(user)}},
		"begins wrongly":        {"first message", []cairn.Message{message(assistant, cairn.Text("Hi.")), hello}},
		"ends wrongly":          {"last message", []cairn.Message{hello, message(assistant, cairn.Text("Hi."))}},
		"unanswered":            {"unanswered", []cairn.Message{hello, message(assistant, call("a")), hello}},
		"unanswered at the end": {"last message", []cairn.Message{hello, message(assistant, call("a"))}},
		"one result of two":     {"1 results for 2 calls", []cairn.Message{hello, message(assistant, call("a"), call("b")), message(tool, result("a"))}},
		"wrong order":           {`answers "b" instead of "a"`, []cairn.Message{hello, message(assistant, call("a"), call("b")), message(tool, result("b"), result("a"))}},
		"result of nothing":     {"1 results for 0 calls", []cairn.Message{hello, message(tool, result("a"))}},
		"results twice":         {"1 results for 0 calls", []cairn.Message{hello, message(assistant, call("a")), message(tool, result("a")), message(tool, result("a"))}},
		"text as a result":      {"message 2, part 0", []cairn.Message{hello, message(assistant, call("a")), message(tool, cairn.Text("seen"))}},
		"a user calls":          {"cannot call tools", []cairn.Message{message(user, call("a"))}},
		"a user has results":    {"outside a tool message", []cairn.Message{message(user, result("a"))}},
		"a user is opaque":      {"from a user", []cairn.Message{message(user, cairn.Part{Kind: cairn.PartOpaque})}},
		"a user reasons":        {"from a user", []cairn.Message{message(user, cairn.Part{Kind: cairn.PartReasoning, Text: "hm"})}},
		"unknown kind":          {`kind "smell"`, []cairn.Message{message(user, cairn.Part{Kind: "smell"})}},
	} {
		r := cairn.ModelRequest{Model: "script/one", Messages: c.messages, Params: cairn.ModelParams{MaxOutput: 1}}
		err := r.Validate()
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v; want %q", name, err, c.want)
		}
	}
	r := cairn.ModelRequest{Messages: []cairn.Message{hello}}
	if err := r.Validate(); err == nil || !strings.Contains(err.Error(), "no cap") {
		t.Errorf("without a cap: %v", err)
	}
}

func TestTextOf(t *testing.T) {
	t.Parallel()
	parts := []cairn.Part{cairn.Text("a"), call("x"), cairn.Text("b"), {Kind: cairn.PartReasoning, Text: "no"}}
	if got := cairn.TextOf(parts); got != "ab" {
		t.Errorf("the text is %q", got)
	}
	if cairn.TextOf(nil) != "" || cairn.TextOf(parts[:1]) != "a" {
		t.Error("the text of nothing, and of one part")
	}
}

func TestDecisionStatus(t *testing.T) {
	t.Parallel()
	for verb, want := range map[cairn.AskVerb]cairn.AskStatus{
		cairn.VerbApprove: cairn.AskApproved, cairn.VerbEdit: cairn.AskEdited, cairn.VerbAnswer: cairn.AskAnswered,
		cairn.VerbReject: cairn.AskRejected, "": cairn.AskRejected, "shrug": cairn.AskRejected,
	} {
		if got := (cairn.Decision{Verb: verb}).Status(); got != want {
			t.Errorf("%q leads to %s, not %s", verb, got, want)
		}
	}
}
