// Package blob keeps immutable bytes by the hash of their content, apart for
// each tenant. It holds the payloads that are too large for the journal.
//
// [Store] is what the rest of the runtime uses: it bounds sizes, makes digests
// and checks them. [Driver] is what a place to keep bytes has to do; package
// blobtest is its conformance suite.
package blob

import (
	"context"
	"errors"
	"fmt"

	"github.com/cairn-run/cairn"
)

// Errors of a store, to be found with errors.Is. What a [Store] returns is a
// *[cairn.Error] around them, with the code that is named here.
var (
	// ErrNotFound: no blob of this tenant has this digest (CodeNotFound).
	ErrNotFound = errors.New("blob: not found")
	// ErrTooLarge: the bytes are over the limit; nothing was written (CodeInvalid).
	ErrTooLarge = errors.New("blob: too large")
	// ErrFull: no space. Nothing was written; reads go on, and a later Put succeeds
	// when there is space (CodeFull).
	ErrFull = errors.New("blob: storage is full")
	// ErrCorrupt: what is kept no longer has its hash (CodeInternal). Putting the
	// same bytes again repairs it.
	ErrCorrupt = errors.New("blob: stored bytes do not match their digest")
	// ErrDigest: not "sha256:" and 64 lower-case hexadecimal digits (CodeInvalid).
	ErrDigest = errors.New("blob: malformed digest")
)

// DefaultMaxSize is the largest blob, in bytes, unless [Options] say otherwise.
const DefaultMaxSize = 64 << 20

// Driver is a place to keep bytes. It is given digests that are well formed and
// bytes that have them. Its errors wrap [ErrNotFound] and [ErrFull].
type Driver interface {
	// Put stores b, durably when it returns nil. Putting what is there already is
	// not an error, and replaces it if it went bad. The driver does not keep b.
	Put(ctx context.Context, t cairn.TenantID, d cairn.Digest, b []byte) error
	// Get returns what was stored, as a slice of the caller's own, and refuses with
	// [ErrTooLarge] what is longer than max bytes.
	Get(ctx context.Context, t cairn.TenantID, d cairn.Digest, max int64) ([]byte, error)
}

// Options of a store; the zero value works.
type Options struct {
	// MaxSize is the largest blob in bytes; default [DefaultMaxSize].
	MaxSize int64
}

// Store keeps blobs of any number of tenants. Its methods may be called at once
// from anywhere.
type Store struct {
	driver Driver
	max    int64
}

// New returns a store over a driver.
func New(d Driver, o Options) *Store {
	if o.MaxSize <= 0 {
		o.MaxSize = DefaultMaxSize
	}
	return &Store{driver: d, max: o.MaxSize}
}

// Put stores b durably and returns its digest. The same bytes may be put any
// number of times. Errors: [ErrTooLarge], [ErrFull], the driver's.
func (s *Store) Put(ctx context.Context, t cairn.TenantID, b []byte) (cairn.Digest, error) {
	if int64(len(b)) > s.max {
		return "", &cairn.Error{
			Code:    cairn.CodeInvalid,
			Message: fmt.Sprintf("a payload of %d bytes is over the limit of %d", len(b), s.max),
			Err:     ErrTooLarge,
		}
	}
	if err := ctx.Err(); err != nil {
		return "", err
	}
	d := cairn.DigestOf(b)
	if err := s.driver.Put(ctx, t, d, b); err != nil {
		return "", typed("put", d, err)
	}
	return d, nil
}

// Get returns the bytes with this digest, which it checks. Errors:
// [ErrNotFound], [ErrCorrupt], [ErrDigest], the driver's.
func (s *Store) Get(ctx context.Context, t cairn.TenantID, d cairn.Digest) ([]byte, error) {
	if err := CheckDigest(d); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	b, err := s.driver.Get(ctx, t, d, s.max)
	if err != nil {
		return nil, typed("get", d, err)
	}
	if cairn.DigestOf(b) != d {
		return nil, typed("get", d, ErrCorrupt)
	}
	return b, nil
}

// typed gives an error its code. Cancellations stay what they are.
func typed(op string, d cairn.Digest, err error) error {
	e := &cairn.Error{Code: cairn.CodeInternal, Err: err}
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.Is(err, ErrNotFound):
		e.Code, e.Message = cairn.CodeNotFound, fmt.Sprintf("no payload %s", d)
	case errors.Is(err, ErrFull):
		e.Code, e.Message = cairn.CodeFull, "no space for a payload: free some, then try again"
	case errors.Is(err, ErrTooLarge):
		e.Code, e.Message = cairn.CodeInvalid, fmt.Sprintf("payload %s is over the size limit", d)
	case errors.Is(err, ErrCorrupt):
		e.Message = fmt.Sprintf("payload %s is damaged: restore it from a backup", d)
	default:
		e.Message = fmt.Sprintf("could not %s payload %s", op, d)
	}
	return e
}

const (
	digestPrefix = "sha256:"
	digestLen    = len(digestPrefix) + 64
)

// CheckDigest says whether d has the form of a digest; if not, the error wraps
// [ErrDigest]. Digests come from outside and become names of files.
func CheckDigest(d cairn.Digest) error {
	ok := len(d) == digestLen && d[:len(digestPrefix)] == digestPrefix
	for i := len(digestPrefix); ok && i < len(d); i++ {
		ok = d[i] >= '0' && d[i] <= '9' || d[i] >= 'a' && d[i] <= 'f'
	}
	if !ok {
		return &cairn.Error{
			Code:    cairn.CodeInvalid,
			Message: `not a digest: write "sha256:" and 64 hexadecimal digits`,
			Err:     ErrDigest,
		}
	}
	return nil
}

// Hex returns the 64 digits of a well-formed digest.
func Hex(d cairn.Digest) string { return string(d[len(digestPrefix):]) }
