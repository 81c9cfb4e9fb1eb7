package swe

import (
	"encoding/json"
	"fmt"
	"path"
	"strconv"
	"strings"
)

// Root is where the repository is in the sandbox.
const Root = "/workspace"

// Decision is one tool call that a trajectory makes, and what is expected of its
// result.
type Decision struct {
	Step    int // of the trajectory; -1: a preparation of the repository
	Thought string
	Tool    string
	Args    json.RawMessage
	Want    Want
}

// Kind says how a result is held against what was recorded.
type Kind string

// Kinds.
const (
	KindOutput   Kind = "output"    // the same text
	KindNames    Kind = "names"     // the same words: columns depend on the terminal
	KindRaised   Kind = "raised"    // the same exception: the words of a traceback depend on the version of Python
	KindLines    Kind = "lines"     // every line of the file that was shown, under its number
	KindRefused  Kind = "refused"   // the same mistakes found by the linter
	KindDone     Kind = "done"      // it was accepted, as it was then; how that is said differs
	KindPatch    Kind = "patch"     // the same difference
	KindHunks    Kind = "hunks"     // the same difference, but for the hashes of files that are known in part
	KindTimedOut Kind = "timed out" // killed because it took too long
	// KindDiffers is not compared: Why says what is different. It has a typed result.
	KindDiffers Kind = "differs"
)

// Want is what is expected of a result.
type Want struct {
	Kind Kind
	Text string // of the observation, with Root for the recorded folder
	Why  string // of KindDiffers
}

// Reasons why a result cannot be as it was recorded.
const (
	NoNetwork = "there is no network in the sandbox"
	NoProgram = "a program of the recorded machine is needed, which may be absent"
	NoPackage = "a Python package of the recorded machine is needed"
	NoBinary  = "the binary was not recorded"
	NotShown  = "the recording does not show what came back"
	Prepared  = "a preparation"
)

// elsewhere are programs whose results depend on what is installed, on the
// network, or on files that were not recorded.
var elsewhere = map[string]string{
	"curl": NoNetwork, "connect_start": NoNetwork, "connect_sendline": NoNetwork, "pip": NoNetwork,
	"tshark": NoProgram, "decompile": NoProgram, "disassemble": NoProgram, "RsaCtfTool.py": NoProgram,
	"strings": NoProgram, "unzip": NoProgram, "file": NoProgram,
}

// Bounds of one command, in seconds. Nothing that is expected to end takes longer
// than a part of one; what is expected to hang is given less.
const (
	patience = 60
	hanging  = 2
)

// commit makes the prepared files a repository whose hashes depend on nothing else.
const commit = `git init -q . && git add -A && git commit -q -m base && git status --short`

// diff is what submit did with a repository.
const diff = `git add -A && git -c core.abbrev=7 diff --cached`

// Decide turns a trajectory into calls of the built-in tools, one for each step,
// in order; for a coding task the first prepares the repository.
func Decide(t *Trajectory) ([]Decision, error) {
	d := &decider{t: t, kind: kindOf(t)}
	var all []Decision
	if d.kind.repository {
		one, err := call(-1, "I put the files under version control.", "bash", bash(commit, patience))
		if err != nil {
			return nil, err
		}
		one.Want = Want{Kind: KindOutput}
		all = append(all, one)
	}
	for i, s := range t.Steps {
		one, err := d.step(i, s)
		if err != nil {
			return nil, fmt.Errorf("swe: %s, step %d: %w", t.Name, i, err)
		}
		all = append(all, one)
	}
	return all, nil
}

// decider knows what the editor knew.
type decider struct {
	t        *Trajectory
	kind     project
	open     string // the file that is open
	from, to int    // the cursors
}

func call(step int, thought, tool string, args map[string]any) (Decision, error) {
	b, err := json.Marshal(args)
	return Decision{Step: step, Thought: thought, Tool: tool, Args: b}, err
}

func bash(command string, seconds int) map[string]any {
	return map[string]any{"command": command, "timeout": seconds}
}

// here puts the repository's place for the recorded folder.
func (d *decider) here(s string) string { return strings.ReplaceAll(s, d.t.Root, Root) }

// within is a path of the recording as one below Root.
func (d *decider) within(p string) string {
	p = d.here(p)
	if !path.IsAbs(p) {
		p = path.Join(Root, p)
	}
	return path.Clean(p)
}

// python runs lines.py.
func (d *decider) python(function string, args ...any) (map[string]any, error) {
	var list []string
	for _, a := range args {
		b, err := json.Marshal(a) // a text, a number or a list of texts in JSON is one in Python
		if err != nil {
			return nil, err
		}
		list = append(list, string(b))
	}
	return map[string]any{"code": fmt.Sprintf("import sys\nsys.path.insert(0, %q)\nimport lines\nlines.%s(%s)\n",
		skillDir, function, strings.Join(list, ", ")), "timeout": patience}, nil
}

func (d *decider) step(i int, s Step) (Decision, error) {
	c, ok := parse(s.Action)
	if !ok {
		return d.shell(i, s)
	}
	seen := d.here(s.Observation)
	w, isWindow := shown(seen)
	arg := func(n int) string {
		if n < len(c.args) {
			return c.args[n]
		}
		return ""
	}
	switch c.name {
	case "open", "set_cursors":
		if c.name == "open" {
			d.open, d.from, d.to = d.within(arg(0)), 1, 1
		} else {
			d.from, _ = strconv.Atoi(arg(0)) // no number: 0, and the edit says so
			d.to, _ = strconv.Atoi(arg(1))
		}
		if !isWindow {
			w = window{from: 1, to: 100}
		}
		one, err := call(i, s.Thought, "read", map[string]any{"path": d.open, "offset": w.from, "limit": w.to - w.from + 1})
		one.Want = Want{Kind: KindLines, Text: seen}
		return one, err
	case "create":
		d.open, d.from, d.to = d.within(arg(0)), 1, 1
		one, err := call(i, s.Thought, "write", map[string]any{"path": d.open, "content": "\n"})
		one.Want = Want{Kind: KindDone, Text: seen}
		return one, err
	case "insert":
		return d.lines(i, s, w, "insert", arg(0))
	case "edit":
		return d.edit(i, s, c, w)
	case "find_file":
		where := Root
		if arg(1) != "" {
			where = d.within(arg(1))
		}
		one, err := call(i, s.Thought, "bash", bash(fmt.Sprintf("find %s -type f -name %s | sort", quote(where), quote(arg(0))), patience))
		_, list, _ := strings.Cut(seen, "\n")
		one.Want = Want{Kind: KindOutput, Text: list}
		return one, err
	default: // submit
		return d.submit(i, s)
	}
}

// lines is an edit by lines.py.
func (d *decider) lines(i int, s Step, w window, function string, args ...any) (Decision, error) {
	code, err := d.python(function, append(append([]any{d.open}, args...), w.from, w.to)...)
	if err != nil {
		return Decision{}, err
	}
	one, err := call(i, s.Thought, "python", code)
	one.Want = Want{Kind: KindLines, Text: d.here(s.Observation)}
	if strings.Contains(s.Observation, "have NOT been applied") {
		one.Want.Kind = KindRefused
	}
	return one, err
}

func (d *decider) edit(i int, s Step, c command, w window) (Decision, error) {
	if c.hasBody {
		from, to := c.from, c.to
		if from == 0 {
			from, to = d.from, d.to
		}
		body := c.body
		if body == nil {
			body = []string{}
		}
		return d.lines(i, s, w, "edit", from, to, body)
	}
	if len(c.args) < 2 {
		return Decision{}, fmt.Errorf("an edit without a range and without two texts: %q", s.Action)
	}
	if strings.Contains(s.Observation, "have NOT been applied") {
		return d.lines(i, s, w, "replace", c.args[0], c.args[1])
	}
	one, err := call(i, s.Thought, "edit", map[string]any{
		"path": d.open, "edits": []map[string]any{{"old_text": c.args[0], "new_text": c.args[1]}},
	})
	one.Want = Want{Kind: KindDone, Text: d.here(s.Observation)}
	return one, err
}

func (d *decider) submit(i int, s Step) (Decision, error) {
	if d.kind.repository {
		one, err := call(i, s.Thought, "bash", bash(diff, patience))
		one.Want = Want{Kind: KindHunks, Text: s.Observation}
		if d.kind.whole {
			one.Want.Kind = KindPatch
		}
		return one, err
	}
	one, err := call(i, s.Thought, "bash", bash(s.Action, patience))
	one.Want = Want{Kind: KindOutput, Text: s.Observation}
	if s.Observation == "" { // newer recordings end before the answer
		one.Want = Want{Kind: KindDiffers, Why: NotShown}
	}
	return one, err
}

// shell is an action that bash executes as it stands.
func (d *decider) shell(i int, s Step) (Decision, error) {
	seconds := patience
	want := Want{Kind: KindOutput, Text: d.here(s.Observation)}
	name, _, _ := strings.Cut(strings.TrimSpace(s.Action), " ")
	switch {
	case elsewhere[name] != "":
		want = Want{Kind: KindDiffers, Why: elsewhere[name]}
	case strings.Contains(s.Observation, "EXECUTION TIMED OUT") && strings.HasPrefix(name, "./"):
		want.Kind, seconds = KindTimedOut, hanging
	case strings.HasPrefix(name, "python") && d.kind.packages:
		want = Want{Kind: KindDiffers, Why: NoPackage}
	case strings.HasPrefix(s.Observation, "Traceback "):
		want.Kind = KindRaised
	case name == "ls":
		want.Kind = KindNames
	}
	one, err := call(i, s.Thought, "bash", bash(d.here(s.Action), seconds))
	one.Want = want
	return one, err
}

// quote makes a word for the shell.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
