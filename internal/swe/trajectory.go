package swe

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Trajectory is one recorded session.
type Trajectory struct {
	// Name is unique among those of a folder: a-z, 0-9 and '-'.
	Name string
	// Task is what the model was asked to do.
	Task string
	// Root is the folder it worked in when it was recorded.
	Root  string
	Steps []Step
}

// Step is one action with what came of it.
type Step struct {
	Thought     string // why
	Action      string // as it was sent to the shell
	Observation string // what came back, with \n as the end of a line
}

// maxFile bounds a recorded file, in bytes.
const maxFile = 4 << 20

// Load reads all trajectories (*.traj) below a folder, in the order of their paths.
func Load(dir string) ([]Trajectory, error) {
	var all []Trajectory
	seen := map[string]bool{}
	err := filepath.WalkDir(dir, func(p string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || filepath.Ext(p) != ".traj" {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		if info.Size() > maxFile {
			return fmt.Errorf("swe: %s has %d bytes, more than %d", p, info.Size(), maxFile)
		}
		b, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		t, err := Decode(b)
		if err != nil {
			return fmt.Errorf("%s: %w", p, err)
		}
		t.Name = nameOf(filepath.ToSlash(p))
		if seen[t.Name] {
			return fmt.Errorf("swe: two trajectories are called %s", t.Name)
		}
		seen[t.Name] = true
		all = append(all, *t)
		return nil
	})
	return all, err
}

var notName = regexp.MustCompile(`[^a-z0-9]+`)

// nameOf makes a name from the path of a recording: its own, and for those of one
// task that was recorded in many ways the way.
func nameOf(p string) string {
	name := strings.TrimSuffix(path.Base(p), ".traj")
	if way := strings.Split(path.Base(path.Dir(p)), "__"); way[0] == "replay" && len(way) > 3 {
		name = way[2] + "-" + way[3]
	}
	return strings.Trim(notName.ReplaceAllString(strings.ToLower(name), "-"), "-")
}

// file is the form of a recording. Older ones have the trajectory beside the
// history, demonstrations sometimes the history only.
type file struct {
	Trajectory []struct {
		Action      string `json:"action"`
		Observation string `json:"observation"`
		Thought     string `json:"thought"`
		State       state  `json:"state"`
	} `json:"trajectory"`
	History []entry `json:"history"`
}

type entry struct {
	Role    string  `json:"role"`
	Content content `json:"content"`
	Action  string  `json:"action"`
	Thought string  `json:"thought"`
	IsDemo  bool    `json:"is_demo"`
}

// state is what SWE-agent knew of its shell: an object, or that as a text.
type state struct {
	Dir string `json:"working_dir"`
}

// UnmarshalJSON implements [json.Unmarshaler].
func (s *state) UnmarshalJSON(b []byte) error {
	var text string
	if err := json.Unmarshal(b, &text); err == nil {
		if strings.TrimSpace(text) == "" {
			return nil
		}
		b = []byte(text)
	}
	type plain state
	return json.Unmarshal(b, (*plain)(s))
}

// content is a text, or a list of parts with texts.
type content string

// UnmarshalJSON implements [json.Unmarshaler].
func (c *content) UnmarshalJSON(b []byte) error {
	var text string
	if err := json.Unmarshal(b, &text); err == nil {
		*c = content(text)
		return nil
	}
	var parts []struct {
		Text string `json:"text"`
	}
	if err := json.Unmarshal(b, &parts); err != nil {
		return err
	}
	for _, p := range parts {
		*c += content(p.Text)
	}
	return nil
}

// Decode reads one recording.
func Decode(b []byte) (*Trajectory, error) {
	var f file
	if err := json.Unmarshal(b, &f); err != nil {
		return nil, fmt.Errorf("swe: %w", err)
	}
	t := &Trajectory{}
	for _, h := range f.History {
		if h.Role == "user" && !h.IsDemo {
			t.Task = lines(string(h.Content))
			break
		}
	}
	for _, s := range f.Trajectory {
		t.Root = first(t.Root, s.State.Dir)
		t.Steps = append(t.Steps, Step{
			Thought: strings.TrimSpace(s.Thought), Action: strings.TrimRight(s.Action, "\n"), Observation: lines(s.Observation),
		})
	}
	if len(t.Steps) == 0 {
		t.fromHistory(f.History)
	}
	if len(t.Steps) == 0 {
		return nil, errors.New("swe: no step is recorded")
	}
	if !path.IsAbs(t.Root) || path.Clean(t.Root) == "/" {
		return nil, fmt.Errorf("swe: the working directory %q is no absolute path", t.Root)
	}
	t.Root = path.Clean(t.Root)
	return t, nil
}

// prompt is what the shell showed after an observation.
var prompt = regexp.MustCompile(`\n?\(Open file: [^\n]*\)\n\(Current directory: ([^\n]*)\)\nbash-\$\s*$`)

func (t *Trajectory) fromHistory(history []entry) {
	for i, h := range history {
		if h.Role != "assistant" || h.Action == "" {
			continue
		}
		s := Step{Thought: strings.TrimSpace(h.Thought), Action: strings.TrimRight(h.Action, "\n")}
		if i+1 < len(history) && slices.Contains([]string{"tool", "user"}, history[i+1].Role) {
			s.Observation = lines(string(history[i+1].Content))
			if m := prompt.FindStringSubmatchIndex(s.Observation); m != nil {
				t.Root = first(t.Root, s.Observation[m[2]:m[3]])
				s.Observation = s.Observation[:m[0]]
			}
		}
		t.Steps = append(t.Steps, s)
	}
}

func first(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// lines ends lines as Unix does: newer recordings are of a terminal.
func lines(s string) string { return strings.ReplaceAll(s, "\r\n", "\n") }
