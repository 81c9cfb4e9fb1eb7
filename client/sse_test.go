package client

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

type seen struct {
	ID, Event, Data string
	HasID           bool
}

func read(r io.Reader) ([]seen, error) {
	var all []seen
	for f, err := range frames(r) {
		if err != nil {
			return all, err
		}
		all = append(all, seen{f.id, f.event, string(f.data), f.hasID})
	}
	return all, nil
}

func TestFrames(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		in   string
		want []seen
	}{
		"plain":            {"id: 1\nevent: a\ndata: x\n\n", []seen{{"1", "a", "x", true}}},
		"comment, retry":   {":\n\nretry: 5\n\n: hello\ndata: x\n\n", []seen{{Data: "x"}}},
		"lines of data":    {"data: x\ndata:\ndata:  y\n\n", []seen{{Data: "x\n\n y"}}},
		"CRLF":             {"data: x\r\ndata: y\r\n\r\ndata: z\r\n\r\n", []seen{{Data: "x\ny"}, {Data: "z"}}},
		"CR":               {"data: x\rdata: y\r\rdata: z\r\r", []seen{{Data: "x\ny"}, {Data: "z"}}},
		"byte order mark":  {"\xef\xbb\xbfdata: x\n\n", []seen{{Data: "x"}}},
		"cut off":          {"data: x\n\ndata: y\n", []seen{{Data: "x"}}},
		"no data":          {"event: a\n\ndata: x\n\n", []seen{{Data: "x"}}},
		"id with NUL":      {"id: a\x00b\ndata: x\n\n", []seen{{Data: "x"}}},
		"field unknown":    {"foo: bar\ndata: x\n\n", []seen{{Data: "x"}}},
		"empty id is one":  {"id\ndata: x\n\n", []seen{{Data: "x", HasID: true}}},
		"nothing":          {"", nil},
		"data of no value": {"data\n\n", []seen{{}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, r := range []io.Reader{strings.NewReader(tc.in), iotest.OneByteReader(strings.NewReader(tc.in))} {
				got, err := read(r)
				if err != nil {
					t.Fatal(err)
				}
				if d := cmp.Diff(tc.want, got); d != "" {
					t.Error(d)
				}
			}
		})
	}
}

func TestFramesAreBounded(t *testing.T) {
	t.Parallel()
	endless := io.MultiReader(strings.NewReader("data: "), &repeat{b: 'x'})
	if _, err := read(endless); !errors.Is(err, errFrame) {
		t.Errorf("a line without end: %v", err)
	}
	line := "data: " + strings.Repeat("x", 1<<20) + "\n"
	many := strings.Repeat(line, maxFrame>>20+1)
	if _, err := read(strings.NewReader(many)); !errors.Is(err, errFrame) {
		t.Errorf("data without end: %v", err)
	}
}

// repeat is an endless row of one byte.
type repeat struct{ b byte }

func (r *repeat) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = r.b
	}
	return len(p), nil
}

func FuzzFrames(f *testing.F) {
	f.Add([]byte("id: 1\nevent: a\ndata: x\n\n"))
	f.Add([]byte("data: x\r\ndata: y\r\r\n\n"))
	f.Add([]byte(":\n\n\xef\xbb\xbfdata"))
	f.Fuzz(func(t *testing.T, b []byte) {
		whole, err := read(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		// However the bytes are cut into reads, they say the same.
		pieces, err := read(iotest.OneByteReader(bytes.NewReader(b)))
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(whole, pieces); d != "" {
			t.Fatal(d)
		}
	})
}
