package sqlite

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"slices"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/internal/failpoint"
	"github.com/cairn-run/cairn/journal"
)

// Draw implements [journal.Driver].
func (s *Store) Draw(ctx context.Context, d journal.Draw) error {
	budgets := slices.Clone(d.Budgets)
	slices.SortFunc(budgets, func(a, b cairn.SharedBudget) int { return cmp.Compare(a.ID, b.ID) })
	digest := drawDigest(budgets, d.Amount)
	failpoint.Hit(failpoint.DrawBefore)
	run := func(w *writer) error {
		tenant, err := w.tenant(d.Tenant, true)
		if err != nil {
			return err
		}
		n, err := w.drawAdd.exec(tenant, d.ID, digest)
		if err != nil {
			return err
		}
		if n == 0 {
			row, err := w.drawGet.one(tenant, d.ID)
			if err == nil && !bytes.Equal(blob(row[0]), digest) {
				err = fmt.Errorf("%w: draw %s", journal.ErrMismatch, d.ID)
			}
			return err
		}
		for _, b := range budgets {
			row, err := w.budgetGet.one(tenant, b.ID)
			if err != nil {
				return err
			}
			var drawn cairn.Money
			if row != nil {
				drawn = cairn.Money(integer(row[0]))
			}
			if d.Amount > 0 && d.Amount > b.Limit-drawn {
				return fmt.Errorf("%w: %s has %s of %s left, not %s", journal.ErrBudget, b.ID, max(b.Limit-drawn, 0), b.Limit, d.Amount)
			}
			// More is never given back than was drawn, so that a limit stays one.
			if _, err := w.budgetSet.exec(tenant, b.ID, int64(max(drawn+d.Amount, 0))); err != nil {
				return err
			}
		}
		return nil
	}
	j := &job{run: func(w *writer) error { return w.whole(func() error { return run(w) }) }}
	if err := s.do(ctx, j); err != nil {
		return err
	}
	failpoint.Hit(failpoint.DrawAfter)
	return nil
}

// drawDigest is the content of a draw: a second one with the same id is the same
// draw when it moves the same amount out of the same budgets.
func drawDigest(budgets []cairn.SharedBudget, amount cairn.Money) []byte {
	h := sha256.New()
	fmt.Fprintf(h, "%d\n", int64(amount))
	for _, b := range budgets {
		fmt.Fprintf(h, "%q\n", b.ID)
	}
	return h.Sum(nil)
}
