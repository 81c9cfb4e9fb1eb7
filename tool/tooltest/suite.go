package tooltest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/tool"
)

// Tools that a target offers. All but echo and fail act: they record the key of
// the call in the ledger, once each time they are performed.
const (
	Echo  = "echo"  // gives its arguments back, as JSON text
	Fail  = "fail"  // reports an error that a model should read: "no such charge"
	Write = "write" // acts and answers {"done":true}
	Crash = "crash" // acts and breaks the connection instead of answering
	Hang  = "hang"  // acts and answers only when the call is cancelled
	Large = "large" // acts and answers with 1 MiB of 'x'
)

// Schema is the input schema of all of them.
const Schema = `{"type":"object","properties":{"text":{"type":"string"}}}`

// LargeSize is the number of bytes that Large answers with.
const LargeSize = 1 << 20

// Subject is a driver and a target to try it on.
type Subject struct {
	Driver tool.Driver
	// Target returns the entry with a tool of this name, and the tool's name as a
	// model sees it.
	Target func(name string) (tool.Target, string)
	// Nobody is an entry at whose address nobody listens.
	Nobody tool.Target
	Ledger *Ledger
}

// patience bounds what must not take long; nothing is measured with it.
const patience = 30 * time.Second

// Run tries a driver. open returns a new subject, closed with its test.
func Run(t *testing.T, open func(t *testing.T) *Subject) {
	for name, test := range map[string]func(*testing.T, *Subject){
		"entries are valid":                       testValid,
		"a result":                                testResult,
		"an error result":                         testErrorResult,
		"the key arrives":                         testKey,
		"nobody there":                            testNobody,
		"broken after it was done":                testCrash,
		"cancelled before it is made":             testCancelledBefore,
		"cancelled while it is made":              testCancelledDuring,
		"a time-out":                              testTimeout,
		"a large answer":                          testLarge,
		"many at once":                            testMany,
		"listed definitions are pinned":           testPinned,
		"arguments keep their digits and letters": testVerbatim,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, open(t))
		})
	}
}

func (s *Subject) call(name, key, args string) tool.Call {
	target, ours := s.Target(name)
	return tool.Call{
		Target: target, Session: "ses_1", Effect: cairn.EffectID(key), Attempt: 1,
		Tool: ours, Class: cairn.ClassIrreversible, Args: json.RawMessage(args), Key: key, MaxOutput: tool.DefaultMaxOutput,
	}
}

func bounded(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

func mustFail(t *testing.T, r *cairn.ToolResult, err error) *cairn.Error {
	t.Helper()
	e, ok := errors.AsType[*cairn.Error](err)
	if !ok {
		t.Fatalf("result %v, error %v: want a *cairn.Error", r, err)
	}
	return e
}

// mayHaveActed fails unless the error leaves open whether the target acted.
func mayHaveActed(t *testing.T, e *cairn.Error) {
	t.Helper()
	if e.NotDone {
		t.Errorf("%v is said not to have been done", e)
	}
	switch e.Code {
	case cairn.CodeToolFailed, cairn.CodeAuth, cairn.CodeInvalidArgs, cairn.CodeUnknownTool, cairn.CodePinMismatch, cairn.CodeRateLimited:
		t.Errorf("%v is a code of an answer", e)
	}
}

func testValid(t *testing.T, s *Subject) {
	for _, name := range []string{Echo, Fail, Write, Crash, Hang, Large} {
		target, _ := s.Target(name)
		if err := s.Driver.Validate(target.Entry); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func testResult(t *testing.T, s *Subject) {
	r, err := s.Driver.Call(bounded(t), s.call(Echo, "k", `{"text":"grüße"}`))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(`{"text":"grüße"}`, cairn.TextOf(r.Content)); d != "" || r.IsError {
		t.Errorf("error %v\n%s", r.IsError, d)
	}
}

func testVerbatim(t *testing.T, s *Subject) {
	const args = `{"big":123456789012345678901234567890,"html":"<&>","text":"a\"b\\ ü\u0001"}`
	r, err := s.Driver.Call(bounded(t), s.call(Echo, "k", args))
	if err != nil {
		t.Fatal(err)
	}
	got, err := cairn.Canonical([]byte(cairn.TextOf(r.Content)))
	if err != nil {
		t.Fatal(err)
	}
	want, err := cairn.Canonical([]byte(args))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), string(got)); d != "" {
		t.Error(d)
	}
}

func testErrorResult(t *testing.T, s *Subject) {
	r, err := s.Driver.Call(bounded(t), s.call(Fail, "k", `{}`))
	if err != nil {
		t.Fatal(err)
	}
	if !r.IsError || !strings.Contains(cairn.TextOf(r.Content), "no such charge") {
		t.Errorf("got %+v", r)
	}
}

func testKey(t *testing.T, s *Subject) {
	const key = "refund:ch_1"
	if _, err := s.Driver.Call(bounded(t), s.call(Write, key, `{}`)); err != nil {
		t.Fatal(err)
	}
	if n := s.Ledger.Count(key); n != 1 {
		t.Errorf("acted %d times on the key", n)
	}
}

func testNobody(t *testing.T, s *Subject) {
	c := s.call(Write, "k", `{}`)
	c.Target = s.Nobody
	r, err := s.Driver.Call(bounded(t), c)
	if e := mustFail(t, r, err); !e.NotDone || !e.Retryable {
		t.Errorf("%+v: want NotDone and Retryable", e)
	}
}

func testCrash(t *testing.T, s *Subject) {
	ctx := bounded(t)
	// A connection that was used before is the one that net/http would try again on.
	if _, err := s.Driver.Call(ctx, s.call(Echo, "before", `{}`)); err != nil {
		t.Fatal(err)
	}
	r, err := s.Driver.Call(ctx, s.call(Crash, "k", `{}`))
	mayHaveActed(t, mustFail(t, r, err))
	if n := s.Ledger.Count("k"); n != 1 {
		t.Errorf("acted %d times", n)
	}
	if _, err := s.Driver.Call(ctx, s.call(Echo, "after", `{}`)); err != nil {
		t.Errorf("the next call: %v", err)
	}
}

func testCancelledBefore(t *testing.T, s *Subject) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r, err := s.Driver.Call(ctx, s.call(Write, "k", `{}`))
	if e := mustFail(t, r, err); !e.NotDone {
		t.Errorf("%+v: want NotDone", e)
	}
	if n := s.Ledger.Count("k"); n != 0 {
		t.Errorf("acted %d times", n)
	}
}

func testCancelledDuring(t *testing.T, s *Subject) {
	ctx, cancel := context.WithCancel(bounded(t))
	go func() {
		<-s.Ledger.Acted("k")
		cancel()
	}()
	r, err := s.Driver.Call(ctx, s.call(Hang, "k", `{}`))
	mayHaveActed(t, mustFail(t, r, err))
	if n := s.Ledger.Count("k"); n != 1 {
		t.Errorf("acted %d times", n)
	}
	if _, err := s.Driver.Call(bounded(t), s.call(Echo, "after", `{}`)); err != nil {
		t.Errorf("the next call: %v", err)
	}
}

func testTimeout(t *testing.T, s *Subject) {
	if _, err := s.Driver.Call(bounded(t), s.call(Echo, "before", `{}`)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	r, err := s.Driver.Call(ctx, s.call(Hang, "k", `{}`))
	e := mustFail(t, r, err)
	if s.Ledger.Count("k") > 0 {
		mayHaveActed(t, e)
	}
	if e.Code != cairn.CodeTimeout {
		t.Errorf("%v: want %s", e, cairn.CodeTimeout)
	}
}

func testLarge(t *testing.T, s *Subject) {
	c := s.call(Large, "k", `{}`)
	c.MaxOutput = 1000
	r, err := s.Driver.Call(bounded(t), c)
	if err != nil {
		t.Fatal(err)
	}
	text := cairn.TextOf(r.Content)
	if r.Truncated == 0 && len(text) != LargeSize {
		t.Errorf("%d bytes, nothing said to be cut", len(text))
	}
	if r.Truncated > 0 && int64(strings.Count(text, "x"))+r.Truncated < LargeSize {
		t.Errorf("%d bytes kept and %d cut are less than there were", len(text), r.Truncated)
	}
}

func testMany(t *testing.T, s *Subject) {
	ctx := bounded(t)
	var wait sync.WaitGroup
	for i := range 40 {
		wait.Go(func() {
			want := fmt.Sprintf(`{"text":"%d"}`, i)
			r, err := s.Driver.Call(ctx, s.call(Echo, fmt.Sprint(i), want))
			if err != nil {
				t.Errorf("%d: %v", i, err)
			} else if got := cairn.TextOf(r.Content); got != want {
				t.Errorf("%d got %s", i, got)
			}
		})
	}
	wait.Wait()
}

func testPinned(t *testing.T, s *Subject) {
	ctx := bounded(t)
	c := s.call(Write, "k", `{}`)
	list, err := s.Driver.List(ctx, c.Target)
	if err != nil {
		t.Fatal(err)
	}
	if len(list) == 0 {
		return // definitions are declared, not listed
	}
	for _, spec := range list {
		if spec.Digest != spec.ToolDef.Digest() || spec.Name == "" || !spec.Class.Valid() {
			t.Errorf("listed %+v", spec)
		}
		if spec.Name == c.Tool {
			c.Def = spec.Digest
		}
	}
	if _, err := s.Driver.Call(ctx, c); err != nil {
		t.Errorf("with the pinned definition: %v", err)
	}
	c.Key, c.Def = "other", cairn.DigestOf([]byte("another definition"))
	r, err := s.Driver.Call(ctx, c)
	if e := mustFail(t, r, err); e.Code != cairn.CodePinMismatch || !e.NotDone {
		t.Errorf("%+v: want %s and NotDone", e, cairn.CodePinMismatch)
	}
	if n := s.Ledger.Count("other"); n != 0 {
		t.Errorf("acted %d times", n)
	}
}
