package cairn_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cairn-run/cairn"
)

var at = time.Date(2026, 11, 20, 7, 30, 0, 123456789, time.UTC)

// types are all durable types. One that vanishes from here makes histories
// unreadable; one that is added is added for ever.
var types = []cairn.EventType{
	"ask.expired", "ask.opened", "ask.resolved", "budget.drawn", "budget.exceeded", "budget.raised", "budget.requested",
	"cache.broken", "context.compacted", "effect.reconciled", "message.created", "model.completed", "model.failed",
	"model.requested", "model.retried", "plan.updated", "run.cancelled", "run.cancelling", "run.completed", "run.ending",
	"run.failed", "run.paused", "run.resumed", "run.started", "sandbox.released", "sandbox.releasing", "session.created",
	"session.forked", "session.idle", "session.moved", "session.moving",
	"tool_call.completed", "tool_call.denied", "tool_call.failed", "tool_call.requested", "tool_call.retried",
	"tool_call.started", "tool_call.unknown", "toolset.failed", "toolset.pinned", "toolset.requested", "toolset.retried",
	"workspace.snapshotted",
}

// event is an event of a type as it is stored, with data.
func event(t testing.TB, typ cairn.EventType, data string) cairn.Event {
	t.Helper()
	var e cairn.Event
	text := fmt.Sprintf(`{"seq":7,"type":%q,"at":"2026-11-20T07:30:00.123456789Z","run":"run_1","step":"eff_1","data":%s}`, typ, data)
	if err := json.Unmarshal([]byte(text), &e); err != nil {
		t.Fatalf("%s: %v", typ, err)
	}
	return e
}

func TestEventTypes(t *testing.T) {
	t.Parallel()
	if diff := cmp.Diff(types, cairn.EventTypes()); diff != "" {
		t.Errorf("durable types (-known +now):\n%s", diff)
	}
	for _, typ := range cairn.EventTypes() {
		e := event(t, typ, `{}`)
		if _, ok := e.Data.(cairn.UnknownEvent); ok || e.Type() != typ {
			t.Errorf("%s is read as a %T of type %s", typ, e.Data, e.Type())
		}
	}
}

// Every field of every type comes back as it was stored.
func TestEventRoundTrip(t *testing.T) {
	t.Parallel()
	for _, typ := range cairn.EventTypes() {
		e := event(t, typ, `{}`)
		data := reflect.New(reflect.TypeOf(e.Data)).Elem()
		fill(data, 0)
		e.Data = data.Interface().(cairn.EventData)
		b, err := json.Marshal(e)
		if err != nil {
			t.Fatalf("%s: %v", typ, err)
		}
		var back cairn.Event
		if err := json.Unmarshal(b, &back); err != nil {
			t.Fatalf("%s: %v\n%s", typ, err, b)
		}
		if diff := cmp.Diff(e, back); diff != "" {
			t.Errorf("%s (-written +read):\n%s", typ, diff)
		}
	}
}

// fill sets every exported field to something that is not zero.
func fill(v reflect.Value, depth int) {
	if v.CanAddr() && v.CanInterface() {
		switch p := v.Addr().Interface().(type) {
		case *time.Time:
			*p = at
			return
		case *json.RawMessage:
			*p = json.RawMessage(`{"a":[1,"b"]}`)
			return
		case *cairn.Error:
			*p = cairn.Error{Code: cairn.CodeTimeout, Message: "late", RetryAfter: 3, Retryable: true, NotDone: true}
			return
		}
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString("é<&>\u2028")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(1<<53 + 1)
	case reflect.Uint8:
		v.SetUint(255)
	case reflect.Uint64:
		v.SetUint(1<<63 + 1)
	case reflect.Float64:
		v.SetFloat(0.1)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), depth)
	case reflect.Slice:
		if depth > 2 { // a part holds parts
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range v.Len() {
			fill(v.Index(i), depth+1)
		}
	case reflect.Map:
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fill(key, depth)
		fill(value, depth)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(key, value)
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				fill(v.Field(i), depth)
			}
		}
	}
}

// A type that this binary does not know is kept as it is.
func TestUnknownEvent(t *testing.T) {
	t.Parallel()
	e := event(t, "sandbox.melted", `{"degrees":[1,2.50,{"x":null}]}`)
	if got, want := e.Data, (cairn.UnknownEvent{Type: "sandbox.melted", Raw: json.RawMessage(`{"degrees":[1,2.50,{"x":null}]}`)}); !cmp.Equal(got, cairn.EventData(want)) {
		t.Fatal(cmp.Diff(want, got))
	}
	b, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	var back cairn.Event
	if err := json.Unmarshal(b, &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(e, back); diff != "" {
		t.Error(diff)
	}
}

func TestMalformedEvents(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		``, `null1`, `[]`, `{}`, `{"seq":1}`, `{"seq":1,"type":"run.started"}`, `{"seq":-1,"type":"x","data":{}}`,
		`{"seq":1,"type":"x","at":"yesterday","data":{}}`, `{"seq":1,"type":"run.started","at":"2026-11-20T00:00:00Z","data":[]}`,
		`{"seq":1,"type":"run.started","at":"2026-11-20T00:00:00Z","data":{"budget":"$x"}}`,
	} {
		var e cairn.Event
		if err := json.Unmarshal([]byte(text), &e); err == nil {
			t.Errorf("%s is read as %+v", text, e)
		}
	}
	if b, err := json.Marshal(cairn.Event{Seq: 1}); err == nil {
		t.Errorf("an event without data is written as %s", b)
	}
}

// FuzzEvent: what can be read is written so that it is read the same again.
func FuzzEvent(f *testing.F) {
	for _, typ := range cairn.EventTypes() {
		e := event(f, typ, `{}`)
		data := reflect.New(reflect.TypeOf(e.Data)).Elem()
		fill(data, 0)
		e.Data = data.Interface().(cairn.EventData)
		b, err := json.Marshal(e)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte(`{"seq":1,"type":"new","at":"2026-11-20T00:00:00+05:45","data":{ "a" : 1 }}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var e cairn.Event
		if json.Unmarshal(text, &e) != nil {
			return
		}
		again(t, e, func(b []byte) (any, error) {
			var back cairn.Event
			err := json.Unmarshal(b, &back)
			return back, err
		})
	})
}

// again checks that what is written is read, and written the same again.
func again(t *testing.T, v any, read func([]byte) (any, error)) {
	t.Helper()
	first, err := json.Marshal(v)
	if err != nil {
		t.Fatalf("it was read and cannot be written: %v", err)
	}
	back, err := read(first)
	if err != nil {
		t.Fatalf("it was written and cannot be read: %v\n%s", err, first)
	}
	second, err := json.Marshal(back)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first, second) {
		t.Fatalf("it is written in two ways:\n%s\n%s", first, second)
	}
	last, err := read(second)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(back, last); diff != "" {
		t.Fatalf("it is read in two ways:\n%s", diff)
	}
}

// inputs are one of each kind, with every field set.
func inputs() []cairn.Input {
	var all []cairn.Input
	for _, d := range []cairn.InputData{
		&cairn.Start{}, &cairn.Post{}, &cairn.Control{}, &cairn.Decide{}, &cairn.Wake{}, &cairn.ModelOutcome{}, &cairn.Starting{},
		&cairn.ToolOutcome{}, &cairn.ReconcileOutcome{}, &cairn.ToolsetOutcome{}, &cairn.DrawOutcome{}, &cairn.Takeover{}, &cairn.Fork{},
	} {
		v := reflect.ValueOf(d).Elem()
		fill(v, 0)
		all = append(all, cairn.Input{
			ID: "in_1", To: cairn.SessionKey{Tenant: "t", ID: "ses_1"}, At: at, From: cairn.Principal{Kind: "user", ID: "ann"},
			Data: v.Interface().(cairn.InputData),
		})
	}
	return all
}

func TestInputRoundTrip(t *testing.T) {
	t.Parallel()
	var kinds []string
	for _, in := range inputs() {
		kinds = append(kinds, in.Data.InputKind())
		b, err := json.Marshal(in)
		if err != nil {
			t.Fatal(err)
		}
		var back cairn.Input
		if err := json.Unmarshal(b, &back); err != nil {
			t.Fatalf("%s: %v", in.Data.InputKind(), err)
		}
		if diff := cmp.Diff(in, back); diff != "" {
			t.Errorf("%s (-written +read):\n%s", in.Data.InputKind(), diff)
		}
	}
	slices.Sort(kinds)
	if len(slices.Compact(kinds)) != len(kinds) {
		t.Errorf("two kinds have one name: %v", kinds)
	}
	var in cairn.Input
	if err := json.Unmarshal([]byte(`{"id":"x","kind":"nonsense","data":{}}`), &in); err == nil {
		t.Error("an unknown kind is read")
	}
	if b, err := json.Marshal(cairn.Input{ID: "x"}); err == nil {
		t.Errorf("an input without data is written as %s", b)
	}
}

// FuzzInput: what can be read is written so that it is read the same again.
func FuzzInput(f *testing.F) {
	for _, in := range inputs() {
		b, err := json.Marshal(in)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var in cairn.Input
		if json.Unmarshal(text, &in) != nil {
			return
		}
		again(t, in, func(b []byte) (any, error) {
			var back cairn.Input
			err := json.Unmarshal(b, &back)
			return back, err
		})
	})
}
