package mcp

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/tool"
)

const (
	// keyMeta is the _meta entry of a call that carries its idempotency key.
	keyMeta = "cairn.run/idempotency-key"
	// listFresh is how long a list of tools is taken for current before a call that
	// may be repeated, unless the server says that it changed. Before any other the
	// server is asked, so that a changed tool does no harm.
	listFresh = 15 * time.Second
	// Bounds of what a server may list.
	maxPages = 64
	maxTools = 2048
	maxName  = 64 // letters, what models take
)

// listing is what a server offered at one time.
type listing struct {
	at    time.Time // when it was asked
	specs []cairn.ToolSpec
	names map[string]string // ours → the server's
	index map[string]int    // ours → place in specs
}

// session is one initialised connection to a server.
type session struct {
	client *sdk.ClientSession
	child  *child // nil over HTTP
	prefix string
	ended  chan struct{} // the connection broke or was closed
	lock   chan struct{} // held while listing; a channel, so that waiting can be given up
	list   atomic.Pointer[listing]
	change atomic.Int64 // counts list_changed notifications
}

func newSession(client *sdk.ClientSession, c *child, prefix string) *session {
	s := &session{client: client, child: c, prefix: prefix, ended: make(chan struct{}), lock: make(chan struct{}, 1)}
	go func() {
		_ = client.Wait() // why it broke is told by the calls that broke
		close(s.ended)
	}()
	return s
}

func (s *session) alive() bool {
	select {
	case <-s.ended:
		return false
	default:
	}
	if s.child != nil {
		select {
		case <-s.child.done():
			return false
		default:
		}
	}
	return true
}

// close ends the session: a child at once, over HTTP when the calls that are
// under way have ended. It waits until it is over.
func (s *session) close() {
	if s.child != nil {
		_ = s.child.Close() // told by done
		select {
		case <-s.child.done():
		case <-time.After(waitForKill):
			s.child.log.Error("a process does not end", "pid", s.child.cmd.Process.Pid)
			return
		}
	}
	_ = s.client.Close() // a server that does not say goodbye is gone as well
}

// tools returns a listing that was asked for at since or later; calls that wait
// for one share it. The error is a *cairn.Error with NotDone; lost says that the
// session is of no more use.
func (s *session) tools(ctx context.Context, since time.Time) (l *listing, lost bool, err error) {
	current := func() *listing {
		if l := s.list.Load(); l != nil && !l.at.Before(since) {
			return l
		}
		return nil
	}
	if l := current(); l != nil {
		return l, false, nil
	}
	select {
	case s.lock <- struct{}{}:
		defer func() { <-s.lock }()
	case <-ctx.Done():
		return nil, false, stopped(ctx)
	}
	if l := current(); l != nil { // another call listed in the meantime
		return l, false, nil
	}
	seen := s.change.Load()
	ctx, t := withTrail(ctx)
	l, err = s.fetch(ctx)
	if err != nil {
		if e, ok := err.(*cairn.Error); ok { //nolint:errorlint // fetch returns this very type for what it refuses
			return nil, false, e
		}
		e, lost := failure(ctx, err, t, s.client.ID() != "")
		e.NotDone = true // nothing but a list was asked for
		e.Message = "listing tools: " + e.Message
		return nil, lost, e
	}
	if s.change.Load() == seen {
		s.list.Store(l)
	}
	return l, false, nil
}

// forget drops the listing: the server says that its tools changed.
func (s *session) forget() {
	s.change.Add(1)
	s.list.Store(nil)
}

func (s *session) fetch(ctx context.Context) (*listing, error) {
	l := &listing{at: time.Now(), names: map[string]string{}, index: map[string]int{}}
	bad := func(format string, args ...any) error {
		return &cairn.Error{Code: cairn.CodeInvalid, Message: "the MCP server's list of tools: " + fmt.Sprintf(format, args...), NotDone: true}
	}
	params := &sdk.ListToolsParams{}
	for range maxPages {
		page, err := s.client.ListTools(ctx, params)
		if err != nil {
			return nil, err
		}
		for _, t := range page.Tools {
			name := s.prefix + ourName(t.Name)
			if len(name) > maxName {
				return nil, bad("the name %q is longer than %d letters with its prefix", name, maxName)
			}
			if other, ok := l.names[name]; ok {
				return nil, bad("%q and %q are both called %s here", other, t.Name, name)
			}
			if len(l.specs) == maxTools {
				return nil, bad("more than %d", maxTools)
			}
			schema, err := schemaOf(t.InputSchema)
			if err != nil {
				return nil, bad("the input schema of %q: %v", t.Name, err)
			}
			spec := cairn.ToolSpec{
				ToolDef: cairn.ToolDef{Name: name, Description: t.Description, InputSchema: schema},
				Host:    cairn.HostRuntime,
				Class:   classOf(t.Annotations),
			}
			spec.Digest = spec.ToolDef.Digest()
			l.names[name] = t.Name
			l.index[name] = len(l.specs)
			l.specs = append(l.specs, spec)
		}
		if page.NextCursor == "" {
			return l, nil
		}
		params = &sdk.ListToolsParams{Cursor: page.NextCursor}
	}
	return nil, bad("more than %d pages", maxPages)
}

// ourName is a server's name in the letters that models take.
func ourName(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' || r == '-' {
			return r
		}
		return '_'
	}, s)
}

// call makes one attempt on this session, after the definition was checked. lost
// says that the session is of no more use.
func (s *session) call(ctx context.Context, c tool.Call) (result *cairn.ToolResult, lost bool, err error) {
	since := time.Now()
	if c.Class.Repeatable() {
		since = since.Add(-listFresh)
	}
	l, lost, err := s.tools(ctx, since)
	if err != nil {
		return nil, lost, err
	}
	i, ok := l.index[c.Tool]
	if !ok {
		return nil, false, &cairn.Error{Code: cairn.CodePinMismatch, Message: fmt.Sprintf("the MCP server does not offer %q any more", c.Tool), NotDone: true}
	}
	if c.Def != "" && l.specs[i].Digest != c.Def {
		return nil, false, &cairn.Error{
			Code: cairn.CodePinMismatch, NotDone: true,
			Message: fmt.Sprintf("the MCP server has changed the definition of %q since it was pinned; the call was not made", c.Tool),
		}
	}
	ctx, t := withTrail(ctx)
	r, err := s.client.CallTool(ctx, &sdk.CallToolParams{
		Meta: sdk.Meta{keyMeta: c.Key}, Name: l.names[c.Tool], Arguments: c.Args,
	})
	if err != nil {
		e, lost := failure(ctx, err, t, s.client.ID() != "")
		return nil, lost, e
	}
	result, err = resultOf(r)
	return result, false, err
}

// stopped is the error of a call that ended before it was made.
func stopped(ctx context.Context) *cairn.Error {
	e := &cairn.Error{Code: cairn.CodeCancelled, Message: "stopped before the call was made", NotDone: true, Err: context.Cause(ctx)}
	switch {
	case errors.Is(context.Cause(ctx), errClosed):
		e.Code, e.Message, e.Retryable = cairn.CodeUnavailable, "this node is stopping; the call was not made", true
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		e.Code, e.Message, e.Retryable = cairn.CodeTimeout, "no time was left to make the call", true
	}
	return e
}
