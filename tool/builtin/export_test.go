package builtin

import (
	"context"
	"net/netip"
	"net/url"
	"strings"
)

// Screen makes text of output that comes in pieces, and of what is said meanwhile.
func Screen(pieces ...[]byte) (text, said string) {
	var all, told strings.Builder
	s := newScreen(func(t string) { all.WriteString(t) }, func(t string) { told.WriteString(t) })
	for _, p := range pieces {
		_, _ = s.Write(p)
	}
	s.Close()
	return all.String(), told.String()
}

// HeldLine bounds the line that a carriage return can take back.
const HeldLine = maxHeldLine

// Public says whether an address is one of the public Internet.
func Public(ip netip.Addr) bool { return public(ip) }

// Allowed says whether the rules let a request through.
func Allowed(rules []string, u *url.URL) error {
	_, err := allow(rules, u)
	return err
}

// HTMLText reduces a page to its text.
func HTMLText(page string) string { return htmlText(page) }

// Resolve gives the driver another resolver of names.
func (d *Driver) Resolve(f func(ctx context.Context, host string) ([]netip.Addr, error)) {
	d.web.resolve = f
}

// Live counts the instances that are alive.
func (d *Driver) Live() int { return len(d.slots) }

// LeftAlone ends what was left alone longest, as when a place is needed.
func (d *Driver) LeftAlone() { d.makeRoom() }
