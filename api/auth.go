package api

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"strings"

	"github.com/cairn-run/cairn"
)

// Identity is whom a request belongs to.
type Identity struct {
	Tenant    cairn.TenantID
	Principal cairn.Principal
}

// Auth says whom a bearer token belongs to; false: nobody. It must not take
// longer for a token that is nearly right.
type Auth func(ctx context.Context, token string) (Identity, bool)

// StaticTokens is the Auth of a fixed set of tokens. Only their hashes are kept.
func StaticTokens(tokens map[string]Identity) Auth {
	type entry struct {
		hash [sha256.Size]byte
		id   Identity
	}
	entries := make([]entry, 0, len(tokens))
	for token, id := range tokens {
		if token != "" {
			entries = append(entries, entry{sha256.Sum256([]byte(token)), id})
		}
	}
	return func(_ context.Context, token string) (Identity, bool) {
		hash := sha256.Sum256([]byte(token))
		var found Identity
		ok := false
		for _, e := range entries { // all of them, so that time tells nothing
			if subtle.ConstantTimeCompare(hash[:], e.hash[:]) == 1 {
				found, ok = e.id, true
			}
		}
		return found, ok
	}
}

type (
	identityKey struct{}
	socketKey   struct{}
)

// identity is whom the request belongs to; authenticate has put it there.
func identity(ctx context.Context) Identity {
	id, _ := ctx.Value(identityKey{}).(Identity)
	return id
}

// overSocket says that the request came over a unix socket.
func overSocket(ctx context.Context) bool { return ctx.Value(socketKey{}) != nil }

// open are the paths that need no token: probes have none.
func open(path string) bool { return path == "/v1/health" || path == "/v1/ready" }

// authenticate finds out whom the request belongs to.
func (a *API) authenticate(r *http.Request) (Identity, error) {
	header := r.Header.Get("Authorization")
	if header == "" && a.Socket != nil && overSocket(r.Context()) {
		return *a.Socket, nil
	}
	scheme, token, _ := strings.Cut(header, " ")
	if !strings.EqualFold(scheme, "Bearer") || token == "" {
		return Identity{}, cairn.Errorf(cairn.CodeAuth, "no token: set CAIRN_TOKEN, or send Authorization: Bearer TOKEN")
	}
	id, ok := a.Auth(r.Context(), strings.TrimSpace(token))
	if !ok || id.Tenant == "" {
		return Identity{}, cairn.Errorf(cairn.CodeAuth, "the token is not valid on this server: look at CAIRN_TOKEN, or at what is sent as Authorization: Bearer TOKEN")
	}
	return id, nil
}
