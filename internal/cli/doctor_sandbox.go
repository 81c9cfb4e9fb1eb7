package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/cairn-run/cairn/sandbox"
)

// probeSandboxTime bounds the attempts at what the sandbox needs.
const probeSandboxTime = 30 * time.Second

// isolationNone is that of the driver that isolates nothing.
const isolationNone = "none"

// sandboxReport is what doctor prints of the sandbox with --json.
type sandboxReport struct {
	Driver    string                         `json:"driver"`
	Usable    bool                           `json:"usable"`
	Why       string                         `json:"why,omitzero"`
	Fix       string                         `json:"fix,omitzero"`
	Isolation string                         `json:"isolation,omitzero"`
	Rootless  bool                           `json:"rootless"`
	Overlay   bool                           `json:"overlay"`
	Seccomp   bool                           `json:"seccomp"`
	Landlock  int                            `json:"landlock"` // ABI; 0: not there
	Cgroup    string                         `json:"cgroup,omitzero"`
	Limits    map[string]sandbox.Enforcement `json:"limits,omitempty"`
	MaxLayers int                            `json:"max_layers,omitzero"`
	// Programs are those that tools need, and where the image host has them; empty: it
	// has not.
	Programs map[string]string `json:"programs"`
}

// checkSandbox tries what the sandbox of commands can do on this machine. Nil: this
// command cannot tell.
func (a *app) checkSandbox(ctx context.Context) ([]finding, *sandboxReport) {
	if a.Sandbox == nil {
		return nil, nil
	}
	caps, name, err := a.probeSandbox(ctx)
	if err != nil {
		return []finding{{"sandbox", broken, "cannot be tried: " + message(err), ""}}, nil
	}
	report := newSandboxReport(name, caps)
	return report.findings(), report
}

func newSandboxReport(name string, caps sandbox.Caps) *sandboxReport {
	return &sandboxReport{
		Driver: name, Usable: caps.Usable, Why: caps.Why, Fix: caps.Fix, Isolation: caps.Isolation, Rootless: caps.Rootless, Overlay: caps.Overlay,
		Seccomp: caps.Seccomp, Landlock: caps.Landlock, Cgroup: caps.Cgroup, Limits: caps.Limits, MaxLayers: caps.MaxLayers,
		Programs: hostPrograms("/"),
	}
}

func (a *app) probeSandbox(ctx context.Context) (caps sandbox.Caps, name string, err error) {
	dir, err := os.MkdirTemp("", "cairn-doctor-*")
	if err != nil {
		return caps, "", err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	d, err := a.Sandbox(dir)
	if err != nil {
		return caps, "", err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	ctx, cancel := context.WithTimeout(ctx, probeSandboxTime)
	defer cancel()
	caps = d.Probe(ctx)
	return caps, d.Name(), ctx.Err()
}

// findings say what a person should know of the sandbox.
func (r *sandboxReport) findings() []finding {
	if !r.Usable {
		advice := "agents whose tools run commands do not start here"
		if r.Fix != "" {
			advice = r.Fix + " (until then " + advice + ")"
		}
		return []finding{{"sandbox", warning, fmt.Sprintf("%s cannot be used: %s", r.Driver, r.Why), advice}, r.programs()}
	}
	if r.Isolation == isolationNone {
		return []finding{{"sandbox", warning, r.Driver + ": commands run as this user, with nothing around them", "use it for agents you would give a shell to"}, r.limits(), r.programs()}
	}
	who := "as root"
	if r.Rootless {
		who = "rootless"
	}
	parts := []string{r.Driver, who}
	var missing []string
	for _, part := range []struct {
		what string
		have bool
	}{{"overlay", r.Overlay}, {"seccomp", r.Seccomp}, {"Landlock", r.Landlock > 0}} {
		switch {
		case !part.have:
			missing = append(missing, part.what)
		case part.what == "Landlock":
			parts = append(parts, fmt.Sprintf("Landlock ABI %d", r.Landlock))
		default:
			parts = append(parts, part.what)
		}
	}
	if r.Cgroup != "" {
		parts = append(parts, "cgroup "+r.Cgroup)
	} else {
		missing = append(missing, "cgroups")
	}
	f := finding{"sandbox", healthy, strings.Join(parts, ", "), ""}
	if len(missing) > 0 {
		f.Found += "; without " + strings.Join(missing, ", ")
		f.Advice = r.Fix
	}
	if !r.Seccomp {
		f.Health = warning
		if f.Advice == "" {
			f.Advice = "system calls are not filtered: use a kernel with CONFIG_SECCOMP_FILTER"
		}
	}
	return []finding{f, r.limits(), r.programs()}
}

// limits says who holds each limit.
func (r *sandboxReport) limits() finding {
	by := map[sandbox.Enforcement][]string{}
	for _, name := range slices.Sorted(maps.Keys(r.Limits)) {
		by[r.Limits[name]] = append(by[r.Limits[name]], name)
	}
	var parts []string
	for _, e := range []sandbox.Enforcement{sandbox.ByCgroup, sandbox.ByRlimit, sandbox.ByWatcher, sandbox.ByNothing} {
		if names := by[e]; len(names) > 0 {
			who := "by " + string(e) + ": "
			if e == sandbox.ByNothing {
				who = "by nothing: "
			}
			parts = append(parts, who+strings.Join(names, ", "))
		}
	}
	f := finding{"limits", healthy, strings.Join(parts, "; "), ""}
	if len(parts) == 0 {
		f.Found = "none are held"
	}
	if len(parts) == 0 || len(by[sandbox.ByNothing]) > 0 {
		f.Health = warning
	}
	byKernel := func(name string) bool { return r.Limits[name] == sandbox.ByCgroup }
	if r.Isolation == isolationNone || byKernel("cpu") && byKernel("memory") && byKernel("processes") {
		return f
	}
	f.Advice = "a delegated cgroup makes the kernel hold them: start it with systemd-run --user --scope -p Delegate=yes cairn serve, or as root"
	return f
}

// Programs that built-in tools and most skills use, and the directories where
// commands look for them.
var (
	wanted      = []string{"bash", "python3", "git"}
	commandPath = []string{"/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"}
)

// hostPrograms says where the image host has the programs that are wanted. root is
// where it begins.
func hostPrograms(root string) map[string]string {
	found := make(map[string]string, len(wanted))
	for _, program := range wanted {
		found[program] = ""
		for _, dir := range commandPath {
			info, err := os.Stat(filepath.Join(root, dir, program))
			if err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
				found[program] = dir + "/" + program
				break
			}
		}
	}
	return found
}

func (r *sandboxReport) programs() finding {
	var have, missing []string
	for _, p := range wanted {
		if r.Programs[p] != "" {
			have = append(have, r.Programs[p])
		} else {
			missing = append(missing, p)
		}
	}
	f := finding{"programs", healthy, strings.Join(have, ", "), ""}
	if len(missing) > 0 {
		f.Health = warning
		f.Found = strings.TrimPrefix(f.Found+"; not found: ", "; ") + strings.Join(missing, ", ")
		f.Advice = "the image host shows agents the programs of this machine: install " + strings.Join(missing, ", ") + ", or use another image"
	}
	return f
}
