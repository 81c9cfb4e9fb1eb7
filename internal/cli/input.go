package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"github.com/cairn-run/cairn"
	v1 "github.com/cairn-run/cairn/api/v1"
)

const attachHelp = "picture, PDF or text file that goes with the input (repeatable)"

// maxAttached bounds what is attached to one message, in bytes: in base64, and with
// the text, it has to fit a request.
const maxAttached = 5 << 20

// content is a message: what --input says, and the files that go with it.
func (a *app) content(input string, files []string) (v1.Content, error) {
	text, err := a.readInput(input)
	if err != nil {
		return nil, err
	}
	content := v1.Text(text)
	left := int64(maxAttached)
	for _, name := range files {
		part, err := attachment(name, left)
		if err != nil {
			return nil, err
		}
		left -= int64(len(part.Data))
		content = append(content, part)
	}
	return content, nil
}

// attachment reads a file that goes with a message.
func attachment(name string, limit int64) (v1.Part, error) {
	f, err := os.Open(name)
	if err != nil {
		return v1.Part{}, usage(fmt.Errorf("--attach: %w", err))
	}
	defer func() { _ = f.Close() }() // it is only read
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	switch {
	case err != nil:
		return v1.Part{}, usage(fmt.Errorf("--attach: %w", err))
	case int64(len(data)) > limit:
		return v1.Part{}, usage(fmt.Errorf("--attach %s: more than %d bytes in all are attached", name, maxAttached))
	case len(data) == 0:
		return v1.Part{}, usage(fmt.Errorf("--attach %s: the file is empty", name))
	}
	kind, media := mediaOf(name, data)
	if kind == "" {
		return v1.Part{}, usage(fmt.Errorf("--attach %s: it is neither a picture (PNG, JPEG, GIF, WebP) nor a PDF nor text", name))
	}
	return v1.Part{Kind: kind, MediaType: media, Data: data}, nil
}

// mediaOf says what a file is by what is in it; its name only says which text it is.
func mediaOf(name string, data []byte) (cairn.PartKind, string) {
	switch media, _, _ := mime.ParseMediaType(http.DetectContentType(data)); media {
	case "image/png", "image/jpeg", "image/gif", "image/webp":
		return cairn.PartImage, media
	case "application/pdf":
		return cairn.PartFile, media
	}
	if !utf8.Valid(data) || bytes.IndexByte(data, 0) >= 0 {
		return "", ""
	}
	media, _, _ := mime.ParseMediaType(mime.TypeByExtension(filepath.Ext(name)))
	if !strings.HasPrefix(media, "text/") {
		media = "text/plain"
	}
	return cairn.PartFile, media
}

// maxInput bounds an input, in bytes: with its quoting it has to fit a request.
const maxInput = 4 << 20

// readInput reads what --input says: "-" is stdin, the name of a file its
// content, anything else is the text itself.
func (a *app) readInput(arg string) (string, error) {
	var r io.Reader
	switch arg {
	case "":
		return "", usage(errors.New("what should the agent do? give --input TEXT, --input FILE or --input -"))
	case "-":
		r = a.Stdin
	default:
		info, err := os.Stat(arg)
		if err != nil || !info.Mode().IsRegular() {
			return arg, nil
		}
		f, err := os.Open(arg)
		if err != nil {
			return "", err
		}
		defer func() { _ = f.Close() }() // it is only read
		a.note("input: the file %s, %s bytes", arg, count(info.Size()))
		r = f
	}
	b, err := io.ReadAll(io.LimitReader(r, maxInput+1))
	if err != nil {
		return "", fmt.Errorf("read the input: %w", err)
	}
	if len(b) > maxInput {
		return "", usage(fmt.Errorf("the input has more than %d bytes", maxInput))
	}
	if kind, media := mediaOf(arg, b); len(b) > 0 && kind == cairn.PartImage || media == "application/pdf" {
		return "", usage(fmt.Errorf("the input is %s: say with --input what to do with it, and give the file with --attach", media))
	}
	text := strings.TrimRight(strings.ToValidUTF8(string(b), "\uFFFD"), "\n")
	if strings.TrimSpace(text) == "" {
		return "", usage(errors.New("the input is empty"))
	}
	return text, nil
}
