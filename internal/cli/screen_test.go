package cli

import (
	"strings"
	"testing"
)

// TestScreenFresh: a bar that stands on the terminal is erased before lines that
// have none below them.
func TestScreenFresh(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, before, fresh, want string }{
		{"gone", "busy", "", eraseLine + "busy" + eraseLine + "line\n"},
		{"other", "busy", "idle", eraseLine + "busy" + eraseLine + "line\nidle"},
		{"none", "", "idle", "line\n"},
	} {
		var b strings.Builder
		s := &screen{w: &b, live: true}
		s.status(c.before)
		s.fresh(c.fresh)
		s.lines("line")
		if b.String() != c.want {
			t.Errorf("%s: wrote %q, want %q", c.name, b.String(), c.want)
		}
	}
}
