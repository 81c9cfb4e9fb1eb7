package wire

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/cairn-run/cairn"
)

type heard struct{ Type, Data string }

// listen reads a stream to its end.
func listen(r io.Reader) (out []heard, err error) {
	for e, err := range Events(r) {
		if err != nil {
			return out, err
		}
		out = append(out, heard{e.Type, string(e.Data)})
	}
	return out, nil
}

func TestEvents(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		in   string
		want []heard
	}{
		"nothing":           {"", nil},
		"LF":                {"data: a\n\ndata: b\n\n", []heard{{"", "a"}, {"", "b"}}},
		"CR":                {"data: a\r\rdata: b\r\r", []heard{{"", "a"}, {"", "b"}}},
		"CRLF":              {"data: a\r\n\r\ndata: b\r\n\r\n", []heard{{"", "a"}, {"", "b"}}},
		"mixed":             {"data: a\r\n\ndata: b\n\r\ndata: c\r\r\n", []heard{{"", "a"}, {"", "b"}, {"", "c"}}},
		"byte order mark":   {"\xef\xbb\xbfdata: a\n\n", []heard{{"", "a"}}},
		"mark in the midst": {"data: a\n\n\xef\xbb\xbfdata: b\n\n", []heard{{"", "a"}}},
		"type":              {"event: ping\ndata: {}\n\ndata: x\n\n", []heard{{"ping", "{}"}, {"", "x"}}},
		"comments":          {": hello\n\n:\ndata: a\n: more\ndata: b\n\n", []heard{{"", "a\nb"}}},
		"id and retry":      {"id: 1\nretry: 5\ndata: a\n\n", []heard{{"", "a"}}},
		"no data":           {"event: ping\n\ndata: a\n\n", []heard{{"", "a"}}},
		"many lines":        {"data: a\ndata:\ndata: b\n\n", []heard{{"", "a\n\nb"}}},
		"one space":         {"data:a\n\ndata:  b\n\n", []heard{{"", "a"}, {"", " b"}}},
		"no colon":          {"data\n\n", []heard{{"", ""}}},
		"colons":            {"data: a: b\n\n", []heard{{"", "a: b"}}},
		"blank lines":       {"\n\n\r\n\rdata: a\n\n\n\n", []heard{{"", "a"}}},
		"no last blank":     {"data: a\n\ndata: b\n", []heard{{"", "a"}, {"", "b"}}},
		"cut in a line":     {"data: a\n\ndata: b", []heard{{"", "a"}}},
		"cut in the second": {"data: a\ndata: b", []heard{{"", "a"}}},
		"unknown field":     {"dat: x\ndata : y\ndata: a\n\n", []heard{{"", "a"}}},
	}
	readers := map[string]func(io.Reader) io.Reader{
		"whole": func(r io.Reader) io.Reader { return r }, "byte by byte": iotest.OneByteReader, "halves": iotest.HalfReader,
		"error with data": iotest.DataErrReader,
	}
	for name, test := range tests {
		for how, reader := range readers {
			t.Run(name+"/"+how, func(t *testing.T) {
				t.Parallel()
				got, err := listen(reader(strings.NewReader(test.in)))
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(test.want, got); diff != "" {
					t.Error(diff)
				}
			})
		}
	}
}

func TestEventsBroken(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	got, err := listen(io.MultiReader(strings.NewReader("data: a\n\ndata: b\n"), iotest.ErrReader(boom)))
	if !errors.Is(err, boom) {
		t.Errorf("ended with %v", err)
	}
	if diff := cmp.Diff([]heard{{"", "a"}}, got); diff != "" { // b may have had more lines
		t.Error(diff)
	}
}

// zeros is an endless line.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = '0'
	}
	return len(p), nil
}

func TestEventsTooLarge(t *testing.T) {
	t.Parallel()
	lines := strings.Repeat("data: "+strings.Repeat("x", 1<<20)+"\n", MaxEvent>>20)
	for name, in := range map[string]io.Reader{
		"line":  io.MultiReader(strings.NewReader("data: "), zeros{}),
		"lines": strings.NewReader(lines + "\n"),
	} {
		got, err := listen(in)
		if cairn.CodeOf(err) != cairn.CodeCut || len(got) > 0 {
			t.Errorf("%s: %d events and %v", name, len(got), err)
		}
	}
	ok, err := listen(strings.NewReader("data: " + strings.Repeat("x", 4<<20) + "\n\n"))
	if err != nil || len(ok) != 1 || len(ok[0].Data) != 4<<20 {
		t.Errorf("%d events and %v", len(ok), err)
	}
}

func TestEventsStop(t *testing.T) {
	t.Parallel()
	n := 0
	for _, err := range Events(strings.NewReader("data: a\n\ndata: b\n\n")) {
		if err != nil {
			t.Error(err)
		}
		n++
		break
	}
	if n != 1 {
		t.Errorf("%d events", n)
	}
}

// TestEventsWritten reads back what was written, however the lines end and the
// bytes arrive.
func TestEventsWritten(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		end := rapid.SampledFrom([]string{"\n", "\r", "\r\n"}).Draw(t, "end")
		want := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) heard {
			return heard{
				rapid.StringMatching(`[a-z_.]{0,8}`).Draw(t, "type"),
				rapid.StringMatching(`[ -~]{0,12}(\n[ -~äß€]{0,12}){0,2}`).Draw(t, "data"),
			}
		}), 0, 5).Draw(t, "events")
		var b strings.Builder
		for _, e := range want {
			if e.Type != "" {
				b.WriteString("event: " + e.Type + end)
			}
			for line := range strings.SplitSeq(e.Data, "\n") {
				b.WriteString("data: " + line + end)
			}
			b.WriteString(end)
		}
		got, err := listen(iotest.OneByteReader(strings.NewReader(b.String())))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, cmp.Transformer("len", func(h []heard) []heard { return append([]heard{}, h...) })); len(want)+len(got) > 0 && diff != "" {
			t.Fatal(diff)
		}
	})
}

func FuzzEvents(f *testing.F) {
	for _, s := range []string{
		"data: a\n\n", "event: x\r\ndata: {}\r\n\r\n", "\xef\xbb\xbfdata: a\r\r", ": c\n\ndata\n\n", "data: a\ndata: b", "\r\n\r\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		whole, err := listen(bytes.NewReader(in))
		if err != nil {
			t.Fatal(err)
		}
		slow, err := listen(iotest.OneByteReader(bytes.NewReader(in)))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(whole, slow); diff != "" {
			t.Error(diff)
		}
		for _, e := range whole {
			if strings.ContainsAny(e.Type, "\r\n") || strings.Contains(e.Data, "\r") {
				t.Errorf("a line end in %q", e)
			}
		}
		// What was cut says no more than the whole, except that its last event may be
		// shorter.
		cut, err := listen(bytes.NewReader(in[:len(in)/2]))
		if err != nil {
			t.Fatal(err)
		}
		if len(cut) > len(whole) {
			t.Errorf("%d events of half, %d of all", len(cut), len(whole))
		}
		for i := range len(cut) - 1 {
			if cut[i] != whole[i] {
				t.Errorf("event %d is %q, and %q in the whole", i, cut[i], whole[i])
			}
		}
	})
}
