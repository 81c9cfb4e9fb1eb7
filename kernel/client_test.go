package kernel_test

import (
	"slices"
	"testing"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/kernel"
)

// A client that was asked to make a call which must not be repeated, and did not
// report, may have made it: the call is unknown, never certainly not done.
func TestClientToolUnknown(t *testing.T) {
	for name, end := range map[string]func(*world, cairn.SessionKey, cairn.Ask){
		"expired": func(w *world, _ cairn.SessionKey, a cairn.Ask) {
			pass(a.Expires.Sub(a.Opened))
		},
		"cancelled": func(w *world, k cairn.SessionKey, _ cairn.Ask) {
			w.send(k, cairn.Control{Action: cairn.ControlCancel})
			pass(0)
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				ui := slices.IndexFunc(w.host.tools, func(s cairn.ToolSpec) bool { return s.Name == "ui" })
				w.host.tools[ui].Class = cairn.ClassIrreversible
				w.host.model = says(calls("ui", `{}`))
				w.node(kernel.Options{})
				k := w.start("Show it.", true)
				w.until(k, cairn.StatusWaiting)
				asked := w.ask(k)
				if asked.Kind != cairn.AskClientTool || asked.Expires.IsZero() {
					t.Fatalf("asked: %+v", asked)
				}
				end(w, k, asked)
				w.has(k, "tool_call.unknown")
				if w.count(k, cairn.ToolCallFailed{}.EventType()) != 0 {
					t.Errorf("the call is recorded as failed: %v", w.types(k))
				}
				if a := w.ask(k); a.Kind != cairn.AskUnknown {
					t.Errorf("open is %s, not the question what became of the call", a.Kind)
				}
			})
		})
	}
}
