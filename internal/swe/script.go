package swe

import (
	"bytes"
	"embed"
	"encoding/json"
	"io/fs"
	"path"
	"strings"

	"github.com/cairn-run/cairn"
)

//go:embed skill
var skill embed.FS

const (
	skillName = "swe-agent"
	skillDir  = "/skills/" + skillName
)

// Agent is the definition a trajectory runs with; its model is a script of the
// trajectory's name.
func Agent(t *Trajectory) (*cairn.Agent, error) {
	s := cairn.Skill{Name: skillName, Description: "The line editor and the commands that the recorded trajectories expect."}
	err := fs.WalkDir(skill, "skill", func(p string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := skill.ReadFile(p)
		s.Files = append(s.Files, cairn.SkillFile{
			Path: strings.TrimPrefix(p, "skill/"), Content: b, Executable: path.Base(path.Dir(p)) == "bin",
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	a := &cairn.Agent{
		Name: t.Name, Model: "script/" + t.Name, Instructions: "Solve the task with the tools.",
		Tools:  []cairn.ToolSource{{Builtin: []string{"read", "write", "edit", "list", "search", "bash", "python"}}},
		Skills: []cairn.Skill{s},
		Environment: cairn.Environment{Env: map[string]string{
			"PATH": skillDir + "/bin:/usr/local/bin:/usr/bin:/bin",
			// The recorded machine had the package of the repository installed.
			"PYTHONPATH": Root + "/src",
			// Python caches by the time of files, which a repeated call need not have in common with the lost one.
			"PYTHONDONTWRITEBYTECODE": "1",
			// Nothing is reached; it need not be tried for long.
			"PIP_RETRIES": "0", "PIP_DEFAULT_TIMEOUT": "2", "PIP_DISABLE_PIP_VERSION_CHECK": "1",
			"FLAG": t.flag(),
			// A commit is the same whenever it is made.
			"GIT_AUTHOR_NAME": "swe", "GIT_AUTHOR_EMAIL": "swe@example.com", "GIT_AUTHOR_DATE": "@0 +0000",
			"GIT_COMMITTER_NAME": "swe", "GIT_COMMITTER_EMAIL": "swe@example.com", "GIT_COMMITTER_DATE": "@0 +0000",
		}},
	}
	return a, a.Validate()
}

// flag is what a challenge asks for: the flag of the last submission.
func (t *Trajectory) flag() string {
	last := t.Steps[len(t.Steps)-1]
	c, ok := parse(last.Action)
	if !ok || c.name != "submit" || len(c.args) == 0 {
		return ""
	}
	return strings.Join(c.args, " ")
}

// Script is the trajectory as a file of the script model: a reply with one call for
// each decision, and a last one without. It is JSON, which the script model reads
// as YAML.
func Script(decisions []Decision) ([]byte, error) {
	type call struct {
		Tool string `json:"tool"`
		Args string `json:"args"`
	}
	type reply struct {
		Text     string `json:"text,omitempty"`
		Verbatim bool   `json:"verbatim"`
		Calls    []call `json:"calls,omitempty"`
	}
	script := struct {
		Window  int64   `json:"window"`
		Replies []reply `json:"replies"`
	}{Window: 2_000_000}
	for _, d := range decisions {
		script.Replies = append(script.Replies, reply{Text: d.Thought, Verbatim: true, Calls: []call{{d.Tool, string(d.Args)}}})
	}
	script.Replies = append(script.Replies, reply{Text: "It is submitted.", Verbatim: true})
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	err := e.Encode(script)
	return b.Bytes(), err
}
