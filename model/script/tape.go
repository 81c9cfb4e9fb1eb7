package script

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/model"
)

// maxModels bounds the models in a tape.
const maxModels = 256

// Tape writes a script that is a [Recording], call by call. Its methods must not
// be called at once.
type Tape struct {
	// Limit is the largest script, in bytes; default [MaxFile].
	Limit int

	models []cairn.ModelInfo
	calls  bytes.Buffer
	number map[callKey]int
	count  int
}

type callKey struct {
	session cairn.SessionKey
	effect  cairn.EffectID
}

// Model adds what is known of a model, by its full name. What is said of it later
// counts.
func (t *Tape) Model(info cairn.ModelInfo) {
	i := slices.IndexFunc(t.models, func(m cairn.ModelInfo) bool { return m.Name == info.Name })
	switch {
	case i >= 0:
		t.models[i] = info
	case len(t.models) < maxModels:
		t.models = append(t.models, info)
	}
}

// Add adds an attempt and how it ended. An error says why it is not on the tape:
// there is no room, or the script could not be read back.
func (t *Tape) Add(c model.Call, answer *cairn.ModelAnswer, failed *model.Failure) error {
	r := Recorded{Model: c.Request.Model, Attempt: max(c.Attempt, 1), Request: RequestOf(c.Request), Answer: answer, Failure: failed}
	r.Call = t.count + 1
	key := callKey{c.Session, c.Key}
	if n, ok := t.number[key]; ok && c.Key != "" {
		r.Call = n
	}
	w := writer{}
	w.recorded(&r)
	if _, err := Parse("recording", append([]byte(callsHead), w.b.Bytes()...)); err != nil {
		return err
	}
	limit := t.Limit
	if limit <= 0 {
		limit = MaxFile
	}
	if len(t.head())+t.calls.Len()+w.b.Len() > limit {
		return fmt.Errorf("the recording would be larger than %d bytes", limit)
	}
	t.calls.Write(w.b.Bytes())
	if r.Call > t.count {
		t.count = r.Call
		if t.number == nil {
			t.number = map[callKey]int{}
		}
		t.number[key] = r.Call
	}
	return nil
}

// Bytes is the script as it is now.
func (t *Tape) Bytes() []byte { return append(t.head(), t.calls.Bytes()...) }

const (
	tapeHead  = "# Recorded calls of models; see docs/script-model.md. As NAME.yaml it plays as script/NAME.\n"
	callsHead = "recording:\n  calls:\n"
)

// head is everything before the calls.
func (t *Tape) head() []byte {
	w := writer{}
	w.b.WriteString(tapeHead + "recording:\n")
	if len(t.models) > 0 {
		w.b.WriteString("  models:\n")
	}
	for i := range t.models {
		m := &t.models[i]
		w.item(4)
		w.text("name", m.Name)
		w.integer("window", m.Window)
		w.integer("max_output", m.MaxOutput)
		w.boolean("priced", m.Priced)
		w.text("table", m.Table)
		if len(m.Prices) > 0 {
			prices, err := json.Marshal(m.Prices)
			if err == nil { // numbers, times and text: it always is
				w.text("prices", string(prices))
			}
		}
	}
	if t.calls.Len() == 0 {
		w.b.WriteString("  calls: []\n")
	} else {
		w.b.WriteString("  calls:\n")
	}
	return w.b.Bytes()
}

// writer writes block mappings. What is empty is left out.
type writer struct {
	b      bytes.Buffer
	indent int
	dash   bool // the next field begins an entry of a list
}

// item begins an entry of a list whose dash stands at a column.
func (w *writer) item(column int) { w.indent, w.dash = column+2, true }

func (w *writer) name(name string) {
	n := w.indent
	if w.dash {
		n -= 2
	}
	w.b.WriteString(strings.Repeat(" ", n))
	if w.dash {
		w.b.WriteString("- ")
	}
	w.dash = false
	w.b.WriteString(name)
	w.b.WriteString(":")
}

func (w *writer) scalar(name, value string) {
	w.name(name)
	w.b.WriteString(" " + value + "\n")
}

func (w *writer) text(name, s string) {
	if s != "" {
		w.scalar(name, quote(s))
	}
}

func (w *writer) integer(name string, n int64) {
	if n != 0 {
		w.scalar(name, fmt.Sprint(n))
	}
}

func (w *writer) boolean(name string, b bool) {
	if b {
		w.scalar(name, "true")
	}
}

// object begins a mapping inside the present one; it ends with the returned function.
func (w *writer) object(name string) func() {
	w.name(name)
	w.b.WriteByte('\n')
	w.indent += 2
	return func() { w.indent -= 2 }
}

func (w *writer) recorded(r *Recorded) {
	w.item(4)
	w.text("model", r.Model)
	w.scalar("call", fmt.Sprint(r.Call))
	w.scalar("attempt", fmt.Sprint(r.Attempt))
	w.scalar("request", fmt.Sprintf("{turn: %d, setup: %q, messages: %q}", r.Request.Turn, r.Request.Setup, r.Request.Messages))
	if r.Answer != nil {
		end := w.object("answer")
		w.answer(r.Answer)
		end()
	}
	if r.Failure != nil {
		end := w.object("fail")
		w.failure(r.Failure)
		end()
	}
}

func (w *writer) answer(a *cairn.ModelAnswer) {
	w.text("model", a.Model)
	if len(a.Content) > 0 {
		end := w.object("content")
		column := w.indent
		for i := range a.Content {
			p := &a.Content[i]
			w.item(column)
			w.text("kind", string(p.Kind))
			w.text("text", p.Text)
			w.text("call_id", p.CallID)
			w.text("tool", p.Tool)
			w.text("args", p.Args)
			w.text("media_type", p.MediaType)
			w.text("data", base64.StdEncoding.EncodeToString(p.Data))
			w.text("provider", p.Provider)
			w.text("opaque", string(p.Opaque))
		}
		w.indent = column
		end()
	}
	w.text("stop", string(a.Stop))
	w.text("finish", a.Finish)
	w.usage(&a.Usage)
	w.text("raw_usage", string(a.RawUsage))
	w.text("service", a.Service)
	if a.Charged != nil {
		w.text("charged", a.Charged.String())
	}
	if len(a.Beside) > 0 {
		quoted := make([]string, len(a.Beside))
		for i, s := range a.Beside {
			quoted[i] = quote(s)
		}
		w.scalar("beside", "["+strings.Join(quoted, ", ")+"]")
	}
}

func (w *writer) failure(f *model.Failure) {
	w.text("code", string(f.Err.Code))
	w.text("message", f.Err.Message)
	if f.Err.RetryAfter > 0 {
		w.scalar("retry_after", f.Err.RetryAfter.String())
	}
	w.boolean("retryable", f.Err.Retryable)
	w.boolean("not_done", f.Err.NotDone)
	if f.Usage != nil {
		w.usage(f.Usage)
	}
	w.text("raw_usage", string(f.RawUsage))
}

func (w *writer) usage(u *cairn.Usage) {
	var pairs []string
	for _, p := range []struct {
		name string
		n    int64
	}{
		{"input", u.Input},
		{"cache_read", u.CacheRead},
		{"cache_write_5m", u.CacheWrite5m},
		{"cache_write_1h", u.CacheWrite1h},
		{"output", u.Output},
		{"reasoning", u.Reasoning},
		{"input_audio", u.InputAudio},
		{"output_audio", u.OutputAudio},
		{"searches", u.Searches},
	} {
		if p.n != 0 {
			pairs = append(pairs, fmt.Sprintf("%s: %d", p.name, p.n))
		}
	}
	w.scalar("usage", "{"+strings.Join(pairs, ", ")+"}")
}

// quote writes a text as a double-quoted scalar of YAML on one line. What is not
// UTF-8 becomes U+FFFD, as in JSON.
func quote(s string) string {
	var b strings.Builder
	b.Grow(len(s) + 2)
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"', r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		// Controls, line ends of other alphabets, byte order marks and what is no
		// character: YAML forbids them, or readers change them.
		case r < ' ', r >= 0x7f && r <= 0xa0, r == 0x2028, r == 0x2029, r == 0xfeff, r >= 0xfff0 && r <= 0xffff && r != 0xfffd:
			fmt.Fprintf(&b, `\u%04X`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
