package tool_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/tool"
)

func TestCapture(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		maximum := rapid.IntRange(1, 600).Draw(t, "maximum")
		pieces := rapid.SliceOfN(rapid.StringOfN(rapid.RuneFrom([]rune("aä漢😀")), 0, 300, -1), 0, 8).Draw(t, "pieces")
		whole := strings.Join(pieces, "")
		c := tool.NewCapture(int64(maximum))
		for _, p := range pieces {
			if n, err := io.WriteString(c, p); n != len(p) || err != nil {
				t.Fatalf("wrote %d of %d: %v", n, len(p), err)
			}
		}
		got, cut := c.Bytes()
		if c.Total() != int64(len(whole)) || len(got) > maximum || !utf8.Valid(got) {
			t.Fatalf("total %d of %d, kept %d of at most %d: %q", c.Total(), len(whole), len(got), maximum, got)
		}
		if len(whole) <= maximum {
			if cut != 0 || string(got) != whole {
				t.Fatalf("cut %d of what fits", cut)
			}
			return
		}
		marker := fmt.Sprintf("\n[… %d bytes cut out here …]\n", cut)
		head, tail, marked := bytes.Cut(got, []byte(marker))
		if !marked {
			if int64(len(got))+cut != int64(len(whole)) {
				t.Fatalf("%d kept, %d cut of %d", len(got), cut, len(whole))
			}
			return
		}
		if !strings.HasPrefix(whole, string(head)) || !strings.HasSuffix(whole, string(tail)) || int64(len(head)+len(tail))+cut != int64(len(whole)) {
			t.Fatalf("head %q, tail %q, cut %d of %q", head, tail, cut, whole)
		}
	})
}

func TestOutputIsCapped(t *testing.T) {
	t.Parallel()
	big := `{"list":["` + strings.Repeat("ä", 5000) + `"]}`
	for name, test := range map[string]struct {
		media, body string
		check       func(*cairn.ToolResult) bool
	}{
		"text": {"text/plain", big, func(r *cairn.ToolResult) bool {
			s := cairn.TextOf(r.Content)
			return r.Truncated > 0 && len(s) <= 1000 && strings.HasPrefix(s, `{"list"`) && strings.HasSuffix(s, `"]}`) && strings.Contains(s, "bytes cut out here")
		}},
		"json": {"application/json", big, func(r *cairn.ToolResult) bool { return r.Structured == nil && r.Truncated > 0 }},
		"image": {"image/png", big, func(r *cairn.ToolResult) bool {
			return r.Truncated == int64(len(big)) && strings.Contains(cairn.TextOf(r.Content), "image/png")
		}},
		"small": {"application/json", `{"b":1,"a":[1.0]}`, func(r *cairn.ToolResult) bool {
			return r.Truncated == 0 && string(r.Structured) == `{"a":[1],"b":1}` && cairn.TextOf(r.Content) == `{"b":1,"a":[1.0]}`
		}},
		"not UTF-8": {"text/plain", "a\xffb", func(r *cairn.ToolResult) bool { return cairn.TextOf(r.Content) == "a\uFFFDb" }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", test.media)
				_, _ = io.WriteString(w, test.body)
			}))
			t.Cleanup(s.Close)
			a := &cairn.Agent{
				Name: "x", Tools: []cairn.ToolSource{{HTTP: &cairn.HTTPTool{Name: "go", URL: s.URL}}},
				Effects: map[string]*cairn.EffectDecl{"go": {MaxOutput: 1000}},
			}
			r, err := newCatalog(t).Call(t.Context(), session, a, &cairn.ToolEffect{Tool: "go", Class: cairn.ClassRead, Args: json.RawMessage(`{}`)}, "eff_1", 1, tool.Watch{})
			if err != nil {
				t.Fatal(err)
			}
			if !test.check(r) {
				t.Errorf("%d bytes of text, structured %s, truncated %d", len(cairn.TextOf(r.Content)), r.Structured, r.Truncated)
			}
		})
	}
}

func FuzzTemplate(f *testing.F) {
	f.Add("refund:{charge_id}", `{"charge_id":"ch_1"}`)
	f.Add("{a.b}-{c}", `{"a":{"b":1},"c":null}`)
	f.Fuzz(func(t *testing.T, s, args string) {
		template, err := tool.ParseTemplate(s)
		if err != nil {
			return
		}
		if !strings.ContainsAny(s, "{}") != (len(template.Names()) == 0) {
			t.Fatalf("%q has the names %q", s, template.Names())
		}
		var object map[string]any
		if json.Unmarshal([]byte(args), &object) != nil {
			return
		}
		out, err := template.Render(object, func(string) string { return "" })
		if err == nil && len(out) > len(s) {
			t.Fatalf("%q became %q", s, out)
		}
	})
}

func FuzzCheck(f *testing.F) {
	c, a := newCatalog(f), desk("https://api.example.com")
	tools := c.Static(a)
	f.Add("refund", `{"charge_id":"ch_1","amount":5}`)
	f.Add("plan", `{"steps":[{"title":"a","status":"done"}]}`)
	f.Fuzz(func(t *testing.T, name, args string) {
		check := c.Check(a, tools, session, name, args)
		if check.Error != nil {
			return
		}
		again := c.Check(a, tools, session, name, string(check.Args))
		if again.Error != nil || again.Digest != check.Digest || again.Verdict != check.Verdict || again.Key != check.Key {
			t.Fatalf("%s\nthe canonical arguments give %+v, not %+v", args, again, check)
		}
	})
}
