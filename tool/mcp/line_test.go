package mcp

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/modelcontextprotocol/go-sdk/jsonrpc"

	"github.com/cairn-run/cairn"
)

func reading(r io.Reader) *child {
	return &child{lines: bufio.NewReaderSize(r, 64<<10), changed: func() {}}
}

func TestLines(t *testing.T) {
	t.Parallel()
	changes := 0
	c := reading(strings.NewReader(strings.Join([]string{
		"", "hello", `{"jsonrpc":"2.0","method":"notifications/progress","params":{}}`,
		`{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}`,
		`{"jsonrpc":"2.0","id":1,"result":{}}` + "\r",
		`[{"jsonrpc":"2.0","id":2,"result":{}},7,{"jsonrpc":"2.0","id":3,"method":"ping"}]`,
		`{"jsonrpc":"2.0","id":4,"result":{`, "",
		`{"jsonrpc":"2.0","id":5,"result":{}}`, // without a line end: half a message
	}, "\n")))
	c.changed = func() { changes++ }
	var got []string
	for {
		m, err := c.Read(context.Background())
		if err != nil {
			if !errors.Is(err, io.EOF) {
				t.Fatal(err)
			}
			break
		}
		b, err := jsonrpc.EncodeMessage(m)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, string(b))
	}
	want := []string{`{"jsonrpc":"2.0","id":1,"result":{}}`, `{"jsonrpc":"2.0","id":2,"result":{}}`, `{"jsonrpc":"2.0","id":3,"method":"ping"}`}
	if d := cmp.Diff(want, got); d != "" || changes != 1 {
		t.Errorf("changed %d times\n%s", changes, d)
	}
}

// endless gives the same bytes for ever.
type endless string

func (e endless) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		n += copy(p[n:], e)
	}
	return n, nil
}

func TestReadingIsBounded(t *testing.T) {
	t.Parallel()
	for text, want := range map[endless]error{
		"x\n": errFlood, "x": errLong,
		`{"jsonrpc":"2.0","id":"a","method":"ping"}` + "\n": errQuestions,
	} {
		c := reading(text)
		var err error
		for err == nil {
			_, err = c.Read(context.Background())
		}
		if !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", text, err, want)
		}
	}
}

func TestStructuredKeepsDigits(t *testing.T) {
	t.Parallel()
	const text = `{"id": 12345678901234567890, "n": 1.50}`
	v := map[string]any{"id": float64(12345678901234567890), "n": 1.5}
	got, err := structured(v, []cairn.Part{cairn.Text(text)})
	if err != nil || string(got) != `{"id":12345678901234567890,"n":1.5}` {
		t.Errorf("%s %v", got, err)
	}
	got, err = structured(v, []cairn.Part{cairn.Text("something else")})
	if err != nil || !reflect.DeepEqual([]byte(got), []byte(`{"id":12345678901234567000,"n":1.5}`)) {
		t.Errorf("%s %v", got, err)
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte("{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}\nnoise\n[{}]\n"))
	f.Add([]byte("[\n]\n\x00{\"jsonrpc\":\"2.0\",\"method\":\"notifications/cancelled\"}\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		c := reading(bytes.NewReader(b))
		for range len(b) + 2 {
			m, err := c.Read(context.Background())
			if err != nil {
				return
			}
			if m == nil {
				t.Fatal("neither a message nor an error")
			}
		}
		t.Fatal("more messages than bytes")
	})
}
