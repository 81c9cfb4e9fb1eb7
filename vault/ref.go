package vault

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/cairn-run/cairn"
)

// Source says where a secret lies.
type Source string

// Sources of secrets.
const (
	Env     Source = "env"
	Keyring Source = "keyring"
	Age     Source = "age"
)

// Ref names a secret.
type Ref struct {
	Source Source
	// Place is the keyring's service, or the age file's path; of Env empty.
	Place string
	// Name is the variable, the keyring's user, or the entry of the age file.
	Name string
}

// maxRef bounds a reference, in bytes.
const maxRef = 4 << 10

// ParseRef reads a reference. CodeInvalid: it is none; what was given instead is
// not repeated, because it may be the secret itself.
func ParseRef(s string) (Ref, error) {
	source, rest, ok := strings.Cut(s, ":")
	r := Ref{Source: Source(source), Name: rest}
	if !ok || len(s) > maxRef || !printable(s) {
		return Ref{}, noRef("this is not a reference to a secret")
	}
	switch r.Source {
	case Env:
		if !isName(r.Name) {
			return Ref{}, noRef("env: is followed by the name of a variable, like env:OPENAI_API_KEY")
		}
	case Keyring:
		if r.Place, r.Name, ok = strings.Cut(rest, "/"); !ok || r.Place == "" || r.Name == "" {
			return Ref{}, noRef("keyring: is followed by a service and a user, like keyring:cairn/openai")
		}
	case Age:
		i := strings.LastIndexByte(rest, '#')
		if i <= 0 || !isName(rest[i+1:]) {
			return Ref{}, noRef("age: is followed by a file and the name of an entry, like age:keys.age#OPENAI_API_KEY")
		}
		r.Place, r.Name = rest[:i], rest[i+1:]
	default:
		return Ref{}, noRef("this is not a reference to a secret")
	}
	return r, nil
}

func noRef(what string) error {
	return &cairn.Error{
		Code: cairn.CodeInvalid, NotDone: true,
		Message: what + "; write env:NAME, keyring:SERVICE/USER or age:FILE#NAME, and never the secret itself",
	}
}

// String is the reference as it is written.
func (r Ref) String() string {
	switch r.Source {
	case Keyring:
		return "keyring:" + r.Place + "/" + r.Name
	case Age:
		return "age:" + r.Place + "#" + r.Name
	}
	return string(r.Source) + ":" + r.Name
}

// isName says whether s can name a variable or an entry.
func isName(s string) bool {
	for i, c := range s {
		letter := c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return s != "" && len(s) <= 256
}

func printable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}
