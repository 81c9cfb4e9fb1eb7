package mcp

import (
	"bytes"
	"io"
	"log/slog"
	"os"
	"strings"
	"testing"
)

// TestStderrHoldsNoSecrets: no part of a secret that is long enough to be of use is logged, wherever a
// server writes it: across the end of what is read at once, on several lines, or where
// one secret begins like another.
func TestStderrHoldsNoSecrets(t *testing.T) {
	t.Parallel()
	secrets := []string{"sk-live", "sk-live-0123456789abcdef", "-----KEY\nMIIEvQIBADANBg\nqhkiG9w0BAQEF\n-----END"}
	for name, text := range map[string]string{
		"plain":       "token sk-live-0123456789abcdef here\n",
		"several":     "key: " + secrets[2] + "\n",
		"no line end": "sk-live-0123456789abcdef",
		"many":        strings.Repeat("sk-live-0123456789abcdef", 500) + "\n",
	} {
		texts := []string{text}
		for cut := maxStderrLine - 40; cut <= maxStderrLine+40 && name == "plain"; cut++ {
			texts = append(texts, strings.Repeat("x", cut)+text, strings.Repeat("x", 2*cut)+text)
		}
		for _, text := range texts {
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			go func() {
				_, _ = io.WriteString(w, text)
				_ = w.Close()
			}()
			var log bytes.Buffer
			logStderr(r, slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})), secrets)
			for _, part := range []string{"sk-l", "live-0", "2345", "cdef", "MIIE", "ADANBg", "BAQEF"} {
				if strings.Contains(log.String(), part) {
					t.Errorf("%s, %d bytes: %q is in the log", name, len(text), part)
				}
			}
			if !strings.Contains(log.String(), "redacted") && len(text) < maxStderrLine {
				t.Errorf("%s: %s", name, log.String())
			}
		}
	}
}
