package cli

import (
	"strings"
	"time"
)

// glyphs are the signs that a terminal shows.
type glyphs struct {
	ok, bad, ask, unknown, again, step, user, bar string
	done, next, later                             string // of the items of a plan
	spin                                          []string
}

var (
	unicodeGlyphs = glyphs{
		ok: "✓", bad: "✗", ask: "?", unknown: "!", again: "↻", step: "●", user: "›", bar: "│", done: "✓", next: "›", later: "·",
		spin: []string{"⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"},
	}
	plainGlyphs = glyphs{
		ok: "+", bad: "x", ask: "?", unknown: "!", again: "~", step: "*", user: ">", bar: "|", done: "x", next: ">", later: "-",
		spin: []string{"|", "/", "-", `\`},
	}
)

// spinPause is how long a sign of the spinner stands.
const spinPause = 120 * time.Millisecond

// spinner is the sign of this moment.
func (g glyphs) spinner(now time.Time) string {
	return g.spin[int(now.UnixMilli()/spinPause.Milliseconds())%len(g.spin)]
}

// glyphsOf chooses by what the environment says of the terminal: the console of
// Linux has few signs, and a locale that names another character set has none. A
// locale that is not set says nothing: a bare container is watched from a terminal
// that can.
func glyphsOf(getenv func(string) string) glyphs {
	if getenv("TERM") == "linux" {
		return plainGlyphs
	}
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if v := strings.ToLower(getenv(name)); v != "" {
			if strings.Contains(v, "utf-8") || strings.Contains(v, "utf8") {
				return unicodeGlyphs
			}
			return plainGlyphs
		}
	}
	return unicodeGlyphs
}
