package tool_test

import "testing"

func BenchmarkCheck(b *testing.B) {
	c, a := newCatalog(b), desk("https://api.example.com")
	tools := c.Static(a)
	for b.Loop() {
		if check := c.Check(a, tools, session, "refund", `{"charge_id":"ch_1","amount":5}`); check.Error != nil {
			b.Fatal(check.Error)
		}
	}
}
