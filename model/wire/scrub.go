package wire

import (
	"strings"

	"github.com/cairn-run/cairn"
)

// piece is how much of a credential in one piece gives something away, in bytes.
const piece = 8

// scrub takes the credential, and every piece of it, out of a message: providers
// quote the key they refuse. It looks at each place of the message once.
func scrub(e *cairn.Error, key cairn.Secret) *cairn.Error {
	k := key.Reveal()
	if k == "" {
		return e
	}
	if len(k) < piece {
		e.Message = strings.ReplaceAll(e.Message, k, cairn.Redacted)
		return e
	}
	pieces := make(map[string]bool, len(k))
	for i := 0; i+piece <= len(k); i++ {
		pieces[k[i:i+piece]] = true
	}
	m := e.Message
	var b strings.Builder
	end := 0 // what is before it belongs to the key or is written
	open := false
	for i := range len(m) {
		switch {
		case i+piece <= len(m) && pieces[m[i:i+piece]]:
			if !open || i >= end {
				b.WriteString(cairn.Redacted)
			}
			open, end = true, i+piece
		case i >= end:
			open = false
			b.WriteByte(m[i])
		}
	}
	e.Message = b.String()
	return e
}
