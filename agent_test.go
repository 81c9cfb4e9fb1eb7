package cairn_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairn-run/cairn"
)

func agent() *cairn.Agent {
	return &cairn.Agent{
		Name: "refunds", Model: "script/one", Fallback: []string{"other/two"},
		Tools: []cairn.ToolSource{
			{Builtin: []string{"plan"}},
			{HTTP: &cairn.HTTPTool{Name: "get", URL: "http://127.0.0.1/{id}"}},
			{MCP: &cairn.MCPServer{URL: "http://127.0.0.1/mcp"}, Allow: []string{"refunds_*"}},
			{Client: &cairn.ClientTool{Name: "ui"}},
		},
		Effects: map[string]*cairn.EffectDecl{"get": {Class: cairn.ClassRead}},
	}
}

// What is wrong with a definition is said with the field it is in.
func TestAgentValidate(t *testing.T) {
	t.Parallel()
	if err := agent().Validate(); err != nil {
		t.Fatal(err)
	}
	minus := -1
	for path, breaks := range map[string]func(*cairn.Agent){
		"name":                       func(a *cairn.Agent) { a.Name = "Refunds" },
		"name ":                      func(a *cairn.Agent) { a.Name = strings.Repeat("a", 64) },
		"name  ":                     func(a *cairn.Agent) { a.Name = "" },
		"model":                      func(a *cairn.Agent) { a.Model = "gpt" },
		"model ":                     func(a *cairn.Agent) { a.Model = "" },
		"fallback[0]":                func(a *cairn.Agent) { a.Fallback[0] = "two" },
		"tools":                      func(a *cairn.Agent) { a.Tools = make([]cairn.ToolSource, 513) },
		"tools[0]":                   func(a *cairn.Agent) { a.Tools[0] = cairn.ToolSource{} },
		"tools[0] ":                  func(a *cairn.Agent) { a.Tools[0].Client = &cairn.ClientTool{Name: "x"} },
		"tools[0].builtin[0]":        func(a *cairn.Agent) { a.Tools[0].Builtin[0] = "bahs" },
		"tools[1].http.name":         func(a *cairn.Agent) { a.Tools[1].HTTP.Name = "get it" },
		"tools[1].http.url":          func(a *cairn.Agent) { a.Tools[1].HTTP.URL = "" },
		"tools[1].http.input_schema": func(a *cairn.Agent) { a.Tools[1].HTTP.InputSchema = json.RawMessage(`{`) },
		"tools[1].allow":             func(a *cairn.Agent) { a.Tools[1].Allow = []string{"*"} },
		"tools[2].mcp":               func(a *cairn.Agent) { a.Tools[2].MCP.URL = "" },
		"tools[2].mcp ":              func(a *cairn.Agent) { a.Tools[2].MCP.Command = []string{"server"} },
		"tools[3].client.name":       func(a *cairn.Agent) { a.Tools[3].Client.Name = strings.Repeat("x", 65) },
		"effects.get":                func(a *cairn.Agent) { a.Effects["get"] = nil },
		"effects.get.class":          func(a *cairn.Agent) { a.Effects["get"].Class = "harmless" },
		"effects.get ":               func(a *cairn.Agent) { a.Effects["get"].Rate = -1 },
		"effects.get  ":              func(a *cairn.Agent) { a.Effects["get"].Retries = &minus },
		"effects.get.reconcile":      func(a *cairn.Agent) { a.Effects["get"].Reconcile = &cairn.Reconcile{Tool: "look"} },
		"policy.default":             func(a *cairn.Agent) { a.Policy.Default = "maybe" },
		"policy.approval.on_timeout": func(a *cairn.Agent) { a.Policy.Approval.OnTimeout = "shrug" },
		"budget.on_breach":           func(a *cairn.Agent) { a.Budget.OnBreach = "panic" },
		"budget":                     func(a *cairn.Agent) { a.Budget.Run = -1 },
		"limits":                     func(a *cairn.Agent) { a.Limits.Steps = -1 },
		"limits ":                    func(a *cairn.Agent) { a.Limits.Retries = &minus },
		"limits.parallel":            func(a *cairn.Agent) { a.Limits.Parallel = 513 },
		"params.max_output":          func(a *cairn.Agent) { a.Params.MaxOutput = -1 },
		"output.schema":              func(a *cairn.Agent) { a.Output = &cairn.Output{Schema: json.RawMessage(`{`)} },
		"output.schema ":             func(a *cairn.Agent) { a.Output = &cairn.Output{} },
		"output.retries":             func(a *cairn.Agent) { a.Output = &cairn.Output{Schema: json.RawMessage(`{}`), Retries: &minus} },
		"reflect.every":              func(a *cairn.Agent) { a.Reflect = &cairn.Reflect{} },
		"environment.image":          func(a *cairn.Agent) { a.Environment.Image = "/srv/debian" },
		"environment.image ":         func(a *cairn.Agent) { a.Environment.Image = "/srv/../etc" },
		"environment.network[1]":     func(a *cairn.Agent) { a.Environment.Network = []string{"*.example.com:443", "http://x"} },
		"environment.env":            func(a *cairn.Agent) { a.Environment.Env = map[string]string{"A-B": "1"} },
		"environment":                func(a *cairn.Agent) { a.Environment.CPU = -1 },
		"environment.memory":         func(a *cairn.Agent) { a.Environment.Memory = 1 << 20 },
		"skills[0].name":             func(a *cairn.Agent) { a.Skills = []cairn.Skill{{Name: "A", Description: "x"}} },
		"skills[1].name":             func(a *cairn.Agent) { a.Skills = []cairn.Skill{skill(), skill()} },
		"skills[0].description":      func(a *cairn.Agent) { a.Skills = []cairn.Skill{{Name: "a"}} },
		"skills[0].files":            func(a *cairn.Agent) { a.Skills = []cairn.Skill{{Name: "a", Description: "x"}} },
		"skills[0].files ": func(a *cairn.Agent) {
			a.Skills = []cairn.Skill{skill()}
			a.Skills[0].Files = append(a.Skills[0].Files, cairn.SkillFile{Path: "../../etc/passwd"})
		},
		"skills": func(a *cairn.Agent) {
			a.Skills = []cairn.Skill{skill()}
			a.Skills[0].Files[0].Content = make([]byte, cairn.MaxSkillBytes+1)
		},
		"on_exit[0].tool":      func(a *cairn.Agent) { a.OnExit = []cairn.Hook{{}} },
		"on_exit[0].arguments": func(a *cairn.Agent) { a.OnExit = []cairn.Hook{{Tool: "x", Arguments: json.RawMessage(`{`)}} },
		"on_exit[1].when":      func(a *cairn.Agent) { a.OnExit = []cairn.Hook{{Tool: "x", When: "always"}, {Tool: "x", When: "never"}} },
	} {
		a := agent()
		breaks(a)
		wrong, ok := errors.AsType[*cairn.FieldError](a.Validate())
		if !ok || wrong.Path != strings.TrimSpace(path) || wrong.Problem == "" {
			t.Errorf("%s: Validate says %v", path, wrong)
		}
	}
}

// The version of a definition is what it says, not how it is written.
func TestAgentDigest(t *testing.T) {
	t.Parallel()
	a := agent()
	b, err := json.MarshalIndent(a, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	var back cairn.Agent
	if err := json.Unmarshal(b, &back); err != nil {
		t.Fatal(err)
	}
	if a.Digest() != back.Digest() {
		t.Errorf("a definition that was stored has another version")
	}
	if diff := cmp.Diff(a, &back); diff != "" {
		t.Errorf("a definition that was stored differs (-written +read):\n%s", diff)
	}
	if back.Instructions = "Other."; a.Digest() == back.Digest() {
		t.Errorf("another definition has the same version")
	}
	// The digest of the smallest definition is recorded in histories: it stays.
	if got := (&cairn.Agent{Name: "a", Model: "script/one"}).Digest(); got != "sha256:503d6d3b9b1ca0ba9a4c23481f0bf25bbd3f21ba18aa7231776aa88568506e04" {
		t.Errorf("the version of the smallest definition is %s now", got)
	}
}

func TestEffectClasses(t *testing.T) {
	t.Parallel()
	for class, repeatable := range map[cairn.EffectClass]bool{
		cairn.ClassRead: true, cairn.ClassWorkspace: true, cairn.ClassIdempotent: true,
		cairn.ClassReversible: false, cairn.ClassIrreversible: false, "": false, "other": false,
	} {
		if class.Repeatable() != repeatable || class.Valid() != (class != "" && class != "other") {
			t.Errorf("%q: repeatable %t, valid %t", class, class.Repeatable(), class.Valid())
		}
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	cause := errors.New("the cause")
	e := cairn.Errorf(cairn.CodeTimeout, "no answer: %w", cause)
	if !errors.Is(e, cause) || cairn.CodeOf(fmt.Errorf("wrapped: %w", e)) != cairn.CodeTimeout || cairn.AsError(e) != e {
		t.Errorf("%v does not keep its code and cause", e)
	}
	if e := cairn.AsError(cause); e.Code != cairn.CodeInternal || strings.Contains(e.Message, "cause") || !errors.Is(e, cause) {
		t.Errorf("an error without a code becomes %+v", e)
	}
	if cairn.CodeOf(nil) != "" || cairn.AsError(nil) != nil || cairn.CodeOf(cause) != cairn.CodeInternal {
		t.Error("the codes of nil and of an error without one")
	}
	b, err := json.Marshal(e)
	if err != nil || strings.Contains(string(b), `"Err"`) {
		t.Errorf("it is written as %s, %v", b, err)
	}
}

func TestDuration(t *testing.T) {
	t.Parallel()
	for _, text := range []string{`"30m0s"`, `"1.5s"`, `"0s"`} {
		var d cairn.Duration
		if err := json.Unmarshal([]byte(text), &d); err != nil {
			t.Errorf("%s: %v", text, err)
		}
		if b, err := json.Marshal(d); err != nil || string(b) != text {
			t.Errorf("%s is written as %s, %v", text, b, err)
		}
	}
	for _, text := range []string{`"-1s"`, `"10"`, `10`, `"soon"`} {
		var d cairn.Duration
		if err := json.Unmarshal([]byte(text), &d); err == nil {
			t.Errorf("%s is read as %s", text, d)
		}
	}
}

// skill is a skill called a with nothing but its SKILL.md.
func skill() cairn.Skill {
	return cairn.Skill{Name: "a", Description: "Does it.", Files: []cairn.SkillFile{{Path: "SKILL.md", Content: []byte("How.")}}}
}
