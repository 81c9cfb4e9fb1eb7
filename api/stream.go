package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/cairn-run/cairn"
	v1 "github.com/cairn-run/cairn/api/v1"
	"github.com/cairn-run/cairn/kernel"
)

const (
	// streamChunk is how much is gathered before it is sent, in bytes.
	streamChunk = 64 << 10
	// streamWrite is how long a client may take to read a chunk.
	streamWrite = 30 * time.Second
	// heartbeat is how often a quiet stream says that it is alive.
	heartbeat = 15 * time.Second
	// poll is how often a stream looks at the journal when nobody told it of news, as
	// for a session owned by another node.
	poll = 2 * time.Second
	// maxClosed bounds what a stream remembers of answers that are recorded.
	maxClosed = 256
	// untilIdle ends a stream with the run.
	untilIdle = "idle"
)

type (
	streamInput struct {
		ID     cairn.SessionID `path:"id" maxLength:"64" doc:"id of the session"`
		After  cairn.Seq       `query:"after" doc:"only events after this sequence number"`
		LastID string          `header:"Last-Event-ID" maxLength:"20" pattern:"^[0-9]*$" doc:"sequence number of the last event that was received; wins over after"`
		Until  string          `query:"until" enum:"idle" doc:"idle: the stream ends when the session has nothing to do any more"`
	}
	streamOutput struct{ Body func(huma.Context) }
)

func (a *API) streamRoute(tags []string) {
	operation(a, huma.Operation{
		OperationID: "stream-session", Method: http.MethodGet, Path: "/v1/sessions/{id}/stream", Tags: tags,
		Summary: "Follow a session",
		Description: "Server-sent events. A durable event has its seq as id and its type as event name; it comes exactly once for a cursor (Last-Event-ID or after). " +
			"What a model is saying comes as message.delta, reasoning.delta and tool_call.delta, and what a tool prints while it runs as output.delta, without id: of what is still open, what was said so far is sent again on every connection. " +
			"stream.end is the last event of a stream that ends by itself. A line that starts with a colon only shows that the connection is alive.",
		Responses: map[string]*huma.Response{"200": {
			Description: "The stream",
			Content:     map[string]*huma.MediaType{"text/event-stream": {Schema: &huma.Schema{Type: huma.TypeString}}},
		}},
	}, a.streamSession)
}

// streamSession looks at the request; what it returns does the streaming, after
// the time-out of the handler.
func (a *API) streamSession(ctx context.Context, in *streamInput) (*streamOutput, error) {
	key := cairn.SessionKey{Tenant: identity(ctx).Tenant, ID: in.ID}
	sum, err := a.summary(ctx, key)
	if err != nil {
		return nil, err
	}
	after := in.After
	if in.LastID != "" {
		n, err := strconv.ParseUint(in.LastID, 10, 63)
		if err != nil {
			return nil, cairn.Errorf(cairn.CodeInvalid, "Last-Event-ID is the sequence number of an event")
		}
		after = cairn.Seq(n)
	}
	if after > sum.Events {
		return nil, beyond(strconv.FormatUint(uint64(after), 10), sum)
	}
	if a.closing.Err() != nil {
		return nil, cairn.Errorf(cairn.CodeUnavailable, "the server is shutting down")
	}
	select {
	case a.slots <- struct{}{}:
	default:
		f := newError(http.StatusServiceUnavailable, cairn.CodeUnavailable, "too many streams are open: try again later")
		f.info.Retryable, f.info.RetryAfter = true, cairn.Duration(5*time.Second)
		return nil, f
	}
	return &streamOutput{func(hc huma.Context) { // it streams after the handler and its time-out
		defer func() { <-a.slots }()
		r, w := humago.Unwrap(hc)
		s := &stream{
			api: a, key: key, cursor: after, until: in.Until == untilIdle,
			w: w, control: http.NewResponseController(w),
			closed: map[cairn.EffectID]int{}, empty: map[emptyPiece]bool{},
		}
		s.serve(r.Context())
	}}, nil
}

// stream is one client's view of a session. It keeps no queue: it reads the
// journal and the hub from where the client is, as fast as the client reads.
type stream struct {
	api     *API
	key     cairn.SessionKey
	cursor  cairn.Seq
	until   bool
	w       http.ResponseWriter
	control *http.ResponseController
	buf     bytes.Buffer
	wrote   time.Time
	// closed are the answers that are recorded, with their last attempt: pieces of
	// them that are still about have been superseded by the event.
	closed map[cairn.EffectID]int
	// empty are the pieces without text that were announced.
	empty map[emptyPiece]bool
}

type emptyPiece struct {
	effect  cairn.EffectID
	attempt int
	index   int
	kind    cairn.PartKind
}

// lastAttempt is above every attempt.
const lastAttempt = int(^uint(0) >> 1)

// serve streams until the client goes, the server closes or, where that was
// asked for, the run is over.
func (s *stream) serve(ctx context.Context) {
	h := s.w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no") // nginx would hold the stream back
	s.w.WriteHeader(http.StatusOK)
	s.buf.WriteString("retry: 1000\n\n")

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(s.api.closing, cancel) // the server ends streams too, not only the request
	defer stop()
	watch := s.api.Live.Watch(s.key)
	defer watch.Stop()

	err := s.follow(ctx, watch)
	switch {
	case s.api.closing.Err() != nil:
		s.put(v1.StreamEndName, "", v1.StreamEnd{Reason: v1.EndClosing, Seq: s.cursor})
		_ = s.flush() // the connection closes either way
	case err != nil && ctx.Err() == nil && !errors.Is(err, errSlow):
		s.api.Logger.Error("api: stream failed", "session", s.key.ID, "error", err)
	}
}

// errSlow ends a stream whose client is gone or does not read.
var errSlow = errors.New("api: the client does not read")

func (s *stream) follow(ctx context.Context, watch *kernel.Watch) error {
	for first := true; ; first = false {
		news, quiet, err := s.news(ctx, watch)
		if err != nil {
			return err
		}
		before := s.cursor
		if err := s.catchUp(ctx); err != nil {
			return err
		}
		for _, d := range news.Said {
			if err := s.say(d); err != nil {
				return err
			}
		}
		if s.buf.Len() == 0 && time.Since(s.wrote) >= heartbeat {
			s.buf.WriteString(":\n\n")
		}
		if s.until && (first || quiet || s.cursor > before) {
			over, err := s.over(ctx)
			if err != nil {
				return err
			}
			if over {
				return s.flush()
			}
		}
		if err := s.flush(); err != nil {
			return err
		}
	}
}

// news waits until something happened, or until it is time to look.
func (s *stream) news(ctx context.Context, watch *kernel.Watch) (n kernel.News, quiet bool, err error) {
	wait, cancel := context.WithTimeout(ctx, poll)
	defer cancel()
	n, err = watch.Next(wait)
	if err != nil && ctx.Err() == nil {
		return kernel.News{}, true, nil
	}
	return n, false, err
}

// catchUp writes the events after the cursor.
func (s *stream) catchUp(ctx context.Context) error {
	for e, err := range s.api.Journal.Events(ctx, s.key, s.cursor) {
		if err != nil {
			return err
		}
		v, err := v1.EventFrom(s.key.ID, e)
		if err != nil {
			return err
		}
		s.put(string(v.Type), strconv.FormatUint(uint64(e.Seq), 10), v)
		s.cursor = e.Seq
		s.settle(e)
		if s.buf.Len() >= streamChunk {
			if err := s.flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

// settle remembers that an answer or a result is recorded, or an attempt given up.
func (s *stream) settle(e cairn.Event) {
	var attempt int
	switch d := e.Data.(type) {
	case cairn.ModelCompleted, cairn.ModelFailed:
		attempt = lastAttempt
	case cairn.ToolCallCompleted, cairn.ToolCallFailed, cairn.ToolCallDenied, cairn.EffectReconciled:
		attempt = lastAttempt
	case cairn.ModelRetried:
		attempt = d.Attempt
	case cairn.ToolCallRetried:
		attempt = d.Attempt
	case cairn.ToolCallUnknown:
		attempt = d.Attempt
	default:
		return
	}
	if len(s.closed) >= maxClosed {
		clear(s.closed)
		clear(s.empty)
	}
	s.closed[e.Step] = attempt
}

// say writes a piece of an answer that is still open.
func (s *stream) say(d kernel.Said) error {
	if d.Attempt <= s.closed[d.Effect] {
		return nil
	}
	if d.Text == "" { // the hub repeats what has no text yet
		p := emptyPiece{d.Effect, d.Attempt, d.Index, d.Kind}
		if s.empty[p] || d.Offset > 0 {
			return nil
		}
		if len(s.empty) >= maxClosed {
			clear(s.empty)
		}
		s.empty[p] = true
	}
	s.put(v1.DeltaName(d.Kind), "", v1.Delta{
		Session: s.key.ID, Effect: d.Effect, Attempt: d.Attempt, Index: d.Index, Offset: d.Offset,
		Kind: d.Kind, Text: d.Text, CallID: d.CallID, Tool: d.Tool,
	})
	if s.buf.Len() >= streamChunk {
		return s.flush()
	}
	return nil
}

// over writes the end of the stream when the session has nothing to do: it is
// idle with an empty inbox, or final. The inbox is read first: what leaves it
// after that shows in the row.
func (s *stream) over(ctx context.Context) (bool, error) {
	inbox, err := s.api.Journal.Inbox(ctx, s.key, 1)
	if err != nil {
		return false, err
	}
	sum, err := s.api.Journal.Summary(ctx, s.key)
	if err != nil {
		return false, err
	}
	idle := sum.Status == cairn.StatusIdle && len(inbox) == 0
	if sum.Events > s.cursor || !idle && !sum.Status.Final() {
		return false, nil
	}
	s.put(v1.StreamEndName, "", v1.StreamEnd{Reason: v1.EndSettled, Status: sum.Status, Seq: s.cursor})
	return true, nil
}

// put adds one server-sent event. JSON has no line breaks of its own, so data is
// one line.
func (s *stream) put(name, id string, v any) {
	data, err := json.Marshal(v)
	if err != nil { // the types are the API's own; only a defect gets here
		s.api.Logger.Error("api: encode stream", "session", s.key.ID, "event", name, "error", err)
		return
	}
	if id != "" {
		s.buf.WriteString("id: " + id + "\n")
	}
	s.buf.WriteString("event: " + name + "\ndata: ")
	s.buf.Write(data)
	s.buf.WriteString("\n\n")
}

// flush sends what was gathered. A client that does not read for half a minute
// loses the connection, not the events: it may come back for them.
func (s *stream) flush() error {
	if s.buf.Len() == 0 {
		return nil
	}
	deadline := time.Now().Add(streamWrite)
	if err := s.control.SetWriteDeadline(deadline); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return errSlow
	}
	_, err := s.w.Write(s.buf.Bytes())
	if err == nil {
		err = s.control.Flush()
	}
	if s.buf.Cap() > 4*streamChunk {
		s.buf = bytes.Buffer{}
	} else {
		s.buf.Reset()
	}
	s.wrote = time.Now()
	if err != nil && !errors.Is(err, http.ErrNotSupported) {
		return errSlow
	}
	// Until the next write there is no deadline that could pass.
	if err := s.control.SetWriteDeadline(time.Time{}); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return errSlow
	}
	return nil
}
