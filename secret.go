package cairn

import (
	"encoding/json"
	"fmt"
	"unique"
)

// Secret is a credential in memory. However it is printed, logged or marshalled,
// it reads [redacted]; only Reveal gives it away. The value lies behind a handle,
// because fmt calls no method of an unexported field and would print what is in it.
type Secret struct{ value unique.Handle[string] }

// Redacted is what stands where a secret was.
const Redacted = "[redacted]"

// NewSecret wraps a credential.
func NewSecret(s string) Secret {
	if s == "" {
		return Secret{}
	}
	return Secret{unique.Make(s)}
}

// Reveal returns the credential: only for the request that it authenticates.
func (s Secret) Reveal() string {
	if s.Empty() {
		return ""
	}
	return s.value.Value()
}

// Empty says that there is no credential.
func (s Secret) Empty() bool { return s == Secret{} }

// String implements fmt.Stringer. A log/slog attribute reads the same.
func (s Secret) String() string { return Redacted }

// GoString implements fmt.GoStringer.
func (s Secret) GoString() string { return Redacted }

// Format implements fmt.Formatter, so that no verb reaches the value.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(Redacted)) }

// MarshalText implements encoding.TextMarshaler, which JSON, YAML and log/slog use.
func (s Secret) MarshalText() ([]byte, error) { return []byte(Redacted), nil }

var _ json.Marshaler = Secret{}

// MarshalJSON implements json.Marshaler.
func (s Secret) MarshalJSON() ([]byte, error) { return json.Marshal(Redacted) }
