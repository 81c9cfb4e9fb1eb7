package sandboxtest

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cairn-run/cairn/sandbox"
)

// killEverything: a command may kill all processes it sees. The sandbox goes on,
// or ends with a reason.
func killEverything(t *testing.T, s *suite) {
	b := s.box(t, nil)
	mark, out := token(), newLines(t)
	d := b.start(t, sandbox.Cmd{Args: []string{b.attacker, "tree", "stay", mark}, Stdout: out, Detached: true})
	out.ready(t, 1)
	for _, signal := range []string{"STOP", "TERM", "KILL", "CONT"} {
		b.sh(t, "kill -"+signal+" -1; exit 0")
	}
	b.must(t, "true")
	if _, err := d.Kill(within(t)); err != nil {
		t.Error(err)
	}
	gone(t, mark)
}

// stoppedTree: who is stopped is killed all the same.
func stoppedTree(t *testing.T, s *suite) {
	b := s.box(t, nil)
	mark, out := token(), newLines(t)
	p := b.start(t, sandbox.Cmd{Args: []string{"sh", "-c", "sleep 1000 & echo ready; kill -STOP $! $$; : " + mark}, Stdout: out})
	out.ready(t, 1)
	if _, err := p.Kill(within(t)); err != nil {
		t.Fatal(err)
	}
	gone(t, mark)
	if e := wait(t, p); e.Signal != "SIGKILL" {
		t.Errorf("%+v", e)
	}
}

// plantedAttributes: a payload must not be able to write what overlayfs itself
// writes into a layer: a fake opaque hides files of the layers below from the
// next step, a fake redirect shows others.
func plantedAttributes(t *testing.T, s *suite) {
	spec, base := s.spec(t, 1)
	const planted = "/etc"
	w := filepath.Join(spec.Root.Lower[0], "workspace")
	s.mkdir(t, filepath.Join(w, "kept"))
	s.file(t, filepath.Join(w, "kept", "file"), "lower")
	b := s.create(t, spec, base)
	names := []string{"opaque", "redirect", "metacopy", "whiteout", "origin", "impure", "nlink", "upper", "uuid", "protattr", "xwhiteouts", "overlay.opaque"}
	for _, prefix := range []string{"user.overlay.", "trusted.overlay."} {
		for _, name := range names {
			for _, dir := range []string{"kept", "new"} {
				value := planted
				if name == "opaque" {
					value = "y"
				}
				f := b.try(t, probe{args: []string{"setxattr", dir, prefix + name, value}}, strings.NewReplacer())
				t.Logf("%s%s on %s: %+v", prefix, name, dir, f)
			}
		}
	}
	b.must(t, "cat kept/file")
	if _, err := b.Destroy(within(t)); err != nil {
		t.Fatal(err)
	}
	everywhere(t, b.written, func(path string, st unix.Stat_t) {
		if st.Mode&unix.S_IFMT == unix.S_IFLNK {
			return
		}
		for _, name := range attributes(t, path) {
			rest, ours := strings.CutPrefix(name, "user.overlay.")
			value := make([]byte, 256)
			n, err := unix.Lgetxattr(path, name, value)
			if err != nil {
				t.Error(err)
				continue
			}
			// What is escaped is stored as user.overlay.overlay.*, and means nothing.
			if ours && !strings.HasPrefix(rest, "overlay.") && (string(value[:n]) == planted || rest == "opaque" && filepath.Base(path) == "kept") {
				t.Errorf("%s has the planted %s=%q", path, name, value[:n])
			}
			if strings.HasPrefix(name, "trusted.") {
				t.Errorf("%s has %s", path, name)
			}
		}
	})
	next, base2 := s.spec(t, 0)
	next.Root.Lower = []string{spec.Root.Upper, spec.Root.Lower[0]}
	if got := s.create(t, next, base2).must(t, "cat kept/file; ls new"); got != "lower" {
		t.Errorf("the next sandbox sees %q", got)
	}
}

// specialFiles: what a payload may leave in a layer besides files, directories
// and links is a pipe or a socket; never a device that is not a whiteout.
func specialFiles(t *testing.T, s *suite) {
	b := s.box(t, nil)
	b.sh(t, `mkfifo fifo; mknod null c 1 3; mknod disk b 8 0; mknod w c 0 0; ln -s loop loop; ln -s ../../../../../../etc/passwd up; ln -s /proc/self/root/etc magic
mkdir locked; echo x > locked/file; chmod 000 locked/file locked; echo x > closed; chmod 000 closed
cp /bin/true suid; chmod 6755 suid; mkdir sticky; chmod 7777 sticky; rm top; mkdir deep; cd deep; i=0; while [ $i -lt 300 ]; do mkdir dddddddddddddddddddd && cd dddddddddddddddddddd; i=$((i+1)); done`)
	if _, err := b.Destroy(within(t)); err != nil {
		t.Fatal(err)
	}
	uid, _ := s.owner()
	for _, dir := range []string{"", "workspace", "workspace/locked", "workspace/sticky"} {
		visit := func(path string) {
			var st unix.Stat_t
			if err := unix.Lstat(path, &st); err != nil {
				return // not made, or under what is closed
			}
			if kind := st.Mode & unix.S_IFMT; kind == unix.S_IFBLK || kind == unix.S_IFCHR && st.Rdev != 0 {
				t.Errorf("%s is a device %d:%d", path, unix.Major(st.Rdev), unix.Minor(st.Rdev))
			}
			if st.Mode&(unix.S_ISUID|unix.S_ISGID) != 0 {
				t.Logf("%s has mode %o and belongs to %d: the layer's keeper clears the bits", path, st.Mode, st.Uid)
			}
			if int(st.Uid) != uid {
				t.Errorf("%s belongs to %d", path, st.Uid)
			}
		}
		names, err := filepath.Glob(filepath.Join(b.written, dir, "*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range names {
			visit(path)
		}
	}
}

// selfExe runs the program that starts commands as a command: if it were shown
// by a path that can be written, who runs inside could replace it
// (CVE-2019-5736).
func selfExe(t *testing.T, s *suite) {
	b := s.box(t, nil)
	for _, program := range []string{"/proc/self/exe", "/proc/1/exe", "/proc/self/fd/0", "/proc/self/fd/3"} {
		p, err := b.Start(within(t), sandbox.Cmd{Args: []string{program, "-test.run=^$"}})
		if err != nil {
			t.Logf("%s: %v", program, err)
			continue
		}
		if _, err := p.Kill(within(t)); err != nil {
			t.Error(err)
		}
		t.Logf("%s: it was started: %+v", program, wait(t, p))
	}
	for _, program := range []string{"/proc/self/exe", "/proc/1/exe"} {
		f := b.try(t, probe{args: []string{"overwrite-exe", program, "probe", "victim"}}, strings.NewReplacer())
		if p := (probe{want: unwritable}); !p.denied(f) {
			t.Errorf("%s: %+v", program, f)
		}
	}
	b.must(t, "true")
}

// leakedDirectory starts commands in the descriptors of the process that starts
// them: one that leads to the host gives everything away (CVE-2024-21626).
func leakedDirectory(t *testing.T, s *suite) {
	b := s.box(t, nil)
	h := newHost(t)
	dirs := []string{"/proc/1/root", "/proc/1/cwd", "/proc/self/root", "/proc/self/cwd"}
	for _, dir := range []string{"/proc/self/fd/", "/proc/1/fd/", "/proc/thread-self/fd/", "/dev/fd/"} {
		for fd := range 24 {
			dirs = append(dirs, fmt.Sprint(dir, fd), fmt.Sprint(dir, highFD+fd))
		}
	}
	for _, dir := range dirs {
		p, err := b.Start(within(t), sandbox.Cmd{
			Args: []string{"sh", "-c", "for up in . .. ../.. ../../.. ../../../../../..; do cat $up$1 2>/dev/null && exit 9; done; exit 0", "sh", h.secret},
			Dir:  dir,
		})
		if err != nil {
			continue
		}
		e := wait(t, p)
		t.Logf("%s can be a directory to run in", dir)
		if e.Code == 9 {
			t.Errorf("in %s the host's files can be read", dir)
		}
	}
}

// apart: two sandboxes share nothing.
func apart(t *testing.T, s *suite) {
	a, b := s.box(t, nil), s.box(t, nil)
	name := token()
	out := newLines(t)
	a.start(t, sandbox.Cmd{Args: []string{a.attacker, "probe", "listen", "127.0.0.1:7321", "@" + name}, Stdout: out, Detached: true})
	out.ready(t, 1)
	for network, address := range map[string]string{"tcp": "127.0.0.1:7321", "unix": "@" + name} {
		try := probe{args: []string{"connect", network, address}, want: unreachable}
		if f := b.try(t, try, strings.NewReplacer()); !try.denied(f) {
			t.Errorf("%s of another sandbox: %+v", network, f)
		}
		if f := a.try(t, try, strings.NewReplacer()); network == "tcp" && f.Denied {
			t.Errorf("its own: %+v", f)
		} else {
			t.Logf("its own %s: %+v", network, f)
		}
	}
	for _, f := range []string{"/workspace/" + name, "/tmp/" + name, "/dev/shm/" + name, sandbox.Home + "/" + name} {
		a.must(t, "echo x > "+f)
		if o := b.sh(t, "cat "+f); o.Code == 0 {
			t.Errorf("%s of another sandbox can be read", f)
		}
	}
	if f := b.try(t, probe{args: []string{"pids", name}}, strings.NewReplacer()); !f.Denied {
		t.Errorf("%+v", f)
	}
	if _, err := a.Destroy(within(t)); err != nil {
		t.Fatal(err)
	}
	b.must(t, "true")
}
