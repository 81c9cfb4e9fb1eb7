// Package hand is the program that does file work inside a sandbox: it reads one
// request from its standard input, does it, and writes one response. It runs
// under the same lockdown as the commands of the agent, so that the kernel holds
// the boundary and no path of the agent's files is ever followed outside it.
//
// The program is the cairn binary itself, shown inside the sandbox under the name
// "hand": [init] sees the name and never returns. The package imports little of
// the standard library and nothing else, so that it is ready before the others
// are initialised.
//
// For sandboxes without a boundary the same code runs in process, confined to a
// directory by [os.Root].
package hand

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"runtime/debug"
)

// Name is the base name of argv[0] that makes a binary with this package a hand.
const Name = "hand"

// Bounds of one exchange, in bytes.
const (
	// MaxRequest bounds the request line: the arguments of a call are at most 4 MiB,
	// and quoting may make them longer.
	MaxRequest = 8 << 20
	// MaxResponse bounds the response: the text has its own, smaller bound.
	MaxResponse = 4 << 20
	// maxText bounds the text of a response.
	maxText = 1 << 20
)

// Operations.
const (
	OpRead   = "read"
	OpList   = "list"
	OpSearch = "search"
	OpWrite  = "write"
	OpEdit   = "edit"
	// OpSpill keeps what follows the request line on the input in a new file.
	OpSpill = "spill"
	// OpReserve makes a new empty file.
	OpReserve = "reserve"
)

// Request is what is asked. On the input it is one line of JSON.
type Request struct {
	Op   string          `json:"op"`
	Args json.RawMessage `json:"args"` // as the model wrote them
	// Dir is what relative paths begin with; default /workspace.
	Dir string `json:"dir,omitzero"`
	// Shell is where a shell would look for relative paths: named when a file is there
	// and not below Dir.
	Shell string `json:"shell,omitzero"`
	// Max is about how many bytes the text of the response may have; default 96 KiB.
	Max int `json:"max,omitzero"`
	// Seconds bound a search or a list; default 20.
	Seconds int `json:"seconds,omitzero"`
}

// Response is what came of it.
type Response struct {
	Text string `json:"text"`
	// IsError says that the request could not be done, and Text why.
	IsError bool `json:"is_error,omitzero"`
	// Structured is the machine-readable form.
	Structured json.RawMessage `json:"structured,omitempty"`
}

// init makes the process the hand if it was started under its name. It is the one
// way to be there before the packages that the command needs are initialised,
// which takes several times as long as reading a file: Go initialises a package as
// soon as what it imports is, in the order of import paths.
func init() {
	if len(os.Args) == 0 || path.Base(os.Args[0]) != Name {
		return
	}
	debug.SetGCPercent(-1) // short-lived; the limit below holds
	debug.SetMemoryLimit(96 << 20)
	os.Exit(Main("", os.Stdin, os.Stdout))
}

// Main does the one request on in and writes the response to out; root confines
// it to a directory, empty: it sees what its process sees. It returns the exit
// code of the process: 0, or 1 if no response could be given.
func Main(root string, in io.Reader, out io.Writer) int {
	files, err := open(root)
	if err != nil {
		return 1
	}
	defer files.close()
	input := bufio.NewReaderSize(in, 64<<10)
	line, err := readLine(input)
	resp := Response{IsError: true, Text: "the request cannot be read"}
	if err == nil {
		var r Request
		if r, err = Decode(line); err == nil {
			resp = files.do(r, input)
		}
	}
	if err != nil {
		resp.Text = err.Error()
	}
	b, err := json.Marshal(resp)
	if err != nil || len(b) > MaxResponse {
		return 1
	}
	if _, err = out.Write(append(b, '\n')); err != nil {
		return 1
	}
	return 0
}

// Encode makes the request line.
func Encode(r Request) ([]byte, error) {
	b, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	if len(b) >= MaxRequest {
		return nil, fmt.Errorf("the request has %d bytes, more than %d", len(b), MaxRequest)
	}
	return append(b, '\n'), nil
}

// Decode reads a request line. Fields that it does not know are an error.
func Decode(line []byte) (Request, error) {
	var r Request
	if err := strict(line, &r); err != nil {
		return Request{}, fmt.Errorf("the request cannot be read: %w", err)
	}
	if r.Max <= 0 {
		r.Max = defaultText
	}
	r.Max = min(max(r.Max, 1<<10), maxText)
	if r.Seconds <= 0 || r.Seconds > 600 {
		r.Seconds = defaultSeconds
	}
	if r.Dir == "" {
		r.Dir = Workspace
	}
	return r, nil
}

const (
	defaultText    = 96 << 10
	defaultSeconds = 20
	// Workspace is where the files of the session are.
	Workspace = "/workspace"
	home      = "/home/agent"
)

func strict(b []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("there is something after it")
	}
	return nil
}

// readLine reads up to the end of a line, at most MaxRequest bytes.
func readLine(r *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		piece, err := r.ReadSlice('\n')
		line = append(line, piece...)
		switch {
		case len(line) > MaxRequest:
			return nil, fmt.Errorf("the request is longer than %d bytes", MaxRequest)
		case err == nil || errors.Is(err, io.EOF) && len(line) > 0:
			return line, nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, err
		}
	}
}

// do makes the response to a request.
func (f *files) do(r Request, rest io.Reader) Response {
	f.dir, f.shell = r.Dir, r.Shell
	var resp Response
	var err error
	switch r.Op {
	case OpRead:
		resp, err = perform(r, f.read)
	case OpList:
		resp, err = perform(r, f.list)
	case OpSearch:
		resp, err = perform(r, f.search)
	case OpWrite:
		resp, err = perform(r, f.write)
	case OpEdit:
		resp, err = perform(r, f.edit)
	case OpSpill:
		resp, err = perform(r, func(a spillArgs, _ Request) (Response, error) { return f.spill(a, rest) })
	case OpReserve:
		resp, err = perform(r, func(a spillArgs, _ Request) (Response, error) { return f.spill(a, nil) })
	default:
		err = fmt.Errorf("there is no operation %q", r.Op)
	}
	if err != nil {
		return Response{Text: err.Error(), IsError: true}
	}
	return resp
}

func perform[A any](r Request, do func(A, Request) (Response, error)) (Response, error) {
	var args A
	if len(r.Args) > 0 {
		if err := strict(r.Args, &args); err != nil {
			return Response{}, fmt.Errorf("the arguments of %s cannot be read: %w", r.Op, err)
		}
	}
	return do(args, r)
}

// structured encodes facts about a result; they are plain values, which always encode.
func structured(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		return nil
	}
	return b
}
