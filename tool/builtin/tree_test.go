package builtin_test

import (
	stdcmp "cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/workspace"
)

// lookAround prints what a process in the sandbox sees of its files: the hash of the
// path, kind, mode, and the hash of the content or the target. Modes that keep it out are
// put back as they were.
const lookAround = `
import hashlib, os, stat
seen = []
def add(path, kind, mode, content):
    seen.append("%s %s %o %s" % (hashlib.sha256(path).hexdigest()[:16], kind, mode, content[:16]))
def walk(at, path):
    mode = stat.S_IMODE(os.lstat(at).st_mode)
    if mode & 0o700 != 0o700: os.chmod(at, mode | 0o700)
    for name in os.listdir(at):
        a, p = at + b"/" + name, path + b"/" + name
        s = os.lstat(a)
        m = stat.S_IMODE(s.st_mode)
        if stat.S_ISDIR(s.st_mode):
            add(p, "directory", m, "")
            walk(a, p)
        elif stat.S_ISLNK(s.st_mode):
            add(p, "symlink", 0o777, hashlib.sha256(os.readlink(a)).hexdigest())
        elif stat.S_ISREG(s.st_mode):
            if m & 0o400 == 0: os.chmod(a, m | 0o400)
            h = hashlib.sha256()
            with open(a, "rb") as f:
                while b := f.read(1 << 20): h.update(b)
            if m & 0o400 == 0: os.chmod(a, m)
            add(p, "file", m, h.hexdigest())
        else:
            add(p, "other", m, "")
    if mode & 0o700 != 0o700: os.chmod(at, mode)
for top in (b"workspace", b"tmp", b"home"): walk(b"/" + top, top)
print("\n".join(sorted(seen)))
`

// seen is what the next command finds; looking changes nothing.
func (s *talk) seen() []string {
	s.tb.Helper()
	r := s.call("python", object{"code": lookAround, "timeout": 60})
	_, text, _ := strings.Cut(cairn.TextOf(r.Content), "\n\n")
	if r.IsError || s.left.Files != nil {
		s.tb.Fatalf("looking around: %s\n%+v", cairn.TextOf(r.Content), s.left.Files)
	}
	return slices.Sorted(strings.SplitSeq(strings.TrimSuffix(text, "\n"), "\n"))
}

// recorded is the same of the state that the journal names.
func (s *talk) recorded() []string {
	s.tb.Helper()
	tree, err := s.store.Tree(s.key, "")
	if err != nil {
		s.tb.Fatal(err)
	}
	list, more, err := tree.List(s.tb.Context(), s.at, "/", workspace.ListOptions{Depth: -1})
	if err != nil || more {
		s.tb.Fatal(err)
	}
	sum := func(b string) string {
		h := sha256.Sum256([]byte(b))
		return hex.EncodeToString(h[:])[:16]
	}
	var out []string
	for _, e := range list {
		top, _, below := strings.Cut(e.Path, "/")
		if !below || top != "workspace" && top != "tmp" && top != "home" {
			continue
		}
		content := ""
		mode := int(e.Mode.Perm())
		if e.Mode&os.ModeSticky != 0 {
			mode |= 0o1000
		}
		switch e.Kind {
		case workspace.KindFile:
			content = strings.TrimPrefix(string(e.Digest), "sha256:")[:16]
		case workspace.KindSymlink:
			content = sum(e.Target)
		}
		out = append(out, fmt.Sprintf("%s %s %o %s", sum(e.Path), e.Kind, mode, content))
	}
	slices.Sort(out)
	return out
}

// TestTreeIsWhatIsThere: after each call the recorded tree is what the next command
// sees, whatever the call did to its files.
func TestTreeIsWhatIsThere(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	if c := w.sandbox.Probe(t.Context()); c.Isolation != "namespaces" {
		t.Fatal("what follows would strike the machine itself")
	}
	s := w.talk(t, agent())
	// All paths are relative: nothing here names a directory of the machine.
	for _, step := range []struct{ tool, text string }{
		{"bash", "mkdir -p d/e; echo 1 > d/e/f; echo 2 > g; ln -s d/e l; ln g h; mkfifo p; chmod 4755 g"},
		{"bash", "rm -rf d; echo file > d"},
		{"bash", "rm d; mkdir d; echo x > d/y"},
		{"bash", "mv d d2; mkdir d; mv d2/y d/z; rmdir d2"},
		{"bash", "echo new > g"},
		{"bash", "rm l; mkdir l; echo 1 > l/1"},
		{"bash", "rm -rf l; ln -s / l; ln -s l l2; ln -s self self"},
		{"bash", "mknod wh c 0 0; touch .wh.d .wh..wh..opq; true"},
		{"python", `
import os
for name, value in (("opaque", b"y"), ("opaque", b"x"), ("whiteout", b"y"), ("redirect", b"/etc"), ("metacopy", b"")):
    for f in ("d", "g", "d/z"):
        try: os.setxattr(f, "user.overlay." + name, value)
        except OSError: pass
`},
		{"python", `
import os
os.mkdir("bytes")
for n in (b"\xff\xfe", b"a\nb", b"x" * 255, b" sp\ttab\\q\"'", b"-rf", "e\u0301".encode(), "\u00e9".encode()): open(b"bytes/" + n, "wb").write(n)
open("nul", "wb").write(b"a\0b"); open("crlf", "wb").write(b"a\r\nb\r\n"); open("bom", "wb").write(b"\xef\xbb\xbfx\n")
`},
		{"bash", "chmod 000 g; mkdir sec; echo s > sec/s; chmod 000 sec; mkdir ro; echo 1 > ro/1; chmod 555 ro; chmod 1777 bytes; chmod 2755 d"},
		{"bash", "chmod 700 sec; rm -rf sec; mkdir sec; chmod 000 sec"},
		{"bash", "truncate -s 20M sparse; fallocate -l 3M alloc; echo end >> sparse; cp sparse big"},
		{"python", "open('sparse', 'r+b').write(b'X')"},
		{"python", "import os\nos.mkdir('deep'); os.chdir('deep')\nfor i in range(190): os.mkdir('x'); os.chdir('x')\nopen('f', 'w').write('deep')"},
		// The content alone changed: size and times are as before.
		{"python", "import os\ns = os.stat('crlf'); open('crlf', 'r+b').write(b'X'); os.utime('crlf', ns=(s.st_atime_ns, s.st_mtime_ns))"},
		{"python", "import mmap\nf = open('big', 'r+b'); m = mmap.mmap(f.fileno(), 0); f.close(); m[1000] = 65; m[20_000_000] = 66"},
		{"bash", "echo x >> bom; touch -d 1901-01-01 bom; echo y >> nul; touch -d 9999-01-01 nul; touch -d 2300-01-01 crlf"},
		{"bash", "cp -r d copy; mv copy d3; mv d3/z d3/zz; rm -rf d; mkdir d; mv d3 d/sub"},
		{"bash", "rm -rf d; ln -s /etc d"},
		{"bash", "rm d; mkfifo d"},
		{"bash", "mkdir d; echo 9 > d/1"},
		{"bash", "cd ..; chmod 755 workspace/ro; rm -rf workspace tmp/* home/agent; mv tmp tmp2; ln -s etc workspace; true"},
		{"bash", "cd workspace; echo back > back"},
	} {
		args := object{"command": step.text}
		if step.tool == "python" {
			args = object{"code": step.text}
		}
		if r := s.call(step.tool, args); r.IsError {
			t.Errorf("%s\n%s", step.text, cairn.TextOf(r.Content))
		}
		if d := cmp.Diff(s.recorded(), s.seen()); d != "" {
			t.Errorf("%s\n-recorded +seen\n%s", step.text, d)
		}
	}
	if err := s.verify(s); err != nil {
		t.Error(err)
	}
}

// TestOneMoment: what is recorded while background commands run is one moment of their
// files, whatever way they are written.
func TestOneMoment(t *testing.T) {
	t.Parallel()
	s := newWorld(t, worldOptions{}).talk(t, agent())
	s.start(`python3 -u -c '
import mmap, os, struct
def mapped(name):
    f = open(name, "w+b")
    f.truncate(16384)
    return mmap.mmap(f.fileno(), 0)
a, b = mapped("a"), mapped("b")
c, d = (os.open(n, os.O_RDWR | os.O_CREAT) for n in "cd")
n = 0
while True:
    n += 1
    p = struct.pack("<Q", n)
    a[8192:8200] = p
    b[0:8] = p
    os.pwrite(c, p, 0)
    os.pwrite(d, p, 0)
    if n == 1: print("go")
'`)
	waitFor(t, func() bool {
		return strings.Contains(s.text("read", object{"path": "/tmp/cairn/bg-1.txt"}), "go")
	})
	s.start("echo 0 > e; echo 0 > f; n=0; while :; do n=$((n+1)); ( echo $n > e.t; mv e.t e; ( echo $n > f.t; mv f.t f ) ); done")
	waitFor(t, func() bool {
		return !strings.Contains(s.text("read", object{"path": "f"}), "not exist")
	})
	tree, err := s.store.Tree(s.key, "")
	if err != nil {
		t.Fatal(err)
	}
	read := func(name string, offset int64) []byte {
		b, _, err := tree.ReadFile(t.Context(), s.at, "workspace/"+name, offset, 8)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	counter := func(name string, offset int64) uint64 {
		return binary.LittleEndian.Uint64(append(read(name, offset), make([]byte, 8)...))
	}
	text := func(name string) uint64 {
		n, err := strconv.ParseUint(strings.TrimSpace(string(read(name, 0))), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	for i := range 20 {
		s.text("write", object{"path": "x", "content": fmt.Sprint(i)})
		for _, all := range [][]uint64{{counter("a", 8192), counter("b", 0), counter("c", 0), counter("d", 0)}, {text("e"), text("f")}} {
			if !slices.IsSortedFunc(all, func(x, y uint64) int { return -stdcmp.Compare(x, y) }) || all[0]-all[len(all)-1] > 1 {
				t.Errorf("of different moments: %d", all)
			}
		}
		if err := s.verify(s); err != nil {
			t.Error(err)
		}
	}
}

// TestReportedElsewhere: what the shell reports of directories never ends up in a file
// of the command, and not in its output.
func TestReportedElsewhere(t *testing.T) {
	t.Parallel()
	s := newWorld(t, worldOptions{}).talk(t, agent())
	if got := s.bash("for n in 3 9 10 11 99 200; do eval \"exec $n>f$n\"; done; cd /tmp; cd /workspace; cat f*"); got != "" {
		t.Errorf("%q", got)
	}
	r := s.call("bash", object{"command": "for n in /proc/self/fd/*; do n=${n##*/}; [ $n -lt 3 ] || eval \"exec $n>&-\"; done 2>/dev/null; cd /tmp; echo out"})
	if got := cairn.TextOf(r.Content); r.IsError || !strings.HasSuffix(got, "\n\nout\n") {
		t.Errorf("%q", got)
	}
	few := agent()
	few.Environment.OpenFiles = 64
	s = s.talk(t, few)
	if got := s.text("bash", object{"command": "cd /tmp; echo out"}); got != "exit code 0\nworking directory: /tmp\n\nout\n" {
		t.Errorf("%q", got)
	}
}

// TestNoText: the model is told when a command wrote bytes that it cannot see.
func TestNoText(t *testing.T) {
	t.Parallel()
	s := newWorld(t, worldOptions{}).talk(t, agent())
	for command, want := range map[string]string{
		`printf 'a\0b\377\303\n'`:       "of the 6 bytes that were written 3 are no text",
		`printf '\033[1mé\r10%%\r20%%'`: "",
	} {
		got := s.text("bash", object{"command": command})
		if has := strings.Contains(got, "are no text"); has != (want != "") || !strings.Contains(got, want) {
			t.Errorf("%s: %q", command, got)
		}
	}
	for command, want := range map[string]string{
		"printf '%050000d' 1":             "the output has 50000 bytes in 1 line;",
		"printf '%050000d\\n%d' 1 2":      "the output has 50002 bytes in 2 lines;",
		"seq 10000; printf '%050000d\\n'": "the output has 98895 bytes in 10001 lines;",
	} {
		if got := s.text("bash", object{"command": command}); !strings.Contains(got, want) {
			t.Errorf("%s: %.200q", command, got)
		}
	}
	s.bash("echo needle > closed; echo needle > open; chmod 000 closed")
	if got := s.text("search", object{"pattern": "needle"}); got != "open:1:needle\n[files not searched: 1 that cannot be read]\n" {
		t.Errorf("%q", got)
	}
}
