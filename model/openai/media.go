package openai

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"mime"
	"net/http"
	"strings"

	"github.com/cairn-run/cairn"
)

// dataURL puts a file into a URL (RFC 2397).
func dataURL(mediaType string, data []byte) string {
	if kind, _, err := mime.ParseMediaType(mediaType); err == nil {
		mediaType = kind
	}
	return "data:" + mediaType + ";base64," + base64.StdEncoding.EncodeToString(data)
}

// fromDataURL reads what dataURL wrote; false: it is another URL.
func fromDataURL(s string) (mediaType string, data []byte, ok bool) {
	s, ok = strings.CutPrefix(s, "data:")
	if !ok {
		return "", nil, false
	}
	head, body, ok := strings.Cut(s, ",")
	if !ok {
		return "", nil, false
	}
	head, ok = strings.CutSuffix(head, ";base64")
	if !ok {
		return "", nil, false
	}
	data, err := base64.StdEncoding.DecodeString(body)
	if err != nil {
		return "", nil, false
	}
	return head, data, true
}

// imageType tells the media type of an image by its first bytes.
func imageType(data []byte) string {
	if t := http.DetectContentType(data); strings.HasPrefix(t, "image/") {
		return t
	}
	return "image/png"
}

// carrier is how a part with data travels.
type carrier int

const (
	carriesImage carrier = iota
	carriesPDF
	carriesAudio
	carriesText
	carriesNothing
)

// carry says how a part with data travels. Text goes as text: models read it, and
// no server needs to know the file's type.
func carry(p *cairn.Part) carrier {
	kind, _, err := mime.ParseMediaType(p.MediaType)
	switch {
	case err != nil || len(p.Data) == 0:
		return carriesNothing
	case strings.HasPrefix(kind, "image/") && kind != "image/svg+xml":
		return carriesImage
	case kind == "application/pdf":
		return carriesPDF
	case kind == "audio/wav", kind == "audio/x-wav", kind == "audio/mpeg", kind == "audio/mp3":
		return carriesAudio
	case strings.HasPrefix(kind, "text/"), strings.HasSuffix(kind, "json"), strings.HasSuffix(kind, "xml"),
		strings.HasSuffix(kind, "yaml"), kind == "application/toml", kind == "application/javascript":
		return carriesText
	}
	return carriesNothing
}

// shows says whether what a tool gave can go to a model that may not take it: of
// images all take these (https://platform.openai.com/docs/guides/images-vision), and
// sound is for models that are made for it.
func shows(p *cairn.Part) bool {
	kind, _, _ := mime.ParseMediaType(p.MediaType)
	switch carry(p) {
	case carriesImage:
		return kind == "image/png" || kind == "image/jpeg" || kind == "image/jpg" || kind == "image/webp" || kind == "image/gif"
	case carriesAudio:
		return false
	}
	return true
}

// unseen stands where a tool's result, or an answer, holds what the wire cannot
// carry. It is no reason to refuse every later request of the session.
func unseen(p *cairn.Part) string {
	return fmt.Sprintf("(%s: %s, %d bytes, which cannot be shown here)", p.Kind, p.MediaType, len(p.Data))
}

// fileText is a text file as part of a prompt.
func fileText(p *cairn.Part) string {
	body := strings.ToValidUTF8(string(bytes.TrimPrefix(p.Data, []byte("\xef\xbb\xbf"))), "\uFFFD")
	return fmt.Sprintf("[file, %s]\n%s", p.MediaType, body)
}

// fileName is the name a PDF travels under; the wire asks for one.
const fileName = "file.pdf"

// cannotCarry is the error of a part that no form of the wire takes.
func cannotCarry(provider, apiName string, p *cairn.Part) *cairn.Error {
	what := p.MediaType
	if what == "" {
		what = string(p.Kind)
	}
	if len(p.Data) == 0 && (p.Kind == cairn.PartImage || p.Kind == cairn.PartFile) {
		what += " without data"
	}
	return invalid(fmt.Sprintf("the %s wire of %s cannot carry %s", apiName, provider, what))
}
