package builtin_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/tool"
)

// TestHTTPBodies: what a host answers is read within bounds, whatever it becomes when it
// is unpacked, and what is said of it is what was read.
func TestHTTPBodies(t *testing.T) {
	t.Parallel()
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	for range 1 << 10 {
		if _, err := z.Write(make([]byte, 1<<20)); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	base, host := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset="+r.URL.Query().Get("charset"))
		switch r.URL.Path {
		case "/bomb":
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write(bomb.Bytes())
		case "/exact":
			_, _ = w.Write(bytes.Repeat([]byte("e"), 8<<20))
		case "/windows":
			_, _ = w.Write([]byte("\x93caf\xe9\x94 \x80"))
		case "/japanese":
			_, _ = w.Write([]byte("\x82\xb1\x82\xf1"))
		case "/head":
			for i := range 2000 {
				w.Header().Set(fmt.Sprint("X-", i), strings.Repeat("h", 500))
			}
		}
	})
	c := newClient(t, host)
	for path, want := range map[string]string{
		"/windows?charset=iso-8859-1": "\n\n“café” €",
		"/japanese?charset=Shift_JIS": "\nnot valid UTF-8: the bytes shown as \ufffd are others; the answer says that it is \"Shift_JIS\", which is not read here\n\n",
		"/japanese?charset=utf-8":     "\nnot valid UTF-8: the bytes shown as \ufffd are others\n\n",
		"/bomb":                       "the answer is no text",
	} {
		if got, isError := c.text(object{"url": base + path}); isError || !strings.Contains(got, want) {
			t.Errorf("%s: %q", path, got)
		}
	}
	for path, cut := range map[string]bool{"/bomb": true, "/exact": false} {
		r, err := c.call(object{"url": base + path})
		if err != nil {
			t.Fatal(err)
		}
		var f struct{ Bytes int64 }
		if err := json.Unmarshal(r.Structured, &f); err != nil || f.Bytes != 8<<20 || strings.Contains(cairn.TextOf(r.Content), "only the first") != cut {
			t.Errorf("%s: %d bytes, %v", path, f.Bytes, err)
		}
	}
	if _, err := c.call(object{"url": base + "/head"}); err == nil {
		t.Error("a megabyte of headers was read")
	}
}

// TestHTTPDrips: a host that never ends its answer takes no longer than the call may.
func TestHTTPDrips(t *testing.T) {
	t.Parallel()
	base, host := serve(t, func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			if _, err := w.Write([]byte(".")); err != nil {
				return
			}
			w.(http.Flusher).Flush()
			select {
			case <-r.Context().Done():
			case <-time.After(5 * time.Millisecond): // as slow hosts do
			}
		}
	})
	c := newClient(t, host)
	args, err := json.Marshal(object{"url": base})
	if err != nil {
		t.Fatal(err)
	}
	key := cairn.SessionKey{Tenant: "acme", ID: "ses_1"}
	_, err = c.catalog.Call(t.Context(), key, c.agent, &cairn.ToolEffect{Tool: "http", Args: args, Class: cairn.ClassRead, Timeout: cairn.Duration(100 * time.Millisecond)}, "eff_1", 1, tool.Watch{})
	if cairn.CodeOf(err) != cairn.CodeTimeout {
		t.Error(err)
	}
}
