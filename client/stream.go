package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/cairn-run/cairn"
	v1 "github.com/cairn-run/cairn/api/v1"
)

const (
	// silence is how long a stream may say nothing before it is taken for dead. The
	// server's heartbeat is 15s.
	silence = time.Minute
	// reconnectFirst and reconnectMax bound the pause before a new connection.
	reconnectFirst = 100 * time.Millisecond
	reconnectMax   = 5 * time.Second
)

// Stream follows a session from after a sequence number on (0: from its start).
// It reconnects by itself and yields every event once and in order. Of answers
// that are still being made, and of what tools print, it yields every piece once: a piece whose Offset is 0
// begins its text. It ends with UntilIdle when the session has nothing to do,
// else when ctx does, with ctx's error; an error is the last thing it yields.
func (c *Client) Stream(ctx context.Context, id cairn.SessionID, after cairn.Seq, opts ...Option) iter.Seq2[v1.StreamItem, error] {
	f := &follower{client: c, session: id, cursor: after, options: gather(opts), said: map[said]int{}}
	return func(yield func(v1.StreamItem, error) bool) {
		if err := f.follow(ctx, yield); err != nil && !errors.Is(err, errStopped) {
			yield(v1.StreamItem{}, err)
		}
	}
}

// follower is one reader's place in a session.
type follower struct {
	client  *Client
	session cairn.SessionID
	cursor  cairn.Seq
	options options
	contact time.Time // when a server answered last
	// said is how much of the open answers was yielded, in bytes.
	said map[said]int
}

type said struct {
	effect  cairn.EffectID
	attempt int
	index   int
	kind    cairn.PartKind
}

var (
	// errStopped: the consumer has enough.
	errStopped = errors.New("client: stopped")
	// errDropped: the connection broke; the cursor is where to go on.
	errDropped = errors.New("client: the connection broke")
)

// follow connects again and again until there is a reason to end.
func (f *follower) follow(ctx context.Context, yield func(v1.StreamItem, error) bool) error {
	wait := reconnectFirst
	f.contact = time.Now()
	for {
		heard, done, err := f.connect(ctx, yield)
		switch {
		case done || errors.Is(err, errStopped):
			return err
		case ctx.Err() != nil:
			return context.Cause(ctx)
		}
		if heard {
			wait, f.contact = reconnectFirst, time.Now()
		}
		e, refused := errors.AsType[*cairn.Error](err)
		if refused && !e.Retryable && e.Code != cairn.CodeUnavailable && e.Code != cairn.CodeTimeout {
			return e
		}
		if time.Since(f.contact) >= f.options.patience {
			return &cairn.Error{
				Code: cairn.CodeUnavailable, Retryable: true, Err: err,
				Message: fmt.Sprintf("the stream broke and no server answers: go on after event %d when it does", f.cursor),
			}
		}
		pause := wait
		if refused {
			pause = min(max(pause, time.Duration(e.RetryAfter)), maxWait)
		}
		wait = min(2*wait, reconnectMax)
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(pause):
		}
	}
}

// connect reads one connection. heard: it was of use; done: the stream ended by
// itself.
func (f *follower) connect(ctx context.Context, yield func(v1.StreamItem, error) bool) (heard, done bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	dead := time.AfterFunc(silence, cancel)
	defer dead.Stop()
	query := url.Values{}
	number(query, "after", uint64(f.cursor))
	if f.options.until {
		query.Set("until", "idle")
	}
	path := sessionPath(f.session, "/stream")
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	lastID := ""
	if f.cursor > 0 {
		lastID = strconv.FormatUint(uint64(f.cursor), 10)
	}
	resp, err := f.client.send(ctx, http.MethodGet, path, nil,
		http.Header{"Accept": {"text/event-stream"}, "Last-Event-Id": {lastID}})
	if err != nil {
		return false, false, err
	}
	defer func() { _ = resp.Body.Close() }() // the stream is over
	began := time.Now()
	f.contact = began // a server that answers is there, if it dies at once again and again
	for fr, err := range frames(&alive{resp.Body, dead}) {
		if err != nil {
			return heard || time.Since(began) > reconnectMax, false, errors.Join(errDropped, err)
		}
		if done, err := f.take(fr, yield); done || err != nil {
			return true, done, err
		}
		heard = true
	}
	return heard || time.Since(began) > reconnectMax, false, errDropped
}

// take yields what one server-sent event says.
func (f *follower) take(fr frame, yield func(v1.StreamItem, error) bool) (done bool, err error) {
	switch fr.event {
	case v1.StreamEndName:
		var end v1.StreamEnd
		if err := json.Unmarshal(fr.data, &end); err != nil {
			return false, malformed(fr, err)
		}
		if end.Reason == v1.EndSettled {
			return true, nil
		}
		return false, errDropped
	case v1.DeltaMessage, v1.DeltaReasoning, v1.DeltaToolCall, v1.DeltaOutput:
		var d v1.Delta
		if err := json.Unmarshal(fr.data, &d); err != nil {
			return false, malformed(fr, err)
		}
		if !f.fresh(&d) {
			return false, nil
		}
		if !yield(v1.StreamItem{Delta: &d}, nil) {
			return false, errStopped
		}
		return false, nil
	}
	if !fr.hasID {
		return false, nil // of a later version of the API, and not stored
	}
	var e v1.Event
	if err := json.Unmarshal(fr.data, &e); err != nil {
		return false, malformed(fr, err)
	}
	if e.Seq <= f.cursor {
		return false, nil
	}
	if e.Seq != f.cursor+1 {
		return false, cairn.Errorf(cairn.CodeInternal, "the stream of session %s goes from event %d to %d", f.session, f.cursor, e.Seq)
	}
	f.cursor = e.Seq
	f.settle(e)
	if !yield(v1.StreamItem{Event: &e}, nil) {
		return false, errStopped
	}
	return false, nil
}

// fresh cuts off what of a piece was yielded before; false: nothing is left.
func (f *follower) fresh(d *v1.Delta) bool {
	k := said{d.Effect, d.Attempt, d.Index, d.Kind}
	had, known := f.said[k]
	switch end := d.Offset + len(d.Text); {
	case known && end <= had:
		return false
	case d.Offset < had:
		d.Text = d.Text[had-d.Offset:]
		d.Offset = had
	}
	f.said[k] = d.Offset + len(d.Text)
	return true
}

// settle forgets the pieces of an answer that is recorded, or given up.
func (f *follower) settle(e v1.Event) {
	switch e.Type {
	case cairn.ModelCompleted{}.EventType(), cairn.ModelFailed{}.EventType(), cairn.ModelRetried{}.EventType(),
		cairn.ToolCallCompleted{}.EventType(), cairn.ToolCallFailed{}.EventType(), cairn.ToolCallRetried{}.EventType(),
		cairn.ToolCallUnknown{}.EventType(), cairn.EffectReconciled{}.EventType():
		for k := range f.said {
			if k.effect == e.Step {
				delete(f.said, k)
			}
		}
	}
}

func malformed(fr frame, err error) *cairn.Error {
	return &cairn.Error{
		Code: cairn.CodeInternal, Err: err,
		Message: fmt.Sprintf("the stream holds a %q that is not what version v1 of the API says", fr.event),
	}
}

// alive puts the end of a silent connection off with every byte.
type alive struct {
	io.Reader
	dead *time.Timer
}

// Read reads and notes that the server is there.
func (a *alive) Read(p []byte) (int, error) {
	n, err := a.Reader.Read(p)
	if n > 0 {
		a.dead.Reset(silence)
	}
	return n, err
}
