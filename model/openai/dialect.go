package openai

import (
	"encoding/json"
	"net/url"
	"strings"

	"github.com/cairn-run/cairn"
)

// Dialect is what differs from one server of the wire to the other, and from one
// call to the other. The zero value is the plainest.
type Dialect struct {
	// Provider owns the parts of the history that go back in its own form.
	Provider string
	// Stream asks for a stream, with its usage at the end.
	Stream bool
	// Cap is, of chat, the member that carries the cap on the output: max_tokens
	// (the default) or max_completion_tokens.
	Cap string
	// Service pins the service tier.
	Service string
	// CacheKey brings calls with the same beginning to the same cache.
	CacheKey string
	// Stateless asks, of Responses, that nothing is stored and that reasoning
	// comes encrypted, so that it can be sent back.
	Stateless bool
	// Closed says that the server refuses members of a message that it does not
	// define, its own among them.
	Closed bool
	// ShortIDs says that the server takes call ids of nine letters and digits only.
	ShortIDs bool
	// Extra are members that are added to the request as they are.
	Extra json.RawMessage
}

// host is what is known of a server by its name.
type host struct {
	official, azure bool
	dialect         Dialect
}

// known tells by the URL which server it is. What it does not know is chat in its
// plainest form.
func known(base string) host {
	u, err := url.Parse(base)
	if err != nil {
		return host{}
	}
	name := strings.ToLower(u.Hostname())
	is := func(domain string) bool { return name == domain || strings.HasSuffix(name, "."+domain) }
	switch {
	case is("api.openai.com"):
		// "default" is pinned because "auto" takes what the project is set to, which
		// may be billed at other prices (service_tier in the API reference).
		return host{official: true, dialect: Dialect{Cap: capCompletion, Service: "default", Stateless: true}}
	case is("openai.azure.com"), is("services.ai.azure.com"), is("cognitiveservices.azure.com"):
		return host{azure: true, dialect: Dialect{Cap: capCompletion, Stateless: true}}
	case is("api.x.ai"):
		// https://docs.x.ai/docs/guides/reasoning: encrypted reasoning on request.
		return host{dialect: Dialect{Stateless: true}}
	case is("api.groq.com"):
		// It answers 400 "property 'reasoning' is unsupported", and the same for
		// reasoning_content: https://github.com/karthink/gptel/issues/774,
		// https://github.com/janhq/jan/issues/8136.
		return host{dialect: Dialect{Closed: true}}
	case is("api.mistral.ai"):
		// "must be a-z, A-Z, 0-9, with a length of 9":
		// https://github.com/mistralai/mistral-common, validator of tool calls.
		return host{dialect: Dialect{ShortIDs: true}}
	}
	return host{}
}

// Members of chat that cap the output. max_tokens is deprecated by OpenAI and not
// known to its reasoning models; the other servers know it and not always its
// successor.
const (
	capPlain      = "max_tokens"
	capCompletion = "max_completion_tokens"
)

// invalid is the error of a request that the wire cannot carry.
func invalid(why string) *cairn.Error {
	return &cairn.Error{Code: cairn.CodeInvalid, Message: why, NotDone: true}
}

// extend adds the members of d.Extra to a request.
func (d *Dialect) extend(body []byte) ([]byte, error) {
	if len(d.Extra) == 0 {
		return body, nil
	}
	extra, err := parseObject(d.Extra)
	if err != nil {
		return nil, invalid("the extra members of requests to " + d.Provider + " are not a JSON object")
	}
	o, err := parseObject(body)
	if err != nil {
		return nil, err
	}
	for _, m := range extra {
		o.Set(m.Name, m.Value)
	}
	return o.raw(), nil
}
