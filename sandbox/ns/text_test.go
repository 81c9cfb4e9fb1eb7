//go:build linux && (amd64 || arm64)

package ns

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/sandbox"
)

const hybridMounts = `29 28 0:25 / /sys/fs/cgroup rw - tmpfs tmpfs rw
30 29 0:26 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu
31 29 0:27 /jobs /sys/fs/cgroup/mem\040ory rw - cgroup cgroup rw,memory
32 29 0:28 / /sys/fs/cgroup/unified rw shared:9 - cgroup2 cgroup2 rw
33 29 0:29 /elsewhere /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids
34 29 0:30 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd
`

func TestFindCgroups(t *testing.T) {
	t.Parallel()
	got := findPlaces(hybridMounts, "9:name=systemd:/\n4:memory:/jobs/7\n3:pids:/mine\n1:cpu,cpuacct:/a\n0::/user.slice\n")
	want := []place{
		{controllers: []string{"cpu", "cpuacct"}, top: "/sys/fs/cgroup/cpu", dir: "/sys/fs/cgroup/cpu/a"},
		{controllers: []string{"memory"}, top: "/sys/fs/cgroup/mem ory", dir: "/sys/fs/cgroup/mem ory/7"},
		{v2: true, top: "/sys/fs/cgroup/unified", dir: "/sys/fs/cgroup/unified/user.slice"},
		{controllers: []string{"name=systemd"}, top: "/sys/fs/cgroup/systemd", dir: "/sys/fs/cgroup/systemd"},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(place{})); diff != "" {
		t.Error(diff)
	}
}

func FuzzFindCgroups(f *testing.F) {
	f.Add(hybridMounts, "4:memory:/jobs/7\n0::/\n")
	f.Fuzz(func(t *testing.T, mounts, self string) {
		for _, p := range findPlaces(mounts, self) {
			if rel, err := filepath.Rel(p.top, p.dir); err != nil || strings.HasPrefix(rel, "..") {
				t.Errorf("%+v leaves its mount", p)
			}
		}
	})
}

func FuzzParseStart(f *testing.F) {
	f.Add([]byte("1 (a) b) S 1 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 12345 1 1"))
	f.Fuzz(func(t *testing.T, b []byte) { _, _ = parseStart(b) })
}

func TestParseStart(t *testing.T) {
	t.Parallel()
	if n, ok := parseStart([]byte("1 (a) b) S 1 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 12345 1 1")); !ok || n != 12345 {
		t.Errorf("%d, %v", n, ok)
	}
}

func FuzzParseField(f *testing.F) {
	f.Add([]byte("oom_kill_disable 0\nunder_oom 0\noom_kill 3\n"), "oom_kill")
	f.Fuzz(func(t *testing.T, b []byte, name string) { _ = parseField(b, name) })
}

func TestStale(t *testing.T) {
	t.Parallel()
	started := func(pid int) (uint64, bool) { return 100, pid == 5 }
	for name, want := range map[string]bool{
		"cairn-7-5-100-1":          false, // alive
		"cairn-7-5-99-1":           true,  // another process with the same id
		"cairn-7-6-100-1":          true,
		"cairn-7-6-100-1-daemon":   true,
		"cairn-8-6-100-1":          false, // of another process namespace
		"cairn-7-6-100":            false,
		"cairn-7-6-x-1":            false,
		"system.slice":             false,
		"cairn-7-99999999999999-1": false,
	} {
		if got := stale(name, 7, started); got != want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestAtLeast(t *testing.T) {
	t.Parallel()
	for release, want := range map[string]bool{
		"5.14.0-1-amd64": true, "5.13.9": false, "6.1": true, "4.19.0": false, "5.14-rc1": true, "": false, "x.y": false, "5.": false,
	} {
		if got := atLeast(release, 5, 14); got != want {
			t.Errorf("%q: %v", release, got)
		}
	}
}

func TestExplain(t *testing.T) {
	t.Parallel()
	good := facts{release: "6.1.0", max: "100"}
	with := func(change func(*facts)) facts {
		f := good
		change(&f)
		return f
	}
	denied := fmt.Errorf("start the first process of the sandbox: %w", unix.EPERM)
	for name, c := range map[string]struct {
		err error
		f   facts
		fix string
	}{
		"old kernel":    {denied, with(func(f *facts) { f.release = "5.10.0-9" }), "newer kernel"},
		"switched off":  {denied, with(func(f *facts) { f.max = "0" }), "sysctl -w user.max_user_namespaces"},
		"not there":     {denied, with(func(f *facts) { f.maxMissing = true }), "kernel"},
		"used up":       {fmt.Errorf("start the first process: %w", unix.ENOSPC), good, "user.max_user_namespaces"},
		"Debian's":      {denied, with(func(f *facts) { f.clone = "0" }), "unprivileged_userns_clone=1"},
		"Ubuntu's":      {denied, with(func(f *facts) { f.apparmor = "1" }), "apparmor_restrict_unprivileged_userns=0"},
		"Docker's":      {denied, with(func(f *facts) { f.seccomp = true }), "seccomp=unconfined"},
		"masked /proc":  {errors.New("mount proc: operation not permitted"), good, "systempaths=unconfined"},
		"no overlayfs":  {errors.New("mount 3 layers: no such device"), with(func(f *facts) { f.noOverlay = true }), "modprobe overlay"},
		"strange disk":  {errors.New("mount 3 layers: invalid argument"), good, "--data"},
		"in a chroot":   {&cairn.Error{Message: "see cairn doctor", Err: denied}, with(func(f *facts) { f.chroot = true }), "pivot_root"},
		"something new": {errors.New("the moon"), good, "cairn doctor"},
	} {
		why, fix := explain(c.err, c.f)
		if why == "" || !strings.Contains(fix, c.fix) {
			t.Errorf("%s: %q, %q", name, why, fix)
		}
	}
	if why, fix := explain(denied, with(func(f *facts) { f.root, f.clone, f.apparmor = true, "0", "1" })); strings.Contains(why+fix, "AppArmor") || strings.Contains(fix, "userns_clone") {
		t.Errorf("root is told what concerns users: %q, %q", why, fix)
	}
}

// TestChrooted: a root that is a mount is no chroot.
func TestChrooted(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"22 27 0:21 / /proc rw - proc proc rw\n27 1 254:0 / / rw - ext4 /dev/vda rw\n": false,
		"22 27 0:21 / /proc rw - proc proc rw\n":                                       true,
		"":                                                                             false, // /proc is not there: nothing is known
	} {
		if got := chrooted(text); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}

func TestPlanRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, change := range map[string]func(*sandbox.Spec){
		"name":            func(s *sandbox.Spec) { s.ID = "../x" },
		"not beside":      func(s *sandbox.Spec) { s.Root.Upper, s.Root.Work = dir, "/tmp" },
		"over /proc":      func(s *sandbox.Spec) { s.Mounts = []sandbox.Mount{{Host: dir, Path: "/proc/sys"}} },
		"over the parent": func(s *sandbox.Spec) { s.Mounts = []sandbox.Mount{{Host: dir, Path: "/run"}} },
		"over the files":  func(s *sandbox.Spec) { s.Mounts = []sandbox.Mount{{Host: dir, Path: sandbox.Dir}} },
		"dots":            func(s *sandbox.Spec) { s.Mounts = []sandbox.Mount{{Host: dir, Path: "/opt/../x"}} },
		"root as a layer": func(s *sandbox.Spec) { s.Root.Lower = []string{"/"} },
		"absent":          func(s *sandbox.Spec) { s.Root.Lower = []string{filepath.Join(dir, "no")} },
	} {
		s := sandbox.Spec{ID: "a"}
		change(&s)
		_, err := plan(s, "/bin/true")
		var e *cairn.Error
		if !errors.As(err, &e) || e.Code != cairn.CodeInvalid && e.Code != cairn.CodeNotFound {
			t.Errorf("%s: %v", name, err)
		}
	}
	b, err := plan(sandbox.Spec{ID: "a", Mounts: []sandbox.Mount{{Host: dir, Path: "/skills/x"}}}, "/bin/true")
	if err != nil {
		t.Fatal(err)
	}
	at := map[string]int{}
	for n, i := range b.Skeleton {
		if _, twice := at[i.Path]; twice {
			t.Errorf("%s is there twice", i.Path)
		}
		at[i.Path] = n
		if up, ok := at[filepath.Dir(i.Path)]; filepath.Dir(i.Path) != "/" && (!ok || up > n) {
			t.Errorf("%s is made before its directory", i.Path)
		}
	}
}

func TestMerge(t *testing.T) {
	t.Parallel()
	got := merge([]string{"A=1", "B=2"}, []string{"B=3", "C=", "C=4"})
	if diff := cmp.Diff([]string{"A=1", "B=3", "C=4"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestMeasure(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name string, n int) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), make([]byte, n), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("one", 1<<20)
	if err := os.Link(filepath.Join(dir, "one"), filepath.Join(dir, "same")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/usr", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(filepath.Join(dir, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	// Deeper than descriptors are kept, and than a path may be long.
	const depth = 1500
	at, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		t.Fatal(err)
	}
	for range depth {
		if err := unix.Mkdirat(at, "down", 0o700); err != nil {
			t.Fatal(err)
		}
		next, err := unix.Openat(at, "down", unix.O_PATH|unix.O_DIRECTORY, 0)
		if err != nil {
			t.Fatal(err)
		}
		_ = unix.Close(at)
		at = next
	}
	_ = unix.Close(at)
	t.Cleanup(func() { // RemoveAll of the test does not go so deep quickly
		if err := os.RemoveAll(filepath.Join(dir, "down")); err != nil {
			t.Error(err)
		}
	})
	bytes, files, err := measure(t.Context(), dir, 1<<40, 1<<40)
	if err != nil {
		t.Fatal(err)
	}
	if files != depth+4 {
		t.Errorf("%d files of %d", files, depth+4)
	}
	if bytes < 1<<20 || bytes > 1<<20+(depth+8)*8192 {
		t.Errorf("%d bytes", bytes)
	}
	if _, files, _ := measure(t.Context(), dir, 1<<40, 10); files > 10+batch {
		t.Errorf("it went on to %d files above a limit of 10", files)
	}
}
