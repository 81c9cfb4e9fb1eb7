package sandboxtest

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/sandbox"
)

func noLower(t *testing.T, s *suite) {
	spec, base := s.spec(t, 0)
	b := s.create(t, spec, base)
	b.must(t, `echo a > x && cat x && echo b > "$HOME/y" && echo c > /tmp/z`)
	for path, want := range map[string]string{"workspace/x": "a\n", "home/agent/y": "b\n", "tmp/z": "c\n"} {
		if got, err := os.ReadFile(filepath.Join(b.written, path)); err != nil || string(got) != want {
			t.Errorf("upper has %q in %s, %v", got, path, err)
		}
	}
}

func layers(t *testing.T, s *suite, n int) {
	spec, base := s.spec(t, n)
	b := s.create(t, spec, base)
	if got := b.must(t, "cat top; ls | grep -c layer"); got != fmt.Sprintf("0%d\n", n) {
		t.Errorf("the top layer and their number: %q", got)
	}
	b.must(t, fmt.Sprintf("echo new > layer%d; rm layer0; mkdir d; mv layer%d d/; cat d/*", n-1, n/2))
}

func tooManyLayers(t *testing.T, s *suite) {
	if s.caps.MaxLayers < 300 {
		t.Errorf("MaxLayers is %d", s.caps.MaxLayers)
	}
	spec, _ := s.spec(t, s.caps.MaxLayers+1)
	i, err := s.Create(within(t), spec)
	if err == nil {
		_, _ = i.Destroy(within(t))
	}
	typed(t, "one layer too many", err, cairn.CodeInvalid)
}

func readOnlyRoot(t *testing.T, s *suite) {
	spec, base := s.spec(t, 2)
	spec.Root.Upper, spec.Root.Work = "", ""
	b := s.create(t, spec, base)
	for _, p := range []string{"/workspace/x", sandbox.Home + "/x", "/x", "/usr/x"} {
		if o := b.sh(t, "echo x > "+p); o.Code == 0 || !strings.Contains(o.err, "Read-only file system") && !strings.Contains(o.err, "Permission denied") {
			t.Errorf("writing %s: %+v", p, o)
		}
	}
	if got := b.must(t, "cat top; rm -f top 2>/dev/null; cat top; echo t > /tmp/x; cat /tmp/x; echo s > /dev/shm/x; cat /dev/shm/x"); got != "00t\ns\n" {
		t.Errorf("got %q", got)
	}
}

// attributes lists the names of a file's extended attributes.
func attributes(t *testing.T, path string) []string {
	t.Helper()
	b := make([]byte, 4096)
	n, err := unix.Llistxattr(path, b)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return slices.DeleteFunc(strings.Split(string(b[:n]), "\x00"), func(s string) bool { return s == "" })
}

// isWhiteout says whether a file of a layer says that there is none: overlayfs'
// own form is a character device 0:0, and since Linux 6.7 an empty file with an
// attribute as well (kernel documentation, filesystems/overlayfs).
func isWhiteout(t *testing.T, path string) bool {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		t.Errorf("%s: %v", path, err)
		return false
	}
	return st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == 0 || slices.Contains(attributes(t, path), "user.overlay.whiteout")
}

func whiteouts(t *testing.T, s *suite) {
	spec, base := s.spec(t, 1)
	w := filepath.Join(spec.Root.Lower[0], "workspace")
	for _, d := range []string{"dir", "dir/sub", "tree", "tree/sub", "kept"} {
		s.mkdir(t, filepath.Join(w, d))
	}
	for _, f := range []string{"gone", "dir/a", "dir/sub/b", "tree/sub/c", "kept/d"} {
		s.file(t, filepath.Join(w, f), "lower")
	}
	b := s.create(t, spec, base)
	b.must(t, "rm gone && rm -r dir && mkdir dir && echo new > dir/n && rm -r tree && chmod 700 kept")
	if _, err := b.Destroy(within(t)); err != nil {
		t.Fatal(err)
	}
	u := filepath.Join(b.written, "workspace")
	for _, f := range []string{"gone", "tree"} {
		if !isWhiteout(t, filepath.Join(u, f)) {
			t.Errorf("%s is no whiteout in the upper directory", f)
		}
	}
	opaque := make([]byte, 8)
	n, err := unix.Lgetxattr(filepath.Join(u, "dir"), "user.overlay.opaque", opaque)
	if err != nil || string(opaque[:max(n, 0)]) != "y" {
		t.Errorf("the new directory: user.overlay.opaque is %q, %v", opaque[:max(n, 0)], err)
	}
	everywhere(t, b.written, func(path string, _ unix.Stat_t) {
		for _, a := range attributes(t, path) {
			if !strings.HasPrefix(a, "user.") && a != "security.selinux" {
				t.Errorf("%s has %s: layers must not differ by who mounted them", path, a)
			}
		}
	})
	// The upper becomes a layer below the next one.
	next, base2 := s.spec(t, 0)
	next.Root.Lower = []string{spec.Root.Upper, spec.Root.Lower[0]}
	if got := s.create(t, next, base2).must(t, "ls; ls dir; ls kept"); got != "dir\nkept\nlayer0\ntop\nn\nd\n" {
		t.Errorf("the next sandbox sees %q", got)
	}
}

// everywhere visits a tree without following links.
func everywhere(t *testing.T, dir string, visit func(path string, st unix.Stat_t)) {
	t.Helper()
	err := filepath.WalkDir(dir, func(p string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(p, &st); err != nil {
			return err
		}
		visit(p, st)
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func writtenFiles(t *testing.T, s *suite) {
	b := s.box(t, nil)
	b.must(t, "mkdir -p a/b; echo 1 > a/b/c; echo 2 >> top; ln -s /etc/passwd link; ln a/b/c hard; chmod 600 layer0; mkfifo pipe; echo x > 'odd\nname'; echo y > \"$(printf '\\377\\376')\"")
	if _, err := b.Destroy(within(t)); err != nil {
		t.Fatal(err)
	}
	w := filepath.Join(b.written, "workspace")
	for path, want := range map[string]string{"a/b/c": "1\n", "top": "02\n", "hard": "1\n", "layer0": "here", "\xff\xfe": "y\n"} {
		if got, err := os.ReadFile(filepath.Join(w, path)); err != nil || string(got) != want {
			t.Errorf("%q has %q, %v; want %q", path, got, err, want)
		}
	}
	if to, err := os.Readlink(filepath.Join(w, "link")); err != nil || to != "/etc/passwd" {
		t.Errorf("the link leads to %q, %v", to, err)
	}
	uid, gid := s.owner()
	everywhere(t, b.written, func(path string, st unix.Stat_t) {
		if int(st.Uid) != uid || int(st.Gid) != gid {
			t.Errorf("%s belongs to %d:%d, want %d:%d", path, st.Uid, st.Gid, uid, gid)
		}
	})
}

// lowerKept: a layer is never written, whatever is done.
func lowerKept(t *testing.T, s *suite) {
	spec, base := s.spec(t, 2)
	before := map[string]string{}
	shot := func(to map[string]string) {
		for _, l := range spec.Root.Lower {
			everywhere(t, l, func(p string, st unix.Stat_t) {
				content := ""
				if st.Mode&unix.S_IFMT == unix.S_IFREG {
					b, err := os.ReadFile(p)
					if err != nil {
						t.Error(err)
					}
					content = string(b)
				}
				to[p] = fmt.Sprint(st.Mode, st.Uid, st.Gid, st.Mtim, st.Ctim, content)
			})
		}
	}
	shot(before)
	b := s.create(t, spec, base)
	b.must(t, "echo x > top; rm layer0; chmod 777 layer1; touch -d 2001-01-01 layer1; rm -rf ../home/agent/* ; mkdir new; echo x > layer0; setfattr -n user.x -v y layer1 2>/dev/null; rm -rf /workspace/* ; true")
	if _, err := b.Destroy(within(t)); err != nil {
		t.Fatal(err)
	}
	after := map[string]string{}
	shot(after)
	for p, was := range before {
		if after[p] != was {
			t.Errorf("%s changed from %s to %s", p, was, after[p])
		}
	}
	if len(after) != len(before) {
		t.Errorf("%d files, before %d", len(after), len(before))
	}
}

func readOnlyMounts(t *testing.T, s *suite) {
	host := tempDir(t)
	if err := os.Chmod(host, 0o777); err != nil { //nolint:gosec // it is the mount that must hold
		t.Fatal(err)
	}
	s.mkdir(t, filepath.Join(host, "sub"))
	s.file(t, filepath.Join(host, "file"), "host")
	if err := os.Chmod(filepath.Join(host, "file"), 0o666); err != nil { //nolint:gosec // as above
		t.Fatal(err)
	}
	b := s.box(t, func(s *sandbox.Spec) {
		s.Mounts = []sandbox.Mount{{Host: host, Path: sandbox.SkillsDir}, {Host: host, Path: "/opt/a/b/c"}}
	})
	for _, dir := range []string{sandbox.SkillsDir, "/opt/a/b/c"} {
		if got := b.must(t, "cat "+dir+"/file"); got != "host" {
			t.Errorf("%s/file has %q", dir, got)
		}
		for _, do := range []string{"echo x > %s/file", "echo x > %s/new", "rm %s/file", "mv %s/file %s/g", "chmod 600 %s/file", "mkdir %s/d", "touch %s/file", "rmdir %s/sub", "ln -s x %s/l"} {
			if o := b.sh(t, strings.ReplaceAll(do, "%s", dir)); o.Code == 0 || !strings.Contains(o.err, "Read-only file system") {
				t.Errorf("%s in %s: %+v", do, dir, o)
			}
		}
	}
	if got, err := os.ReadFile(filepath.Join(host, "file")); err != nil || string(got) != "host" {
		t.Errorf("on the host the file has %q, %v", got, err)
	}
}

func hand(t *testing.T, s *suite) {
	b := s.box(t, nil)
	b.must(t, "test -x "+sandbox.HandPath)
	for _, do := range []string{": > %s", "echo x >> %s", "rm -f %s", "mv %s /workspace/h", "chmod 777 %s", "ln -f /bin/true %s", "cp /bin/true $(dirname %s)/x"} {
		if o := b.sh(t, strings.ReplaceAll(do, "%s", sandbox.HandPath)); o.Code == 0 {
			t.Errorf("%s worked", do)
		}
	}
	b.must(t, "test -x "+sandbox.HandPath)
}

// writablePlaces: what a sandbox may write is in the upper directory or in a
// bounded tmpfs, and nowhere else.
func writablePlaces(t *testing.T, s *suite) {
	b := s.box(t, nil)
	found := b.must(t, `find / -xdev -type d -writable 2>/dev/null; for m in $(cut -d' ' -f5 /proc/self/mountinfo); do [ -d "$m" ] && [ -w "$m" ] && echo "mount $m"; done; true`)
	for line := range strings.Lines(found) {
		dir := strings.TrimSpace(line)
		ok := false
		for _, d := range []string{sandbox.Dir, sandbox.Home, "/tmp", "/var/tmp", "/run/user", "mount /dev/shm", "mount /tmp", "mount /var/tmp", "mount /workspace", "mount /home/agent"} {
			ok = ok || dir == d || strings.HasPrefix(dir, d+"/")
		}
		if !ok {
			t.Logf("writable: %s", dir)
			o := b.sh(t, "echo x > '"+strings.TrimPrefix(dir, "mount ")+"/probe-x' && echo made")
			if _, err := os.Lstat(filepath.Join(b.written, strings.TrimPrefix(dir, "mount "), "probe-x")); err != nil && o.Code == 0 {
				t.Errorf("%s can be written and is not in the upper directory", dir)
			}
		}
	}
}

// sameAgain: the directories of a sandbox that has ended, in whatever way, can be
// those of another one.
func sameAgain(t *testing.T, s *suite) {
	spec, base := s.spec(t, 1)
	b := s.create(t, spec, base)
	b.must(t, "echo one > file")
	if _, err := b.Destroy(within(t)); err != nil {
		t.Fatal(err)
	}
	b = s.create(t, spec, base)
	b.must(t, "echo two >> file; rm layer0")
	if _, err := b.Destroy(within(t)); err != nil {
		t.Fatal(err)
	}
	if got := s.create(t, spec, base).must(t, "cat file; ls"); got != "one\ntwo\nfile\ntop\n" {
		t.Errorf("got %q", got)
	}
}
