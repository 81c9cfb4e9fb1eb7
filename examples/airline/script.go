package airline

import (
	"bytes"
	"encoding/json"
)

// ScriptFile is the trajectory as a file of the script model: the recorded
// replies in order, word for word, at the model's list prices. It is JSON, which
// the script model reads as YAML.
func (t *Trajectory) ScriptFile() ([]byte, error) {
	type call struct {
		ID   string `json:"id"`
		Tool string `json:"tool"`
		Args string `json:"args"`
	}
	type reply struct {
		Text     string `json:"text,omitempty"`
		Verbatim bool   `json:"verbatim"`
		Calls    []call `json:"calls,omitempty"`
	}
	type rates struct {
		Input  string `json:"input"`
		Output string `json:"output"`
	}
	script := struct {
		Model   string  `json:"model"`
		Rates   rates   `json:"rates"`
		Replies []reply `json:"replies"`
	}{Model: "gpt-4o", Rates: rates{Input: "$2.50", Output: "$10"}}
	for _, r := range t.Replies {
		out := reply{Text: r.Text, Verbatim: true}
		for _, c := range r.Calls {
			out.Calls = append(out.Calls, call(c))
		}
		script.Replies = append(script.Replies, out)
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err := e.Encode(script)
	return b.Bytes(), err
}
