package script_test

import (
	"testing"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/model"
	"github.com/cairn-run/cairn/model/modeltest"
	"github.com/cairn-run/cairn/model/script"
)

func ask(model string, text string) *cairn.ModelRequest {
	return &cairn.ModelRequest{
		Model: model, System: "Be brief.",
		Messages: []cairn.Message{{Role: cairn.RoleUser, Content: []cairn.Part{cairn.Text(text)}}},
		Params:   cairn.ModelParams{MaxOutput: 1000},
	}
}

const conformance = `
window: 1000
max_output: 500
rates: {input: $1, output: $2}
stream: {chunk: 3}
cases:
  - when: {user: {equals: text}}
    reasoning: Thinking… of äöü.
    opaque: [{data: {signature: abc}}]
    text: Hello there, wörld.
  - when: {user: {equals: calls}}
    text: Two calls.
    calls: [{tool: one, args: {a: [1, {b: c}]}}, {tool: two}, {tool: three, args: ''}, {tool: four, args: '{"br'}]
  - when: {user: {equals: slow}}
    text: This takes a while.
    stream: {chunk: 4, every: 1000h}
  - {when: {user: {equals: limited}}, fail: [{code: rate_limited, retry_after: 3s}]}
  - {when: {user: {equals: overloaded}}, fail: [{code: overloaded}]}
  - {when: {user: {equals: auth}}, fail: [{code: auth}]}
  - {when: {user: {equals: refused}}, fail: [{code: refused, usage: {input: 10, output: 2, reasoning: 1}}]}
  - {when: {user: {equals: cut}}, text: This breaks off., fail: [{after_bytes: 5}]}
  - {when: {user: {equals: hang}}, fail: [{hang: 1ms}]}
`

func harness(t *testing.T, wrap func(model.Driver) model.Driver) modeltest.Harness {
	t.Helper()
	s, err := script.Parse("conformance.yaml", []byte(conformance))
	if err != nil {
		t.Fatal(err)
	}
	call := func(text string) model.Call {
		return model.Call{Key: "eff_1", Attempt: 1, Request: ask("script/conformance", text)}
	}
	long := make([]byte, 4001)
	for i := range long {
		long[i] = 'x'
	}
	return modeltest.Harness{
		Open: func(*testing.T) model.Driver {
			return wrap(script.New(map[string]*script.Script{"conformance": s}))
		},
		Text: call("text"), Calls: call("calls"), Slow: call("slow"), Unknown: "nobody",
		Failing: []modeltest.Failing{
			{Name: "rate limited", Call: call("limited"), Code: cairn.CodeRateLimited, Retryable: true, NotDone: true},
			{Name: "overloaded", Call: call("overloaded"), Code: cairn.CodeOverloaded, Retryable: true, NotDone: true},
			{Name: "auth", Call: call("auth"), Code: cairn.CodeAuth, NotDone: true},
			{Name: "refused", Call: call("refused"), Code: cairn.CodeRefused},
			{Name: "cut", Call: call("cut"), Code: cairn.CodeCut, Retryable: true},
			{Name: "hang", Call: call("hang"), Code: cairn.CodeTimeout, Retryable: true},
			{Name: "overflow", Call: call(string(long)), Code: cairn.CodeOverflow, NotDone: true},
			{Name: "no reply", Call: call("what?"), Code: cairn.CodeInvalid, NotDone: true},
			{
				Name: "no script", Code: cairn.CodeNotFound, NotDone: true,
				Call: model.Call{Attempt: 1, Request: ask("script/nobody", "text")},
			},
		},
	}
}

// Not parallel: the suite looks for goroutines that are left over.
func TestConformance(t *testing.T) {
	modeltest.Run(t, harness(t, func(d model.Driver) model.Driver { return d }))
}

// Not parallel, as above.
func TestConformanceGuarded(t *testing.T) {
	modeltest.Run(t, harness(t, func(d model.Driver) model.Driver { return model.Guard(d, model.GuardOptions{}) }))
}
