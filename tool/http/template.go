package http

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/tool"
)

// address is the URL of a tool, cut where arguments are escaped differently.
type address struct {
	base  string // scheme and host: never from an argument, or a model could choose the host
	path  tool.Template
	query tool.Template
}

// parseAddress reads a URL with {arguments}.
func parseAddress(s string) (address, error) {
	var a address
	if strings.ContainsRune(s, '#') {
		return a, fmt.Errorf("%q has a fragment, which is never sent", s)
	}
	i := strings.Index(s, "://")
	if i < 0 {
		return a, fmt.Errorf("%q is not a URL: write it like https://api.example.com/refunds/{charge_id}", s)
	}
	rest := s[i+3:]
	host, tail := rest, ""
	if end := strings.IndexAny(rest, "/?"); end >= 0 {
		host, tail = rest[:end], rest[end:]
	}
	a.base = s[:i+3] + host
	u, err := url.Parse(a.base)
	switch {
	case err != nil || strings.ContainsAny(a.base, "{}"):
		return a, fmt.Errorf("%q: scheme and host must stand as they are, without {arguments}", s)
	case u.Scheme != "http" && u.Scheme != "https":
		return a, fmt.Errorf("%q: the scheme must be http or https", s)
	case u.Hostname() == "":
		return a, fmt.Errorf("%q has no host", s)
	case u.User != nil:
		return a, fmt.Errorf("the URL holds a user name; put credentials into headers")
	}
	path, query, _ := strings.Cut(tail, "?")
	if path == "" {
		path = "/"
	}
	if a.path, err = tool.ParseTemplate(path); err != nil {
		return a, err
	}
	if a.query, err = tool.ParseTemplate(query); err != nil {
		return a, err
	}
	if _, err := url.Parse(a.base + strings.NewReplacer("{", "", "}", "").Replace(tail)); err != nil {
		return a, fmt.Errorf("%q is not a URL", s)
	}
	return a, nil
}

// names are the arguments that the URL takes.
func (a address) names() map[string]bool {
	names := map[string]bool{}
	for _, n := range append(a.path.Names(), a.query.Names()...) {
		names[n] = true
	}
	return names
}

// render puts arguments into the URL, escaped for where they stand. An argument
// that would lead to another path ("..") is refused.
func (a address) render(args map[string]any) (*url.URL, error) {
	path, err := a.path.Render(args, url.PathEscape)
	if err != nil {
		return nil, err
	}
	query, err := a.query.Render(args, url.QueryEscape)
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(a.base + path)
	if err != nil {
		return nil, fmt.Errorf("the URL with its arguments cannot be read")
	}
	if len(a.path.Names()) > 0 {
		for segment := range strings.SplitSeq(u.Path, "/") {
			if segment == "." || segment == ".." {
				return nil, fmt.Errorf("an argument leads to another path: %q", segment)
			}
		}
	}
	u.RawQuery = query
	return u, nil
}

// remaining are the arguments that the URL did not take; null ones are left out.
func (a address) remaining(args map[string]any) map[string]any {
	taken := a.names()
	rest := map[string]any{}
	for name, v := range args {
		if !taken[name] && v != nil {
			rest[name] = v
		}
	}
	return rest
}

// addQuery adds arguments to a query: an array of plain values repeats its name,
// objects and nested arrays are JSON.
func addQuery(u *url.URL, rest map[string]any) {
	if len(rest) == 0 {
		return
	}
	q := url.Values{}
	for name, v := range rest {
		list, ok := v.([]any)
		if !ok {
			list = []any{v}
		}
		for _, e := range list {
			q.Add(name, plain(e))
		}
	}
	if u.RawQuery != "" {
		u.RawQuery += "&"
	}
	u.RawQuery += q.Encode() // sorted: the same call is the same URL
}

// validate reports what is wrong with a tool, as a *cairn.FieldError.
func validate(t *cairn.HTTPTool) error {
	bad := func(field, format string, args ...any) error {
		return &cairn.FieldError{Path: "http." + field, Problem: fmt.Sprintf(format, args...)}
	}
	if _, err := parseAddress(t.URL); err != nil {
		return bad("url", "%v", err)
	}
	if !methods[method(t)] {
		return bad("method", "%q is not a method: use GET, HEAD, POST, PUT, PATCH or DELETE", t.Method)
	}
	for name, value := range t.Headers {
		if !validHeader(name, value) {
			return bad("headers."+name, "not a header: the name takes letters, digits and '-', the value one line")
		}
	}
	return nil
}
