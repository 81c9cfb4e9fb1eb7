package google

import (
	"fmt"
	"mime"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/cairn-run/cairn"
)

// readable is a file that is text: it is sent as text, which every model takes,
// while of the types of text files each takes some
// (https://ai.google.dev/gemini-api/docs/file-input-methods).
func readable(p *cairn.Part) (string, bool) {
	kind, _, err := mime.ParseMediaType(p.MediaType)
	if err != nil || !utf8.Valid(p.Data) {
		return "", false
	}
	switch kind {
	case "application/json", "application/xml", "application/yaml", "application/x-yaml", "application/javascript",
		"application/x-javascript", "application/typescript", "application/x-sh", "application/sql", "application/toml":
		return string(p.Data), true
	}
	return string(p.Data), strings.HasPrefix(kind, "text/") || strings.HasSuffix(kind, "+json") || strings.HasSuffix(kind, "+xml")
}

// carried says whether a type can be inline data at all. Which formats of it a
// model takes is the provider's to say.
func carried(mediaType string) bool {
	kind, _, err := mime.ParseMediaType(mediaType)
	if err != nil {
		return false
	}
	major, _, _ := strings.Cut(kind, "/")
	switch major {
	case "image", "audio", "video":
		return true
	}
	return kind == "application/pdf"
}

// blobType is a media type in the words of the API: without parameters, and with
// the one name that an image of JPEG has.
func blobType(mediaType string) string {
	kind, _, err := mime.ParseMediaType(mediaType)
	if err != nil {
		return mediaType
	}
	if kind == "image/jpg" {
		return "image/jpeg"
	}
	return kind
}

// unseen stands where something is that the API does not take.
func unseen(p *cairn.Part) string {
	return fmt.Sprintf("(%s: %s, %d bytes, which cannot be shown here)", p.Kind, p.MediaType, len(p.Data))
}

func quote(s string) string { return strconv.QuoteToASCII(s[:min(len(s), 80)]) }
