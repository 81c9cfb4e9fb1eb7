package cairn

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
)

// Identifiers that clients see are ULIDs with a prefix, made at the edge.
// Everything inside a session is derived from (session, seq) by the engine, so
// that a history names the same things wherever it is folded.
type (
	// TenantID names the owner of everything; it is the first part of every key.
	TenantID string
	// SessionID names a session within a tenant ("ses_…").
	SessionID string
	// RunID names one activation of a session ("run_…").
	RunID string
	// EffectID names one intended effect ("eff_…"); it is the idempotency key of
	// every attempt at that effect.
	EffectID string
	// AskID names something a person or a client must answer ("ask_…").
	AskID string
	// Digest is "sha256:" and 64 hexadecimal digits.
	Digest string
	// Seq numbers the events of one session, densely, from 1.
	Seq uint64
)

// DefaultTenant is the tenant of a node that serves one.
const DefaultTenant TenantID = "default"

// SessionKey is the full name of a session.
type SessionKey struct {
	Tenant TenantID  `json:"tenant"`
	ID     SessionID `json:"id"`
}

// String returns "tenant/session".
func (k SessionKey) String() string { return string(k.Tenant) + "/" + string(k.ID) }

// Prefixes of identifiers.
const (
	prefixSession = "ses_"
	prefixRun     = "run_"
	prefixEffect  = "eff_"
	prefixAsk     = "ask_"
)

// NewSessionID makes a session id from a ULID made at the edge.
func NewSessionID(ulid string) SessionID { return SessionID(prefixSession + ulid) }

// crockford is the alphabet of ULIDs (https://github.com/ulid/spec).
const crockford = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

// derive hashes (prefix, session, seq) into 26 characters of a ULID's alphabet.
func derive(prefix string, s SessionID, n Seq) string {
	var buf [96]byte
	b := append(buf[:0], prefix...)
	b = append(b, s...)
	b = append(b, 0)
	b = binary.BigEndian.AppendUint64(b, uint64(n))
	sum := sha256.Sum256(b)
	out := make([]byte, len(prefix)+26)
	copy(out, prefix)
	hi, lo := binary.BigEndian.Uint64(sum[:8]), binary.BigEndian.Uint64(sum[8:16])
	for i := len(out) - 1; i >= len(prefix); i-- {
		out[i] = crockford[lo&31]
		lo = lo>>5 | hi<<59
		hi >>= 5
	}
	return string(out)
}

// RunIDAt is the id of the run that starts at n.
func RunIDAt(s SessionID, n Seq) RunID { return RunID(derive(prefixRun, s, n)) }

// EffectIDAt is the id of the effect whose intent was recorded at n.
func EffectIDAt(s SessionID, n Seq) EffectID { return EffectID(derive(prefixEffect, s, n)) }

// AskIDAt is the id of the ask that was opened at n.
func AskIDAt(s SessionID, n Seq) AskID { return AskID(derive(prefixAsk, s, n)) }

// DigestOf is the SHA-256 digest of b.
func DigestOf(b []byte) Digest { return Digest(fmt.Sprintf("sha256:%x", sha256.Sum256(b))) }
