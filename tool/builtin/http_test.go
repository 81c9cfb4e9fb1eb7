package builtin_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/tool"
	"github.com/cairn-run/cairn/tool/builtin"
)

// client is an agent with the http tool.
type client struct {
	t       *testing.T
	driver  *builtin.Driver
	catalog *tool.Catalog
	agent   *cairn.Agent
}

func newClient(t *testing.T, network ...string) *client {
	t.Helper()
	c := &client{t: t, driver: builtin.New(builtin.Options{}), agent: &cairn.Agent{
		Name: "surfer", Model: "script/surfer", Tools: []cairn.ToolSource{{Builtin: []string{"http"}}},
		Environment: cairn.Environment{Network: network},
	}}
	t.Cleanup(func() {
		if err := c.driver.Close(); err != nil {
			t.Error(err)
		}
	})
	c.catalog = tool.New(tool.Options{Builtin: builtin.Tools(), Native: c.driver})
	return c
}

func (c *client) call(args object) (*cairn.ToolResult, error) {
	c.t.Helper()
	if err := c.agent.Validate(); err != nil {
		c.t.Fatal(err)
	}
	b, err := json.Marshal(args)
	if err != nil {
		c.t.Fatal(err)
	}
	spec := c.catalog.Static(c.agent)[0]
	check := c.catalog.Check(c.agent, []cairn.ToolSpec{spec}, cairn.SessionKey{Tenant: "acme", ID: "ses_1"}, "http", string(b))
	if check.Error != nil {
		c.t.Fatal(check.Error)
	}
	return c.catalog.Call(c.t.Context(), cairn.SessionKey{Tenant: "acme", ID: "ses_1"}, c.agent,
		&cairn.ToolEffect{Tool: "http", Args: check.Args, Class: spec.Class, Timeout: spec.Timeout, Key: "key-1"}, "eff_1", 1, tool.Watch{})
}

func (c *client) text(args object) (string, bool) {
	c.t.Helper()
	r, err := c.call(args)
	if err != nil {
		c.t.Fatalf("%v: %v", args, err)
	}
	return cairn.TextOf(r.Content), r.IsError
}

func serve(t *testing.T, h http.HandlerFunc) (base, host string) {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL, strings.TrimPrefix(s.URL, "http://")
}

func TestHTTP(t *testing.T) {
	t.Parallel()
	base, host := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/echo":
			fmt.Fprintf(w, "%s %s agent=%q x=%q auth=%q", r.Method, r.URL.RawQuery, r.UserAgent(), r.Header.Get("X-Thing"), r.Header.Get("Authorization"))
		case "/json":
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprint(w, `{"a":1}`)
		case "/html":
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			fmt.Fprint(w, `<html><head><title>no</title><script>alert("<p>")</script></head><body><h1 title="a>b">Big &amp; bold</h1><p>one<br>two</p><ul><li>x<li>y</ul></body></html>`)
		case "/latin":
			w.Header().Set("Content-Type", "text/plain; charset=iso-8859-1")
			_, _ = w.Write([]byte("caf\xe9"))
		case "/image":
			w.Header().Set("Content-Type", "image/png")
			_, _ = w.Write([]byte("\x89PNG\x00"))
		case "/big":
			w.Header().Set("Content-Type", "text/plain")
			for range 20 {
				_, _ = w.Write([]byte(strings.Repeat("y", 1<<20)))
			}
		case "/limit":
			w.Header().Set("Retry-After", "7")
			w.WriteHeader(http.StatusTooManyRequests)
		case "/down":
			w.WriteHeader(http.StatusServiceUnavailable)
			fmt.Fprint(w, "later")
		}
	})
	c := newClient(t, host)
	for _, test := range []struct {
		args    object
		want    string
		isError bool
	}{
		{object{"url": base + "/echo?q=1#frag", "headers": object{"x-thing": "v"}}, "HTTP 200 OK\nfrom " + base + "/echo?q=1\ncontent-type: text/plain; charset=utf-8\n\nGET q=1 agent=\"cairn\" x=\"v\" auth=\"\"", false},
		{object{"url": base + "/json"}, "HTTP 404 Not Found\ncontent-type: application/problem+json\n\n{\"a\":1}", true},
		{object{"url": base + "/html", "text": true}, "HTTP 200 OK\ncontent-type: text/html; charset=utf-8\nreduced to its text\n\nBig & bold\none\ntwo\n- x\n- y", false},
		{object{"url": base + "/latin"}, "HTTP 200 OK\ncontent-type: text/plain; charset=iso-8859-1\n\ncafé", false},
		{object{"url": base + "/image"}, "HTTP 200 OK\ncontent-type: image/png\nthe answer is no text: image/png, 5 bytes\n", false},
		{object{"url": base + "/down"}, "HTTP 503 Service Unavailable\ncontent-type: text/plain; charset=utf-8\n\nlater", true},
		{object{"url": base + "/echo", "method": "HEAD"}, "HTTP 200 OK\ncontent-type: text/plain; charset=utf-8\nthe answer has no content\n", false},
		{object{"url": base + "/echo", "method": "POST"}, "This agent may make only GET and HEAD requests. Whoever runs it can allow POST by declaring what a repeat would do: effects: {http: {class: idempotent}}, or irreversible.", true},
		{object{"url": base + "/echo", "body": "x"}, "A GET or HEAD request has no body.", true},
		{object{"url": base + "/echo", "headers": object{"authorization": "Bearer x"}}, "The header Authorization is not sent: credentials do not go through an agent's arguments; declare a tool for that service, with its credential.", true},
		{object{"url": base + "/echo", "headers": object{"Host": "x"}}, "The header Host is set by the runtime.", true},
		{object{"url": base + "/echo", "headers": object{"X": "a\r\nHost: b"}}, "\"X\" is not a header that can be sent.", true},
		{object{"url": "https://example.com/"}, "Not done: this agent may not reach example.com: only the hosts in environment.network of its definition (it lists " + host + ").", true},
		{object{"url": "ftp://" + host}, "Not done: only http and https URLs can be requested, not \"ftp\".", true},
		{object{"url": "http://user:pw@" + host}, "Not done: a URL with a user name or password is not requested.", true},
		{object{"url": "http://[::1"}, "The URL cannot be read.", true},
	} {
		if got, isError := c.text(test.args); got != test.want || isError != test.isError {
			t.Errorf("%v: error %v\n%s\nwant\n%s", test.args, isError, got, test.want)
		}
	}
	r, err := c.call(object{"url": base + "/big"})
	if err != nil || len(cairn.TextOf(r.Content)) > 66<<10 || !strings.Contains(cairn.TextOf(r.Content), "only the first 8Mi were read") || r.Truncated < 8<<20-66<<10 {
		t.Errorf("%v, %d", err, len(cairn.TextOf(r.Content)))
	}
	if _, err := c.call(object{"url": base + "/limit"}); cairn.CodeOf(err) != cairn.CodeRateLimited || cairn.AsError(err).RetryAfter != 7e9 || !cairn.AsError(err).NotDone {
		t.Error(err)
	}
}

// TestHTTPWrites: with a class, writes are made, with the key of the call; a redirect
// sends none of them twice, and a lost outcome is not taken for done or not done.
func TestHTTPWrites(t *testing.T) {
	t.Parallel()
	var posts atomic.Int64
	base, host := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			posts.Add(1)
		}
		switch r.URL.Path {
		case "/moved":
			http.Redirect(w, r, "/other", http.StatusTemporaryRedirect)
		case "/broken":
			w.WriteHeader(http.StatusBadGateway)
		default:
			body := make([]byte, 100)
			n, _ := r.Body.Read(body)
			fmt.Fprintf(w, "%s key=%s %s %s", r.Method, r.Header.Get("Idempotency-Key"), r.Header.Get("Content-Type"), body[:n])
		}
	})
	c := newClient(t, host)
	c.agent.Effects = map[string]*cairn.EffectDecl{"http": {Class: cairn.ClassIrreversible}}
	if got, _ := c.text(object{"url": base + "/x", "method": "POST", "json": object{"a": 1}}); !strings.HasSuffix(got, "POST key=key-1 application/json {\"a\":1}") {
		t.Error(got)
	}
	if got, _ := c.text(object{"url": base + "/x", "method": "PUT", "body": "b", "headers": object{"Content-Type": "text/csv"}}); !strings.HasSuffix(got, "PUT key=key-1 text/csv b") {
		t.Error(got)
	}
	posts.Store(0)
	if got, _ := c.text(object{"url": base + "/moved", "method": "POST", "body": "b"}); !strings.HasPrefix(got, "HTTP 307 Temporary Redirect\n") || posts.Load() != 1 {
		t.Error(got, posts.Load())
	}
	if _, err := c.call(object{"url": base + "/broken", "method": "POST"}); cairn.CodeOf(err) != cairn.CodeUnknown {
		t.Error(err)
	}
}

// TestHTTPRedirects: each hop is looked at like the first, and what was meant for one
// host is not sent to another.
func TestHTTPRedirects(t *testing.T) {
	t.Parallel()
	var seen atomic.Pointer[http.Header]
	otherBase, otherHost := serve(t, func(w http.ResponseWriter, r *http.Request) {
		h := r.Header.Clone()
		seen.Store(&h)
		fmt.Fprint(w, "other")
	})
	_, secretHost := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		seen.Store(&http.Header{"Secret": {"1"}})
		fmt.Fprint(w, "SECRET")
	})
	base, host := serve(t, func(w http.ResponseWriter, r *http.Request) {
		to := map[string]string{
			"/other": otherBase, "/secret": "http://" + secretHost, "/loop": "/loop",
			"/meta": "http://169.254.169.254/latest/meta-data/", "/file": "file:///etc/passwd", "/local": "http://localhost:1/",
		}[r.URL.Path]
		http.Redirect(w, r, to, http.StatusFound)
	})
	c := newClient(t, host, otherHost)
	got, isError := c.text(object{"url": base + "/other?token=1", "headers": object{"X-Api-Key": "k"}})
	if isError || !strings.HasSuffix(got, "other") {
		t.Error(got)
	}
	if h := seen.Load(); h == nil || h.Get("X-Api-Key") != "" || h.Get("Referer") != "" {
		t.Errorf("%v", h)
	}
	seen.Store(nil)
	for _, path := range []string{"/secret", "/loop", "/meta", "/file", "/local"} {
		got, isError := c.text(object{"url": base + path})
		if !isError || !strings.HasPrefix(got, "Not done: ") {
			t.Errorf("%s: %s", path, got)
		}
	}
	if seen.Load() != nil {
		t.Error("a host was reached that is not allowed")
	}
}

// TestHTTPAddresses: a name that leads to this machine or a private network is not
// followed, whatever it led to when it was looked at first.
func TestHTTPAddresses(t *testing.T) {
	t.Parallel()
	var hits atomic.Int64
	_, host := serve(t, func(w http.ResponseWriter, _ *http.Request) { hits.Add(1); fmt.Fprint(w, "SECRET") })
	_, port, err := net.SplitHostPort(host)
	if err != nil {
		t.Fatal(err)
	}
	var lookups atomic.Int64
	for name, answers := range map[string][][]string{
		"private":          {{"10.0.0.1"}},
		"loopback":         {{"127.0.0.1"}},
		"mapped":           {{"::ffff:127.0.0.1"}},
		"all of them":      {{"169.254.169.254", "fd00:ec2::254", "100.100.100.200", "0.0.0.0", "::1", "224.0.0.1"}},
		"rebinding":        {{"127.0.0.1"}, {"93.184.216.34"}},
		"nothing":          {{}},
		"embedded in v6":   {{"64:ff9b::7f00:1", "2002:7f00:1::", "::127.0.0.1"}},
		"and the metadata": {{"169.254.169.254"}},
	} {
		c := newClient(t, "evil.example:"+port, "*.evil.example:"+port, "localhost:1")
		lookups.Store(0)
		c.driver.Resolve(func(context.Context, string) ([]netip.Addr, error) {
			n := min(int(lookups.Add(1))-1, len(answers)-1)
			var all []netip.Addr
			for _, a := range answers[n] {
				all = append(all, netip.MustParseAddr(a))
			}
			return all, nil
		})
		for _, h := range []string{"evil.example", "a.evil.example"} {
			lookups.Store(0)
			got, isError := c.text(object{"url": "http://" + h + ":" + port + "/"})
			if !isError || !strings.HasPrefix(got, "Not done: "+h+" leads to no address of the public Internet") {
				t.Errorf("%s: %s", name, got)
			}
			if lookups.Load() != 1 {
				t.Errorf("%s: looked up %d times: the address that is dialled must be the one that was looked at", name, lookups.Load())
			}
		}
	}
	if hits.Load() != 0 {
		t.Errorf("reached %d times", hits.Load())
	}
	// What was typed is wanted.
	c := newClient(t, "localhost:"+port)
	c.driver.Resolve(func(context.Context, string) ([]netip.Addr, error) {
		return []netip.Addr{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("127.0.0.1")}, nil
	})
	if got, _ := c.text(object{"url": "http://LOCALHOST.:" + port + "/"}); !strings.HasSuffix(got, "SECRET") {
		t.Error(got)
	}
}

// TestHTTPNoProxy: the node's proxies are not the agents'.
func TestHTTPNoProxy(t *testing.T) {
	proxy, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "proxied") })
	t.Setenv("HTTP_PROXY", proxy)
	t.Setenv("http_proxy", proxy)
	c := newClient(t, "example.com")
	c.driver.Resolve(func(context.Context, string) ([]netip.Addr, error) {
		return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
	})
	if got, isError := c.text(object{"url": "http://example.com/"}); !isError || strings.Contains(got, "proxied") {
		t.Error(got)
	}
}

func TestAddresses(t *testing.T) {
	t.Parallel()
	for ip, want := range map[string]bool{
		"93.184.216.34": true, "8.8.8.8": true, "2606:2800:220:1::1": true, "64:ff9b::808:808": true, "::ffff:8.8.8.8": true,
		"0.0.0.0": false, "0.1.2.3": false, "10.1.2.3": false, "100.64.0.1": false, "100.100.100.200": false, "127.0.0.1": false, "127.1.2.3": false,
		"169.254.169.254": false, "172.16.0.1": false, "172.31.255.255": false, "192.0.0.192": false, "192.168.1.1": false, "198.18.0.1": false,
		"224.0.0.1": false, "240.0.0.1": false, "255.255.255.255": false, "192.0.2.1": false, "168.63.129.16": false,
		"::": false, "::1": false, "::7f00:1": false, "::ffff:127.0.0.1": false, "::ffff:0:127.0.0.1": false, "64:ff9b::7f00:1": false, "64:ff9b::a9fe:a9fe": false, "64:ff9b:1::1": false,
		"100::1": false, "2001::1": false, "2001:db8::1": false, "2002:7f00:1::": false, "fc00::1": false, "fd00:ec2::254": false, "fe80::1": false,
		"fec0::1": false, "ff02::1": false, "4000::1": false, "2606::1%eth0": false,
	} {
		if got := builtin.Public(netip.MustParseAddr(ip)); got != want {
			t.Errorf("%s: %v", ip, got)
		}
	}
}

func TestAllow(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		rule, url string
		want      bool
	}{
		{"api.example.com", "https://api.example.com/x", true},
		{"api.example.com", "http://API.Example.com./x", true},
		{"api.example.com", "https://api.example.com:443/", true},
		{"api.example.com", "https://api.example.com:8443/", false},
		{"api.example.com:8443", "https://api.example.com:8443/", true},
		{"api.example.com:8443", "https://api.example.com/", false},
		{"api.example.com", "https://api.example.com.evil.com/", false},
		{"api.example.com", "https://evil.com/api.example.com", false},
		{"api.example.com", "https://evilapi.example.com/", false},
		{"*.example.com", "https://a.b.example.com/", true},
		{"*.example.com", "https://example.com/", false},
		{"*.example.com", "https://.example.com/", false},
		{"*.example.com", "https://evilexample.com/", false},
		{"*.0.0.1", "http://127.0.0.1/", false},
		{"127.0.0.1:8080", "http://127.0.0.1:8080/", true},
		{"127.0.0.1:8080", "http://127.0.0.1:8081/", false},
		{"api.example.com", "https://api.example.com:0/", false},
		{"api.example.com", "https://api.example.com:99999/", false},
		{"api.example.com", "//api.example.com/", false},
	} {
		u, err := url.Parse(test.url)
		if err != nil {
			t.Fatal(err)
		}
		if err := builtin.Allowed([]string{test.rule}, u); (err == nil) != test.want {
			t.Errorf("%s by %s: %v", test.url, test.rule, err)
		}
	}
}

// FuzzAllow: what is let through is the host of the rule, by whatever spelling.
func FuzzAllow(f *testing.F) {
	for _, s := range []string{"https://api.example.com/", "https://api.example.com@evil.com/", "https://evil.com#@api.example.com", "https://api.example.com%2eevil.com/", "http://api.example.com:80/", "https://[::1]/", "https://api.example.com\\@evil.com"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		u, err := url.Parse(s)
		if err != nil || builtin.Allowed([]string{"api.example.com"}, u) != nil {
			return
		}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, u.String(), nil)
		if err != nil {
			return
		}
		if h := strings.ToLower(strings.TrimSuffix(req.URL.Hostname(), ".")); h != "api.example.com" {
			t.Fatalf("%q goes to %q", s, h)
		}
	})
}

// FuzzHTMLText: any page is reduced, in bounded time, to valid text without tags of
// scripts.
func FuzzHTMLText(f *testing.F) {
	for _, s := range []string{"<p>a</p>", "a < b", "<script>x</script>y", "<a href='", "<!-- x", strings.Repeat("<a \"", 1000), "&lt;script&gt;", "<<<>>>"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if got := builtin.HTMLText(s); len(got) > 4*len(s)+16 {
			t.Fatalf("%d bytes of %d", len(got), len(s))
		}
	})
}
