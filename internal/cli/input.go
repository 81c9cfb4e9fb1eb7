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

// untilSignal does what waits for a file, a pipe or a terminal, unless a signal
// ends the command: a read cannot be stopped, so it is left behind, and ends with
// the process.
func untilSignal[T any](a *app, read func() (T, error)) (T, error) {
	type result struct {
		got T
		err error
	}
	done := make(chan result, 1)
	go func() {
		got, err := read()
		done <- result{got, err}
	}()
	select {
	case r := <-done:
		return r.got, r.err
	case <-a.Signals:
		var none T
		return none, &exit{ExitTemporary, errors.New("interrupted: nothing was begun")}
	}
}

// content is a message: what --input says, and the files that go with it.
func (a *app) content(input string, files []string, quiet bool) (v1.Content, error) {
	return untilSignal(a, func() (v1.Content, error) { return a.readContent(input, files, quiet) })
}

func (a *app) readContent(input string, files []string, quiet bool) (v1.Content, error) {
	text, err := a.readInput(input, quiet)
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
func (a *app) readInput(arg string, quiet bool) (string, error) {
	var r io.Reader
	say := a.note
	if quiet {
		say = func(string, ...any) {}
	}
	switch arg {
	case "":
		return "", usage(errors.New("what should the agent do? give --input TEXT, --input FILE or --input -"))
	case "-":
		r = a.Stdin
	default:
		info, err := os.Stat(arg)
		if err != nil || !info.Mode().IsRegular() && info.Mode().Type() != os.ModeNamedPipe { // a shell's <(…) is a pipe
			return arg, nil
		}
		f, err := os.Open(arg)
		if err != nil {
			return "", err
		}
		defer func() { _ = f.Close() }() // it is only read
		if info.Mode().IsRegular() {
			say("input: the file %s, %s", arg, plural(int(info.Size()), "byte"))
		}
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
	if bytes.IndexByte(b, 0) >= 0 {
		return "", usage(errors.New("the input is not text: it holds NUL bytes; what the agent is to read as a file goes into a --workspace"))
	}
	if !utf8.Valid(b) {
		say("input: what is not UTF-8 in it is shown to the model as \uFFFD")
	}
	text := strings.TrimRight(strings.ToValidUTF8(string(b), "\uFFFD"), "\n")
	if strings.TrimSpace(text) == "" {
		return "", usage(errors.New("the input is empty"))
	}
	return text, nil
}
