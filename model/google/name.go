package google

import (
	"net/url"
	"strings"

	"github.com/cairn-run/cairn"
)

// path is where a model is called, below the base URL. A name with a slash, such
// as Vertex AI's "publishers/google/models/gemini-3-pro" or a "tunedModels/x", is
// a path already.
func path(name, method string) (string, error) {
	segments := strings.Split(name, "/")
	for i, s := range segments {
		if s == "" || s == "." || s == ".." {
			return "", &cairn.Error{Code: cairn.CodeInvalid, Message: "model name " + name + " is not one", NotDone: true}
		}
		// A colon would begin the method.
		segments[i] = strings.ReplaceAll(url.PathEscape(s), ":", "%3A")
	}
	p := "/" + strings.Join(segments, "/")
	if len(segments) == 1 {
		p = "/models" + p
	}
	return p + ":" + method, nil
}

// latest is the generation of the aliases that name none ("gemini-flash-latest").
const latest = 3

// generation reads which Gemini a name means, 3 for "gemini-3.1-pro-preview"; 0: it
// is not one.
func generation(name string) int {
	name = name[strings.LastIndexByte(name, '/')+1:]
	rest, ok := strings.CutPrefix(name, "gemini-")
	if !ok {
		return 0
	}
	n := 0
	for i := 0; i < len(rest) && i < 4 && rest[i] >= '0' && rest[i] <= '9'; i++ {
		n = n*10 + int(rest[i]-'0')
	}
	if n == 0 && strings.HasSuffix(name, "-latest") {
		return latest
	}
	return n
}

// maxFunction is the longest name of a function.
const maxFunction = 64

// function is a name that the API takes in a history: letters, digits, "_", "-", "."
// and ":", and no digit at its beginning
// (https://ai.google.dev/api/caching#FunctionDeclaration). Other models call tools
// that cannot be.
func function(name string) string {
	b := []byte(name)
	for i, c := range b {
		if c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' {
			continue
		}
		if i == 0 || (c < '0' || c > '9') && c != '-' && c != '.' && c != ':' {
			b[i] = '_'
		}
	}
	if len(b) == 0 {
		return "_"
	}
	return string(b[:min(len(b), maxFunction)])
}
