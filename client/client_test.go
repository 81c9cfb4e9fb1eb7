package client_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cairn-run/cairn"
	v1 "github.com/cairn-run/cairn/api/v1"
	"github.com/cairn-run/cairn/client"
)

// script answers the requests of a test one after the other.
type script struct {
	t    *testing.T
	keys []string
	at   []time.Time
	plan []http.HandlerFunc
}

func (s *script) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.keys = append(s.keys, r.Header.Get("Idempotency-Key"))
	s.at = append(s.at, time.Now())
	if len(s.plan) == 0 {
		s.t.Errorf("one request too many: %s %s", r.Method, r.URL)
		panic(http.ErrAbortHandler)
	}
	next := s.plan[0]
	s.plan = s.plan[1:]
	next(w, r)
}

func says(status int, body string, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body)) // the test sees what is missing
	}
}

func breaks(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

const (
	session = `{"id":"ses_1","agent":"a","agent_digest":"d","status":"queued","created":"2026-11-20T00:00:00Z","updated":"2026-11-20T00:00:00Z","last_seq":0,"runs":0,"model_calls":0,"tool_calls":0,"usage":{},"cost":0,"reserved":0,"events_url":"","stream_url":""}`
	busy    = `{"error":{"code":"unavailable","message":"later"}}`
)

func TestRetries(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		plan  []http.HandlerFunc
		code  cairn.Code
		says  string
		after time.Duration
	}{
		"first try":        {[]http.HandlerFunc{says(201, session)}, "", "", 0},
		"busy, then not":   {[]http.HandlerFunc{says(503, busy), says(503, busy), says(201, session)}, "", "", 600 * time.Millisecond},
		"broken, then not": {[]http.HandlerFunc{breaks, says(201, session)}, "", "", 200 * time.Millisecond},
		"told when": {
			[]http.HandlerFunc{says(429, `{"error":{"code":"rate_limited","message":"slower","retry_after":"3s"}}`), says(201, session)},
			"", "", 3 * time.Second,
		},
		"a proxy, told when": {[]http.HandlerFunc{says(502, "<html>", "Retry-After", "2"), says(201, session)}, "", "", 2 * time.Second},
		"told too much":      {[]http.HandlerFunc{says(503, busy, "Retry-After", "7"), says(429, `{"error":{"code":"rate_limited","message":"slower","retry_after":"1h"}}`), says(201, session)}, "", "", 10200 * time.Millisecond},
		"busy for ever":      {[]http.HandlerFunc{says(503, busy), says(503, busy), says(503, busy), says(503, busy)}, cairn.CodeUnavailable, "later", 1400 * time.Millisecond},
		"invalid":            {[]http.HandlerFunc{says(422, `{"error":{"code":"invalid","message":"bad","fields":[{"path":"body.x","problem":"odd"}]}}`)}, cairn.CodeInvalid, "bad; body.x: odd", 0},
		"full":               {[]http.HandlerFunc{says(507, `{"error":{"code":"storage_full","message":"full","retryable":true}}`)}, cairn.CodeFull, "full", 0},
		"not the API":        {[]http.HandlerFunc{says(404, "<html>")}, cairn.CodeNotFound, "404", 0},
		"not JSON":           {[]http.HandlerFunc{says(200, "<html>")}, cairn.CodeInternal, "not what version v1", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := &script{t: t, plan: tc.plan}
				began := time.Now()
				got, err := client.Local(s, "secret").CreateSession(t.Context(), v1.CreateSession{Agent: "a"})
				if cairn.CodeOf(err) != tc.code || err != nil && !strings.Contains(err.Error(), tc.says) {
					t.Errorf("error %v", err)
				}
				if _, ok := errors.AsType[*cairn.Error](err); err != nil && !ok {
					t.Errorf("the error is a %T", err)
				}
				if err == nil && got.ID != "ses_1" {
					t.Errorf("%+v", got)
				}
				if took := time.Since(began); took != tc.after { // the bubble's clock, so exact
					t.Errorf("it took %v, want %v", took, tc.after)
				}
				for _, k := range s.keys {
					if k == "" || k != s.keys[0] {
						t.Errorf("the tries of one request have the keys %v", s.keys)
					}
				}
				if len(s.plan) > 0 {
					t.Errorf("%d requests too few", len(s.plan))
				}
			})
		})
	}
}

func TestCallsAreDifferentRequests(t *testing.T) {
	t.Parallel()
	s := &script{t: t, plan: []http.HandlerFunc{says(201, session), says(201, session), says(201, session)}}
	c := client.Local(s, "")
	for i := range 3 {
		var opts []client.Option
		if i == 2 {
			opts = append(opts, client.Key("mine"))
		}
		if _, err := c.CreateSession(t.Context(), v1.CreateSession{Agent: "a"}, opts...); err != nil {
			t.Fatal(err)
		}
	}
	if s.keys[0] == s.keys[1] || s.keys[2] != "mine" {
		t.Errorf("keys %v", s.keys)
	}
}

func TestNoServer(t *testing.T) {
	t.Parallel()
	c := client.Unix(t.TempDir()+"/none", "")
	_, err := c.Version(t.Context())
	if cairn.CodeOf(err) != cairn.CodeUnavailable || !strings.Contains(err.Error(), "is it running?") {
		t.Error(err)
	}
	bad := client.New("http://a b", "", nil)
	if _, err := bad.Version(t.Context()); cairn.CodeOf(err) != cairn.CodeInvalid {
		t.Error(err)
	}
}

func event(n int) string {
	return fmt.Sprintf("id: %d\nevent: plan.updated\ndata: {\"id\":\"ses_1/%d\",\"seq\":%d,\"type\":\"plan.updated\",\"session_id\":\"ses_1\",\"at\":\"2026-11-20T00:00:00Z\",\"data\":{}}\n\n", n, n, n)
}

func delta(offset int, text string) string {
	return fmt.Sprintf("event: message.delta\ndata: {\"session_id\":\"ses_1\",\"effect\":\"eff_1\",\"attempt\":1,\"index\":0,\"offset\":%d,\"kind\":\"text\",\"text\":%q}\n\n", offset, text)
}

const settled = "event: stream.end\ndata: {\"reason\":\"settled\",\"seq\":1}\n\n"

// hangs sends body and then nothing, until the client goes.
func hangs(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		says(200, body)(w, r)
		<-r.Context().Done()
	}
}

func TestStream(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		plan  []http.HandlerFunc
		want  []string
		after time.Duration
	}{
		"ends": {[]http.HandlerFunc{says(200, event(1)+event(2)+settled)}, []string{"1", "2"}, 0},
		"drops, resumes": {
			[]http.HandlerFunc{says(200, event(1)+"id: 2\nevent: plan"), says(200, event(2)+settled)},
			[]string{"1", "2"},
			100 * time.Millisecond,
		},
		"repeats nothing": {
			[]http.HandlerFunc{says(200, event(1)+delta(0, "ab")), says(200, event(1)+delta(0, "abc")+delta(3, "d")+event(2)+settled)},
			[]string{"1", "0+ab", "2+c", "3+d", "2"},
			100 * time.Millisecond,
		},
		"closing": {
			[]http.HandlerFunc{says(200, event(1)+"event: stream.end\ndata: {\"reason\":\"closing\",\"seq\":1}\n\n"), says(200, event(2)+settled)},
			[]string{"1", "2"},
			100 * time.Millisecond,
		},
		"refused, comes back": {[]http.HandlerFunc{says(503, busy), breaks, says(200, event(1)+settled)}, []string{"1"}, 300 * time.Millisecond},
		"silence":             {[]http.HandlerFunc{hangs(event(1)), says(200, event(2)+settled)}, []string{"1", "2"}, time.Minute + 100*time.Millisecond},
		"not there":           {[]http.HandlerFunc{says(404, `{"error":{"code":"not_found","message":"no session"}}`)}, []string{"not_found"}, 0},
		"gap":                 {[]http.HandlerFunc{says(200, event(1)+event(3))}, []string{"1", "internal"}, 0},
		"malformed":           {[]http.HandlerFunc{says(200, "id: 1\nevent: plan.updated\ndata: {\n\n")}, []string{"internal"}, 0},
		"of a later version":  {[]http.HandlerFunc{says(200, "event: new.thing\ndata: 7\n\n"+event(1)+settled)}, []string{"1"}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := &script{t: t, plan: tc.plan}
				began := time.Now()
				var got []string
				for item, err := range client.Local(s, "").Stream(t.Context(), "ses_1", 0) {
					switch {
					case err != nil:
						got = append(got, string(cairn.CodeOf(err)))
					case item.Event != nil:
						got = append(got, fmt.Sprint(item.Event.Seq))
					default:
						got = append(got, fmt.Sprintf("%d+%s", item.Delta.Offset, item.Delta.Text))
					}
				}
				if d := cmp.Diff(tc.want, got); d != "" {
					t.Error(d)
				}
				if took := time.Since(began); took != tc.after { // the bubble's clock, so exact
					t.Errorf("it took %v, want %v", took, tc.after)
				}
				if len(s.plan) > 0 {
					t.Errorf("%d connections too few", len(s.plan))
				}
			})
		})
	}
}

func TestStreamResumesWhereItWas(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var asked []string
		ask := func(next http.HandlerFunc) http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) {
				asked = append(asked, r.URL.RawQuery+" "+r.Header.Get("Last-Event-ID"))
				next(w, r)
			}
		}
		s := &script{t: t, plan: []http.HandlerFunc{ask(says(200, event(5)+event(6))), ask(says(200, event(7)+settled))}}
		for _, err := range client.Local(s, "").Stream(t.Context(), "ses_1", 4, client.UntilIdle()) {
			if err != nil {
				t.Error(err)
			}
		}
		if d := cmp.Diff([]string{"after=4&until=idle 4", "after=6&until=idle 6"}, asked); d != "" {
			t.Error(d)
		}
	})
}

func TestStreamGivesUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		gone := http.HandlerFunc(breaks)
		var last error
		began := time.Now()
		for _, err := range client.Local(gone, "").Stream(t.Context(), "ses_1", 7, client.Patience(10*time.Second)) {
			last = err
		}
		if cairn.CodeOf(last) != cairn.CodeUnavailable || !strings.Contains(last.Error(), "after event 7") {
			t.Errorf("error %v", last)
		}
		if took := time.Since(began); took < 10*time.Second || took > 20*time.Second { // the bubble's clock
			t.Errorf("it gave up after %v", took)
		}
	})
}

func TestStreamStops(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &script{t: t, plan: []http.HandlerFunc{hangs(event(1) + event(2)), hangs(event(1))}}
		c := client.Local(s, "")
		for item, err := range c.Stream(t.Context(), "ses_1", 0) {
			if err != nil || item.Event.Seq != 1 {
				t.Fatal(item, err)
			}
			break // the handler sees it: the bubble would not end else
		}
		enough := errors.New("enough")
		ctx, cancel := context.WithCancelCause(t.Context())
		defer cancel(nil)
		var last error
		for _, err := range c.Stream(ctx, "ses_1", 0) {
			last = err
			cancel(enough)
		}
		if !errors.Is(last, enough) {
			t.Errorf("error %v", last)
		}
	})
}
