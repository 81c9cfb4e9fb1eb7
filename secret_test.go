package cairn_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/cairn-run/cairn"
)

// TestSecret: no way of printing a secret gives it away.
func TestSecret(t *testing.T) {
	t.Parallel()
	s := cairn.NewSecret("sk-live-1234567890")
	var out strings.Builder
	log := slog.New(slog.NewJSONHandler(&out, nil))
	log.Info("a call", "key", s, "in", struct{ Key cairn.Secret }{s}, "at", &s)
	slog.New(slog.NewTextHandler(&out, nil)).Info("a call", "key", s, "in", struct{ Key cairn.Secret }{s})
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%T"} {
		fmt.Fprintf(&out, verb+"\n", s)
		fmt.Fprintf(&out, verb+"\n", &s)
		fmt.Fprintf(&out, verb+"\n", struct{ Key cairn.Secret }{s})
		fmt.Fprintf(&out, verb+"\n", []cairn.Secret{s})
		fmt.Fprintf(&out, verb+"\n", struct{ key cairn.Secret }{s})
		fmt.Fprintf(&out, verb+"\n", &struct{ key map[string]cairn.Secret }{map[string]cairn.Secret{"k": s}})
	}
	b, err := json.Marshal(map[string]any{"a": s, "b": &s, "c": []cairn.Secret{s}})
	if err != nil {
		t.Fatal(err)
	}
	out.Write(b)
	if text := out.String(); strings.Contains(text, "live") || strings.Contains(text, "736b2d6c697665") || !strings.Contains(text, cairn.Redacted) {
		t.Errorf("it shows:\n%s", text)
	}
	if s.Reveal() != "sk-live-1234567890" || s.Empty() || !cairn.NewSecret("").Empty() {
		t.Error("it cannot be used")
	}
}
