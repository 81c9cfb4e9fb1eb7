package cli_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cairn-run/cairn/internal/cli"
)

// completed is what a shell is offered for a command line, each without its note.
func completed(t *testing.T, data string, line ...string) []string {
	t.Helper()
	env := outside(func(name string) string { return map[string]string{"CAIRN_DATA": data}[name] }, append([]string{"__complete"}, line...)...)
	var out, errs bytes.Buffer
	env.Stdout, env.Stderr = &out, &errs
	if code := cli.Run(context.Background(), env); code != 0 {
		t.Fatalf("%v: code %d\n%s%s", line, code, out.Bytes(), errs.Bytes())
	}
	var offered []string
	for l := range strings.Lines(out.String()) {
		if l = strings.TrimSpace(l); !strings.HasPrefix(l, ":") {
			value, _, _ := strings.Cut(l, "\t")
			offered = append(offered, value)
		}
	}
	return offered
}

// TestCompletion completes commands and arguments from what is there, and is silent
// when nothing is.
func TestCompletion(t *testing.T) {
	t.Parallel()
	desk := written(t, map[string]string{
		"desk.md": "---\nname: desk\nmodel: script/desk\n---\n", "desk.yaml": "default: {text: Yes.}\n",
	})
	data := filepath.Join(t.TempDir(), "d")
	if got := completed(t, data, "attach", ""); len(got) != 1 || got[0] != "last" {
		t.Errorf("without a data directory: %v", got)
	}
	if _, err := os.Stat(data); !os.IsNotExist(err) {
		t.Errorf("a completion made the data directory: %v", err)
	}
	if code, _, errs := ran(t, data, "", "run", filepath.Join(desk, "desk.md"), "-i", "hi", "-q", "--title", "\x1b[2J$(reboot)\u202e"); code != 0 {
		t.Fatal(errs)
	}
	ses := func(got []string) bool {
		return len(got) == 2 && strings.HasPrefix(got[0], "ses_") && got[1] == "last"
	}
	is := func(want ...string) func([]string) bool {
		return func(got []string) bool { return strings.Join(got, " ") == strings.Join(want, " ") }
	}
	for line, ok := range map[string]func([]string) bool{
		"attach ":                     ses,
		"send ":                       ses,
		"attach la":                   is("last"),
		"attach x":                    is(),
		"usage ":                      ses,
		"ps --agent ":                 is("desk"),
		"ps --status co":              is("completed"),
		"asks --status answ":          is("answered"),
		"asks --session ses":          func(got []string) bool { return len(got) == 1 },
		"approve ask_":                is(),
		"agents ":                     func(got []string) bool { return strings.Contains(strings.Join(got, " "), "desk") },
		"agents show ":                is("desk"),
		"agents history d":            is("desk"),
		"run de":                      is("desk"),
		"logs last --type session.id": is("session.idle"),
		"keys ":                       is("list", "set", "rm"),
		"keys set OPENAI_":            is("OPENAI_API_KEY"),
		"keys list ":                  is(),
		"models anthr":                is("anthropic"),
		"completion f":                is("fish"),
		"app":                         is("apply", "approve"),
		"serve --log-level d":         is("debug"),
		"version ":                    is(),
		"send last hi x":              is(),
	} {
		if got := completed(t, data, strings.Split(line, " ")...); !ok(got) {
			t.Errorf("%q: %v", line, got)
		}
	}
	// What cannot be had is not offered, and nobody hears of it.
	if err := os.WriteFile(filepath.Join(data, "cairn.db"), []byte("no store"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := completed(t, data, "attach", ""); len(got) != 1 || got[0] != "last" {
		t.Errorf("with a broken store: %v", got)
	}
	if got := completed(t, data, "--server", "http://127.0.0.1:1", "attach", ""); len(got) != 1 || got[0] != "last" {
		t.Errorf("without the server: %v", got)
	}
}

// TestCompletionScripts: each shell has a script that asks cairn.
func TestCompletionScripts(t *testing.T) {
	t.Parallel()
	data := filepath.Join(t.TempDir(), "d")
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		if code, out, errs := ran(t, data, "", "completion", shell); code != 0 || !strings.Contains(out, "__complete") {
			t.Errorf("%s: code %d\n%s", shell, code, errs)
		}
	}
	if code, _, errs := ran(t, data, "", "completion", "tcsh"); code != cli.ExitUsage || !strings.Contains(errs, `invalid argument "tcsh"`) {
		t.Errorf("tcsh: code %d\n%s", code, errs)
	}
}

// TestUnknownCommand: a command that nearly is one is suggested.
func TestUnknownCommand(t *testing.T) {
	t.Parallel()
	data := filepath.Join(t.TempDir(), "d")
	for typed, want := range map[string]string{"shwo": "show", "aply": "apply", "log": "logs", "doctr": "doctor", "sessions mvoe": "move"} {
		if code, _, errs := ran(t, data, "", strings.Fields(typed)...); code != cli.ExitUsage || !strings.Contains(errs, "Did you mean this?\n\t"+want) {
			t.Errorf("%s: code %d\n%s", typed, code, errs)
		}
	}
}
