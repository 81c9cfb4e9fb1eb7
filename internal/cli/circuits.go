package cli

import (
	"context"
	"strings"

	"github.com/cairn-run/cairn"
)

// circuits lists the models that failed lately. What is known of them is in the
// memory of the process that calls them, and goes with it.
func (a *app) circuits(ctx context.Context, provider string) error {
	if a.fresh() {
		a.note("no model failed lately: nothing has run in %s", a.data)
		return nil
	}
	return a.with(ctx, func(ctx context.Context, l *link) error {
		if l.node != nil {
			return cairn.Errorf(cairn.CodeUnavailable, "nothing runs on %s, so there are no circuits: they are kept by cairn serve, or by a run", a.data)
		}
		ctx, cancel := context.WithTimeout(ctx, callTimeout)
		defer cancel()
		list, err := l.Circuits(ctx)
		if err != nil {
			return err
		}
		t := &table{head: []string{"MODEL", "CIRCUIT", "FAILURES", "UNTIL", "LAST"}, right: map[int]bool{2: true}}
		for _, c := range list.Circuits {
			if provider != "" && !strings.HasPrefix(c.Model, provider+"/") {
				continue
			}
			if a.json {
				if err := a.printJSON(c); err != nil {
					return err
				}
				continue
			}
			state, until := a.out.green(strings.ReplaceAll(word(c.State), "_", " ")), ""
			if c.State != "closed" {
				state = a.out.yellow(strings.ReplaceAll(word(c.State), "_", " "))
			}
			if !c.Until.IsZero() {
				until = c.Until.In(a.Location).Format("15:04:05")
			}
			t.add(oneLine(c.Model, 60), state, count(int64(c.Failures)), until, strings.ReplaceAll(word(c.Code), "_", " ")+": "+oneLine(c.Message, 80))
		}
		switch {
		case a.json:
		case len(t.rows) == 0:
			a.note("no model failed lately")
		default:
			t.print(a.Stdout, a.out)
		}
		return nil
	})
}
