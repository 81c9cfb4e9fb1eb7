package cairn

import (
	"fmt"
	"path"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Access is what a tool does with the files of the session.
type Access string

// Kinds of access. Calls that write happen one at a time, in the order the model
// wrote them; calls that read wait for the writing ones before them.
const (
	AccessNone  Access = ""
	AccessRead  Access = "read"
	AccessWrite Access = "write"
)

// Snapshot is a recorded state of the files of a session.
type Snapshot struct {
	// Layer is the number of the topmost layer, from 1; 0: what the session began with.
	Layer int64 `json:"layer"`
	// Tree is the hash of all files: path, kind, mode and content.
	Tree Digest `json:"tree,omitzero"`
	// Dir is the working directory of the next command; empty: the default.
	Dir string `json:"dir,omitzero"`
}

// Changes count what a snapshot changed.
type Changes struct {
	Added    int   `json:"added,omitzero"`
	Modified int   `json:"modified,omitzero"`
	Removed  int   `json:"removed,omitzero"`
	Bytes    int64 `json:"bytes,omitzero"` // of the files added and modified
}

// Snapshotted is a snapshot with what it changed.
type Snapshotted struct {
	Snapshot Snapshot `json:"snapshot"`
	Changes  Changes  `json:"changes,omitzero"`
	// Running are the background commands that were alive when the call ended.
	Running []string `json:"running,omitempty"`
}

// Environment says in what sandbox the agent's commands run. Zero takes the
// default.
type Environment struct {
	// Image is "host" (default): the programs of this machine, read-only; or the name of
	// a root file system that the node has in its directory of images.
	Image string `json:"image,omitzero"`
	// Network lists the hosts that the http tool may reach: "api.example.com",
	// "*.example.com", with ":port" where it is neither 80 nor 443. Default: none. The
	// sandbox itself has no network.
	Network   []string          `json:"network,omitempty"`
	Env       map[string]string `json:"env,omitempty"`       // of commands; no secrets: the model can read it
	CPU       float64           `json:"cpu,omitzero"`        // processors; default 2
	Memory    Bytes             `json:"memory,omitzero"`     // of all processes; default 1Gi
	Disk      Bytes             `json:"disk,omitzero"`       // written by one call; default 2Gi
	Processes int               `json:"processes,omitzero"`  // default 256
	OpenFiles int               `json:"open_files,omitzero"` // of one process; default 1024
	// Idle is how long background commands live without a call; default 10m.
	Idle Duration `json:"idle,omitzero"`
}

// Skill is a folder of instructions and files that the agent reads when it needs
// them. Name and Description stand in its instructions from the start.
type Skill struct {
	Name        string      `json:"name"`
	Description string      `json:"description"`
	Files       []SkillFile `json:"files"` // SKILL.md among them
}

// SkillFile is one file of a skill.
type SkillFile struct {
	Path       string `json:"path"`              // below the skill's folder, with slashes
	Content    []byte `json:"content,omitempty"` // nothing: an empty file
	Executable bool   `json:"executable,omitzero"`
}

// Bounds of skills and environments.
const (
	MaxSkills     = 64
	MaxSkillBytes = 8 << 20 // all files of all skills: published ones with fonts or schemas have up to 5.5 MiB
	maxSkillFiles = 256
	maxSkillPath  = 512 // bytes
	// maxSkillDescription is in bytes. The format says 1,024 characters; published skills
	// have more.
	maxSkillDescription = 4096
	maxNetwork          = 256
	maxEnv              = 128
)

var (
	skillName = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)
	imageName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,62}$`)
	envName   = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,127}$`)
	hostRule  = regexp.MustCompile(`^(\*\.)?[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?(:[0-9]{1,5})?$`)
)

// validateEnvironment reports what is wrong with the environment and the skills.
func (a *Agent) validateEnvironment() error {
	e := a.Environment
	bad := func(path, format string, args ...any) error {
		return &FieldError{Path: path, Problem: fmt.Sprintf(format, args...)}
	}
	if e.Image != "" && !imageName.MatchString(e.Image) {
		return bad("environment.image", "%q: use host, or the name of an image of the node", e.Image)
	}
	if len(e.Network) > maxNetwork {
		return bad("environment.network", "more than %d hosts", maxNetwork)
	}
	for i, h := range e.Network {
		if !hostRule.MatchString(h) {
			return bad(fmt.Sprintf("environment.network[%d]", i), "%q is not a host: write api.example.com, *.example.com or api.example.com:8443", h)
		}
	}
	if len(e.Env) > maxEnv {
		return bad("environment.env", "more than %d variables", maxEnv)
	}
	for name, v := range e.Env {
		if !envName.MatchString(name) || strings.ContainsRune(v, 0) {
			return bad("environment.env", "%q cannot be an environment variable", name)
		}
	}
	if e.CPU < 0 || e.Memory < 0 || e.Disk < 0 || e.Processes < 0 || e.OpenFiles < 0 || e.Idle < 0 {
		return bad("environment", "a limit is negative")
	}
	if e.Memory > 0 && e.Memory < 16<<20 {
		return bad("environment.memory", "%s is less than a shell needs; give at least 16Mi", e.Memory)
	}
	if len(a.Skills) > MaxSkills {
		return bad("skills", "more than %d", MaxSkills)
	}
	seen := map[string]bool{}
	total := 0
	for i, s := range a.Skills {
		at := fmt.Sprintf("skills[%d]", i)
		switch {
		case !skillName.MatchString(s.Name) || len(s.Name) > 64:
			return bad(at+".name", "%q is not the name of a skill: use a-z, 0-9 and single '-', at most 64 characters", s.Name)
		case seen[s.Name]:
			return bad(at+".name", "two skills are called %q", s.Name)
		case s.Description == "" || len(s.Description) > maxSkillDescription:
			return bad(at+".description", "give one, at most %d bytes: it is all the model sees until it reads the skill", maxSkillDescription)
		case len(s.Files) > maxSkillFiles:
			return bad(at+".files", "more than %d", maxSkillFiles)
		}
		seen[s.Name] = true
		files := make(map[string]bool, len(s.Files))
		for _, f := range s.Files {
			if !skillPath(f.Path) {
				return bad(at+".files", "%.80q is not a path below the skill's folder", f.Path)
			}
			if files[f.Path] {
				return bad(at+".files", "%q stands there twice", f.Path)
			}
			files[f.Path] = true
			total += len(f.Content)
		}
		for _, f := range s.Files {
			for dir := path.Dir(f.Path); dir != "."; dir = path.Dir(dir) {
				if files[dir] {
					return bad(at+".files", "%q is a file, and the folder of %q", dir, f.Path)
				}
			}
		}
		if !files["SKILL.md"] {
			return bad(at+".files", "SKILL.md is missing")
		}
	}
	if total > MaxSkillBytes {
		return bad("skills", "the files have %d bytes, more than %d", total, MaxSkillBytes)
	}
	return nil
}

// skillPath says whether a file of a skill may be called so: it is the same in JSON, on
// a terminal and in the sandbox, and stays below the skill's folder.
func skillPath(p string) bool {
	return p != "" && len(p) <= maxSkillPath && path.Clean(p) == p && p != "." && p != ".." && !path.IsAbs(p) && !strings.HasPrefix(p, "../") &&
		utf8.ValidString(p) && !strings.ContainsFunc(p, func(r rune) bool { return unicode.IsControl(r) || r == '\\' || unicode.Is(unicode.Bidi_Control, r) })
}
