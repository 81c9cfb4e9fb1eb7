package builtin

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/cairn-run/cairn"
)

// special are blocks of addresses that are not, or not reliably, the public Internet:
// the IANA special-purpose address registries (RFC 6890) with what came later, and
// transition addresses that hide another one. Loopback, private, link-local,
// multicast and unspecified addresses are known to netip.
var special = prefixes(
	"0.0.0.0/8",        // this network, RFC 791
	"100.64.0.0/10",    // carrier-grade NAT, RFC 6598; 100.100.100.200 is Alibaba's metadata service
	"192.0.0.0/24",     // protocol assignments, RFC 6890
	"192.0.2.0/24",     // documentation, RFC 5737
	"192.88.99.0/24",   // 6to4 relays, RFC 7526
	"198.18.0.0/15",    // benchmarks, RFC 2544
	"198.51.100.0/24",  // documentation
	"203.0.113.0/24",   // documentation
	"240.0.0.0/4",      // reserved, and broadcast
	"168.63.129.16/32", // Azure's platform address
	"::/96",            // IPv4-compatible, RFC 4291
	"::ffff:0:0:0/96",  // IPv4-translated, RFC 2765
	"64:ff9b:1::/48",   // local NAT64, RFC 8215
	"100::/64",         // discard, RFC 6666
	"2001::/23",        // protocol assignments, Teredo (RFC 4380) and ORCHID among them
	"2001:db8::/32",    // documentation, RFC 3849
	"2002::/16",        // 6to4, RFC 3056: holds an IPv4 address
	"3fff::/20",        // documentation, RFC 9637
	"5f00::/16",        // segment routing, RFC 9602
	"fc00::/7",         // unique local, RFC 4193; fd00:ec2::254 is Amazon's metadata service
	"fec0::/10",        // site-local, RFC 3879
)

func prefixes(list ...string) []netip.Prefix {
	all := make([]netip.Prefix, len(list))
	for i, s := range list {
		all[i] = netip.MustParsePrefix(s)
	}
	return all
}

// nat64 holds an IPv4 address in its last four bytes (RFC 6052): networks without
// IPv4 reach the public Internet by it, so what counts is that address.
var nat64 = netip.MustParsePrefix("64:ff9b::/96")

// global is the block that public IPv6 addresses are assigned from (RFC 4291).
var global = netip.MustParsePrefix("2000::/3")

// public says whether an address is one of the public Internet.
func public(ip netip.Addr) bool {
	if ip.Zone() != "" {
		return false
	}
	ip = ip.Unmap()
	if ip.Is6() && nat64.Contains(ip) {
		b := ip.As16()
		ip = netip.AddrFrom4([4]byte(b[12:]))
	}
	if !ip.IsGlobalUnicast() || ip.IsPrivate() || ip.IsLoopback() || ip.IsLinkLocalUnicast() || ip.IsMulticast() || ip.IsUnspecified() {
		return false
	}
	if ip.Is6() && !global.Contains(ip) {
		return false
	}
	return !slices.ContainsFunc(special, func(p netip.Prefix) bool { return p.Contains(ip) })
}

// typeable says whether an address outside the public Internet may be reached because
// somebody wrote it down literally: this machine and private networks. Link-local
// addresses are not: metadata services are there, and they give out credentials.
func typeable(ip netip.Addr) bool {
	ip = ip.Unmap()
	return ip.Zone() == "" && (ip.IsLoopback() || ip.Is4() && ip.IsPrivate())
}

// destination is a place that a request may go to.
type destination struct {
	host, port string
	// literal are the addresses that may be dialled though they are not public: the
	// rule names them.
	literal func(netip.Addr) bool
}

// allow finds the rule of environment.network that lets a request to u through.
func allow(rules []string, u *url.URL) (destination, error) {
	var d destination
	refuse := func(format string, args ...any) (destination, error) {
		return d, &cairn.Error{Code: cairn.CodeDenied, Message: fmt.Sprintf(format, args...), NotDone: true}
	}
	switch u.Scheme {
	case "http":
		d.port = "80"
	case "https":
		d.port = "443"
	default:
		return refuse("only http and https URLs can be requested, not %.20q", u.Scheme)
	}
	if u.User != nil {
		return refuse("a URL with a user name or password is not requested")
	}
	if p := u.Port(); p != "" {
		n, err := strconv.ParseUint(p, 10, 16)
		if err != nil || n == 0 {
			return refuse("%.10q is not a port", p)
		}
		d.port = strconv.FormatUint(n, 10)
	}
	d.host = strings.ToLower(strings.TrimSuffix(u.Hostname(), "."))
	if d.host == "" || strings.ContainsAny(d.host, "%/\\ \t") {
		return refuse("the URL names no host")
	}
	for _, rule := range rules {
		name, port, _ := strings.Cut(strings.ToLower(rule), ":")
		if port == "" && d.port != "80" && d.port != "443" || port != "" && port != d.port {
			continue
		}
		if suffix, wild := strings.CutPrefix(name, "*"); wild { // suffix begins with the dot
			if _, err := netip.ParseAddr(d.host); err != nil && strings.HasSuffix(d.host, suffix) && len(d.host) > len(suffix) {
				return d, nil
			}
			continue
		}
		if name != d.host {
			continue
		}
		if ip, err := netip.ParseAddr(name); err == nil && typeable(ip) {
			d.literal = func(a netip.Addr) bool { return a.Unmap() == ip.Unmap() }
		} else if name == "localhost" {
			d.literal = netip.Addr.IsLoopback
		}
		return d, nil
	}
	at := d.host
	if d.port != "80" && d.port != "443" {
		at = net.JoinHostPort(d.host, d.port)
	}
	list := "it lists none"
	if len(rules) > 0 {
		list = "it lists " + strings.Join(rules[:min(len(rules), 20)], ", ")
	}
	return refuse("this agent may not reach %s: only the hosts in environment.network of its definition (%s)", at, list)
}

// maxAddresses bounds the addresses of a host that are tried.
const maxAddresses = 4

// dial connects to one of the addresses of a destination that may be reached. The
// address that was looked at is the one that is dialled, so that a name that changes
// its meaning in between gains nothing.
func (w *web) dial(ctx context.Context, d destination) (net.Conn, error) {
	var all []netip.Addr
	if ip, err := netip.ParseAddr(d.host); err == nil {
		all = []netip.Addr{ip}
	} else if all, err = w.resolve(ctx, d.host); err != nil {
		return nil, err
	}
	var last error
	tried := 0
	for _, ip := range all {
		if !public(ip) && (d.literal == nil || !d.literal(ip)) {
			continue
		}
		if tried++; tried > maxAddresses {
			break
		}
		conn, err := w.dialer.DialContext(ctx, "tcp", net.JoinHostPort(ip.Unmap().String(), d.port))
		if err == nil {
			return conn, nil
		}
		last = err
	}
	if last != nil {
		return nil, last
	}
	return nil, &cairn.Error{Code: cairn.CodeDenied, NotDone: true, Message: fmt.Sprintf(
		"%s leads to no address of the public Internet: private, local and metadata addresses are not reached (an address of this machine or a private network must stand in environment.network itself, such as 127.0.0.1:8080)", d.host)}
}
