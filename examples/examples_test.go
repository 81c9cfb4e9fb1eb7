// Package examples_test holds what all examples must keep to.
package examples_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/internal/config"
	"github.com/cairn-run/cairn/model/script"
	"github.com/cairn-run/cairn/tool"
	"github.com/cairn-run/cairn/tool/builtin"
	toolhttp "github.com/cairn-run/cairn/tool/http"
)

// played are the examples whose agent runs on a script beside it: agent file, and
// the calls that its policy denies or asks for.
var played = map[string][]string{
	"coding-agent/coder.md":     {"bash deny", "bash ask"},
	"data-pipeline/pipeline.md": nil,
	"incident/incident.md":      {"restart deny", "restart ask"},
	"research/research.md":      nil,
	"support-desk/support.md":   {"export_customers deny"},
}

// TestFilesFit reads every agent and its script: the script calls only tools that the
// agent has, with arguments that fit their schemas, and the policy says of them what
// the example is there to show.
func TestFilesFit(t *testing.T) {
	t.Parallel()
	catalog := tool.New(tool.Options{HTTP: toolhttp.New(), Builtin: builtin.Tools()})
	for path, want := range played {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			file, err := config.ReadAgent(path)
			if err != nil {
				t.Fatal(err)
			}
			a := file.Agent
			if err := a.Validate(); err != nil {
				t.Fatal(err)
			}
			if err := catalog.Validate(a); err != nil {
				t.Fatal(err)
			}
			tools := catalog.Tools(a, nil)
			s := readScript(t, path, a.Model)
			shown := map[string]bool{}
			for i, r := range s.Replies {
				for _, c := range r.Calls {
					args, err := json.Marshal(c.Args)
					if err != nil {
						t.Fatal(err)
					}
					if templated(string(args)) {
						continue // what it sends is known when it runs
					}
					check := catalog.Check(a, tools, cairn.SessionKey{}, c.Tool, string(args))
					if check.Error != nil {
						t.Errorf("reply %d: %s %s: %v", i, c.Tool, args, check.Error)
					}
					shown[fmt.Sprintf("%s %s", c.Tool, check.Verdict)] = true
				}
			}
			for _, w := range want {
				if !shown[w] {
					t.Errorf("no call shows %q: %v", w, shown)
				}
			}
		})
	}
}

func templated(s string) bool { return strings.Contains(s, "{{") }

func readScript(t *testing.T, agent, model string) *script.Script {
	t.Helper()
	name, ok := strings.CutPrefix(model, "script/")
	if !ok {
		t.Fatalf("%s runs on %s: the examples run without a key", agent, model)
	}
	path := filepath.Join(filepath.Dir(agent), "scripts", name+".yaml")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	s, err := script.Parse(path, text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestEachSaysHowToRun: a folder of an example has a README with a command.
func TestEachSaysHowToRun(t *testing.T) {
	t.Parallel()
	for path := range played {
		dir := filepath.Dir(path)
		text, err := os.ReadFile(filepath.Join(dir, "README.md"))
		if err != nil {
			t.Error(err)
			continue
		}
		if !strings.Contains(string(text), "go run ./examples/"+dir) && !strings.Contains(string(text), "make demo") {
			t.Errorf("%s/README.md does not say how to run it", dir)
		}
	}
}
