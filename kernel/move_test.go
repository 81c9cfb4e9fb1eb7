package kernel_test

import (
	"testing"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/kernel"
)

// A move and a decision that wait for the next process together are taken in the
// order they came: what follows from the decision happens under the definition that
// was wanted by then. A decision about money closed its ask, so it is taken first.
func TestMovedAndDecidedWhileDown(t *testing.T) {
	cases := map[string]struct {
		budget  cairn.Money
		answers []cairn.ModelAnswer
		last    string // the model that was asked last
	}{
		"call":  {answers: []cairn.ModelAnswer{calls("pay", `{"amount":5}`), text("Paid.")}, last: "script/two"},
		"money": {budget: 1, answers: []cairn.ModelAnswer{text("Done.")}, last: "script/one"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, w *world) {
				w.host.model = says(c.answers...)
				w.askAboutPay()
				first := *w.agent
				first.Budget.Session = c.budget
				second := first
				second.Name, second.Model, second.Budget.Session = "b", "script/two", 0
				w.use(&second)
				w.use(&first)
				n := w.node(kernel.Options{})
				k := w.start("Pay.", false)
				w.until(k, cairn.StatusWaiting)
				_ = n.crash()
				w.send(k, cairn.Move{Agent: "b", Digest: second.Digest()})
				if err := w.decide(k, w.ask(k).ID, cairn.VerbApprove); err != nil {
					t.Fatal(err)
				}
				w.node(kernel.Options{})
				w.until(k, cairn.StatusIdle)
				last := ""
				for _, e := range w.history(k) {
					switch d := e.Data.(type) {
					case cairn.ModelRequested:
						last = d.Model
					case cairn.AskResolved:
						if d.Status != cairn.AskApproved {
							t.Errorf("the ask is %s in the history, and was approved", d.Status)
						}
					}
				}
				if last != c.last {
					t.Errorf("%s was asked last, not %s", last, c.last)
				}
				if w.count(k, "session.moved") != 1 {
					t.Error("the session was not moved")
				}
			})
		})
	}
}
