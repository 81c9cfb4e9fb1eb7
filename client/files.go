package client

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"github.com/cairn-run/cairn"
	v1 "github.com/cairn-run/cairn/api/v1"
)

// UploadWorkspace stores a plain tar as a tree that sessions may begin with. It is
// sent once: a reader cannot be read again. The time it may take is ctx's.
func (c *Client) UploadWorkspace(ctx context.Context, tar io.Reader) (v1.Workspace, error) {
	var out v1.Workspace
	resp, err := c.exchange(ctx, http.MethodPost, "/v1/workspaces", tar, http.Header{"Content-Type": {"application/x-tar"}})
	if err != nil {
		return out, err
	}
	defer func() { _ = resp.Body.Close() }() // it was read as far as it is of use
	b, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return out, unreachable(c.base, err)
	}
	if err := json.Unmarshal(b, &out); err != nil {
		return out, notV1(err)
	}
	return out, nil
}

// HasWorkspace says that a tree is stored; else an error of code not_found.
func (c *Client) HasWorkspace(ctx context.Context, tree cairn.Digest) error {
	_, err := get[v1.WorkspaceRef](ctx, c, "/v1/workspaces/"+url.PathEscape(string(tree)), nil)
	return err
}

// At chooses a state of a session's files: that after an event. [Now] is the last
// recorded one, zero what the session began with.
type At cairn.Seq

// Now is the last recorded state.
const Now = At(1) << 62

func (a At) set(v url.Values, name string) {
	if a != Now {
		v.Set(name, strconv.FormatUint(uint64(a), 10))
	}
}

// FileQuery chooses the entries of a list of files.
type FileQuery struct {
	Path  string // below /workspace, or absolute; empty: /workspace
	At    At
	Depth int // levels below Path; zero: 1, negative: Path itself
	Limit int // zero: 1000
}

// Files lists files of a session.
func (c *Client) Files(ctx context.Context, id cairn.SessionID, q FileQuery) (v1.FileList, error) {
	v := url.Values{}
	set(v, "path", q.Path)
	q.At.set(v, "at")
	if q.Depth != 0 {
		v.Set("depth", strconv.Itoa(max(q.Depth, 0)))
	}
	number(v, "limit", uint64(q.Limit))
	return get[v1.FileList](ctx, c, sessionPath(id, "/files"), v)
}

// filePiece is how much of a file is asked for at once, in bytes.
const filePiece = 4 << 20

// ReadFile writes a file of a session to w and returns its size. All of it is of
// one state, whatever the session does meanwhile.
func (c *Client) ReadFile(ctx context.Context, id cairn.SessionID, path string, at At, w io.Writer) (int64, error) {
	for offset := int64(0); ; {
		n, size, seq, err := c.readPiece(ctx, id, path, at, offset, w)
		if offset += n; err != nil || offset >= size || n == 0 {
			return offset, err
		}
		at = seq
	}
}

// readPiece writes a piece of a file and returns its size, that of the whole file,
// and the state they are of.
func (c *Client) readPiece(ctx context.Context, id cairn.SessionID, path string, at At, offset int64, w io.Writer) (n, size int64, seq At, err error) {
	v := url.Values{"path": {path}, "limit": {strconv.Itoa(filePiece)}}
	at.set(v, "at")
	number(v, "offset", uint64(offset))
	resp, err := c.exchange(ctx, http.MethodGet, sessionPath(id, "/files/content?"+v.Encode()), nil, nil)
	if err != nil {
		return 0, 0, 0, err
	}
	defer func() { _ = resp.Body.Close() }() // it was read as far as it is of use
	if size, err = strconv.ParseInt(resp.Header.Get(v1.HeaderFileSize), 10, 64); err != nil {
		return 0, 0, 0, notV1(err)
	}
	read, err := strconv.ParseUint(resp.Header.Get(v1.HeaderAt), 10, 62)
	if err != nil {
		return 0, 0, 0, notV1(err)
	}
	n, err = copyBody(w, resp.Body)
	return n, size, At(read), err
}

// Archive writes what is below /workspace as a plain tar.
func (c *Client) Archive(ctx context.Context, id cairn.SessionID, at At, w io.Writer) error {
	v := url.Values{}
	at.set(v, "at")
	return c.download(ctx, sessionPath(id, "/files/archive"), v, w)
}

// DiffQuery chooses two states; zero compares what the session began with with
// itself.
type DiffQuery struct {
	From, To At
	All      bool // also what is inside .git; a patch never holds that
}

func (q DiffQuery) values(format string) url.Values {
	v := url.Values{"format": {format}}
	q.From.set(v, "from")
	q.To.set(v, "to")
	if q.All {
		v.Set("all", "true")
	}
	return v
}

// Diff says what changed in the files of a session between two states.
func (c *Client) Diff(ctx context.Context, id cairn.SessionID, q DiffQuery) (v1.FileDiff, error) {
	v := q.values("json")
	return get[v1.FileDiff](ctx, c, sessionPath(id, "/diff"), v)
}

// Patch writes the difference between two states in the format of git.
func (c *Client) Patch(ctx context.Context, id cairn.SessionID, q DiffQuery, w io.Writer) error {
	return c.download(ctx, sessionPath(id, "/diff"), q.values("patch"), w)
}

// Export writes the history of a session in its portable form, see
// [v1.ExportFormat].
func (c *Client) Export(ctx context.Context, id cairn.SessionID, w io.Writer) error {
	return c.download(ctx, sessionPath(id, "/export"), nil, w)
}

func (c *Client) download(ctx context.Context, path string, query url.Values, w io.Writer) error {
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	resp, err := c.exchange(ctx, http.MethodGet, path, nil, nil)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }() // it was read as far as it is of use
	_, err = copyBody(w, resp.Body)
	return err
}

// exchange sends one request whose body, or whose response, is a stream of bytes.
func (c *Client) exchange(ctx context.Context, method, path string, body io.Reader, headers http.Header) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return nil, &cairn.Error{Code: cairn.CodeInvalid, Message: "the address of the server is not a URL", Err: err}
	}
	for name, values := range headers {
		req.Header[name] = values
	}
	return c.answer(c.files, req)
}

// copyBody copies a body to w and tells a connection that broke from a w that
// failed.
func copyBody(w io.Writer, body io.Reader) (int64, error) {
	own := &sink{w: w}
	n, err := io.Copy(own, body)
	switch {
	case err == nil:
		return n, nil
	case own.err != nil:
		return n, own.err
	}
	return n, &cairn.Error{Code: cairn.CodeUnavailable, Message: "the download broke off: what came is not the whole", Retryable: true, Err: err}
}

// sink remembers that its writer failed.
type sink struct {
	w   io.Writer
	err error
}

// Write writes a piece.
func (s *sink) Write(p []byte) (int, error) {
	n, err := s.w.Write(p)
	if err != nil {
		s.err = err
	}
	return n, err
}

func notV1(err error) *cairn.Error {
	return &cairn.Error{Code: cairn.CodeInternal, Message: "the response is not what version v1 of the API says", Err: err}
}
