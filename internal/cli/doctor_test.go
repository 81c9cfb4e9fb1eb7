package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cairn-run/cairn/sandbox"
	"github.com/cairn-run/cairn/sandbox/none"
)

// TestDoctorSandbox: what is said of a sandbox that has all, some, and nothing.
func TestDoctorSandbox(t *testing.T) {
	t.Parallel()
	all := sandbox.Caps{
		Usable: true, Isolation: "namespaces", Overlay: true, Seccomp: true, Landlock: 7, Cgroup: "v2", MaxLayers: 100,
		Limits: map[string]sandbox.Enforcement{"cpu": sandbox.ByCgroup, "memory": sandbox.ByCgroup, "processes": sandbox.ByCgroup, "files": sandbox.ByRlimit, "wall": sandbox.ByWatcher},
	}
	some := sandbox.Caps{
		Usable: true, Isolation: "namespaces", Rootless: true, Seccomp: true, Fix: "sysctl something=1",
		Limits: map[string]sandbox.Enforcement{"cpu": sandbox.ByNothing, "memory": sandbox.ByWatcher, "processes": sandbox.ByRlimit, "files": sandbox.ByRlimit},
	}
	none := sandbox.Caps{Why: "user namespaces are forbidden", Fix: "sysctl kernel.unprivileged_userns_clone=1"}
	const delegate = "a delegated cgroup makes the kernel hold them: start it with systemd-run --user --scope -p Delegate=yes cairn serve, or as root"
	for name, test := range map[string]struct {
		caps sandbox.Caps
		want []finding
	}{
		"all": {all, []finding{
			{"sandbox", healthy, "ns, as root, overlay, seccomp, Landlock ABI 7, cgroup v2", ""},
			{"limits", healthy, "by cgroup: cpu, memory, processes; by rlimit: files; by watcher: wall", ""},
		}},
		"some": {some, []finding{
			{"sandbox", healthy, "ns, rootless, seccomp; without overlay, Landlock, cgroups", "sysctl something=1"},
			{"limits", warning, "by rlimit: files, processes; by watcher: memory; by nothing: cpu", delegate},
		}},
		"none": {none, []finding{
			{"sandbox", warning, "ns cannot be used: user namespaces are forbidden", "sysctl kernel.unprivileged_userns_clone=1 (until then agents whose tools run commands do not start here)"},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := newSandboxReport("ns", test.caps).findings()
			if d := cmp.Diff(test.want, got[:len(got)-1], cmp.AllowUnexported(finding{})); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
			if got[len(got)-1].Check != "programs" {
				t.Errorf("the programs are not looked at: %+v", got)
			}
		})
	}
}

// TestDoctorOpensSandbox: the driver is opened in a directory of its own, of which
// nothing is left.
func TestDoctorOpensSandbox(t *testing.T) {
	t.Parallel()
	dir := ""
	a := &app{Env: Env{Sandbox: func(d string) (sandbox.Driver, error) {
		dir = d
		return none.Open(), nil
	}}}
	got, report := a.checkSandbox(t.Context())
	if len(got) == 0 || got[0].Check != "sandbox" || report == nil || report.Driver != "none" {
		t.Errorf("%+v, %+v", got, report)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("%s was left behind: %v", dir, err)
	}
	a.Sandbox = func(string) (sandbox.Driver, error) { return nil, errors.New("no memory") }
	if got, _ := a.checkSandbox(t.Context()); len(got) != 1 || got[0].Health != broken || !strings.Contains(got[0].Found, "no memory") {
		t.Errorf("a driver that cannot be opened: %+v", got)
	}
}

// TestDoctorPrograms: what the image host has is looked for where commands look.
func TestDoctorPrograms(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	for name, mode := range map[string]os.FileMode{"usr/bin/bash": 0o755, "usr/local/bin/git": 0o644, "bin/git": 0o755, "opt/bin/python3": 0o755} {
		path := filepath.Join(root, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, nil, mode)); err != nil {
			t.Fatal(err)
		}
	}
	r := &sandboxReport{Programs: hostPrograms(root)}
	want := finding{"programs", warning, "/usr/bin/bash, /bin/git; not found: python3", "the image host shows agents the programs of this machine: install python3, or use another image"}
	if d := cmp.Diff(want, r.programs(), cmp.AllowUnexported(finding{})); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

// TestDoctorJSON: a program reads the same.
func TestDoctorJSON(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	code := Run(t.Context(), Env{
		Args: []string{"doctor", "--json", "--data", filepath.Join(t.TempDir(), "d")}, Getenv: func(string) string { return "" },
		Stdin: strings.NewReader(""), Stdout: &out, Stderr: &out, Now: time.Now, Version: "v0",
		Sandbox: func(string) (sandbox.Driver, error) { return none.Open(), nil },
	})
	var got struct {
		Healthy bool
		Sandbox struct {
			Driver   string
			Limits   map[string]string
			Programs map[string]string
		}
	}
	if err := json.Unmarshal(out.Bytes(), &got); code != 0 || err != nil || got.Sandbox.Driver != "none" || len(got.Sandbox.Programs) != 3 {
		t.Errorf("code %d, %v: %s", code, err, out.Bytes())
	}
}

// TestDoctorStore: only a store whose content is broken is to be restored from a
// copy. One that cannot be looked at may be sound.
func TestDoctorStore(t *testing.T) {
	t.Parallel()
	a := &app{data: t.TempDir()}
	path := filepath.Join(a.data, storeName)
	if err := os.WriteFile(path, bytes.Repeat([]byte("no store "), 1<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	if f := a.checkStore(t.Context()); f.Health != broken || f.Advice != restore {
		t.Errorf("a file that is no store: %+v", f)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	if f := a.checkStore(t.Context()); f.Health != broken || f.Advice == restore || !strings.HasPrefix(f.Found, "cannot be looked at") {
		t.Errorf("what cannot be opened: %+v", f)
	}
}
