//go:build linux && (amd64 || arm64)

package boot

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cairn-run/cairn/sandbox/ns/wire"
)

func TestParsers(t *testing.T) {
	t.Parallel()
	if s := parseState([]byte("7 (a) Z) T 1 1")); s != 'T' {
		t.Errorf("state %q", s)
	}
	if n := parseTicks([]byte("1 (a) b) S 1 1 1 0 -1 4194560 1 2 3 4 50 6 7 8 20 0 1 0 12345 1 1")); n != 56 {
		t.Errorf("%d ticks", n)
	}
	if n := parseLastPID([]byte("0.20 0.18 0.12 1/80 11206\n")); n != 11206 {
		t.Errorf("last process id %d", n)
	}
	if n := parseStatm([]byte("100 20 5 1 0 10 0\n")); n != 20 {
		t.Errorf("%d resident pages", n)
	}
	anon, shared := parseRollup([]byte("00400000-7ff ---p 0 00:00 0 [rollup]\nRss: 10 kB\nPss_Anon:     4 kB\nPss_Shmem:    3 kB\n"))
	if anon != 4<<10 || shared != 3<<10 {
		t.Errorf("anonymous %d, shared %d", anon, shared)
	}
	if n := parseSegments([]byte("       key shmid perms size rss swap\n 0 1 600 4096 4096 0\n 0 2 600 8192 8192 0\n")); n != 12288 {
		t.Errorf("%d bytes of segments", n)
	}
}

func TestParseHiding(t *testing.T) {
	t.Parallel()
	maps := "7f00-7f01 rw-s 00000000 00:2b 77 /workspace/x y (deleted)\n" +
		"7f01-7f02 rw-s 00000000 00:01 78 /memfd:x (deleted)\n" +
		"7f02-7f03 r--p 00000000 00:2b 79 /workspace/z\n"
	if n := parseMaps([]byte(maps), "00:2b"); n != 1 {
		t.Errorf("%d mappings", n)
	}
	if n := parseUnderWay([]byte("pos:\t0\nscm_fds: 12\n")); n != 12 {
		t.Errorf("%d descriptors", n)
	}
}

func TestParseShmem(t *testing.T) {
	t.Parallel()
	if n := parseShmem([]byte("Mapped: 7 kB\nShmem:       12 kB\nShmemHugePages: 5 kB\n")); n != 12<<10 {
		t.Errorf("%d bytes", n)
	}
}

func FuzzParseHiding(f *testing.F) {
	f.Add([]byte("7f00-7f01 rw-s 00000000 00:2b 77 /workspace/x (deleted)\nscm_fds: 12\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if parseShmem(b) < 0 || parseMaps(b, "00:2b") < 0 || parseUnderWay(b) < 0 {
			t.Error("negative")
		}
	})
}

func FuzzParseState(f *testing.F) {
	f.Add([]byte("7 (a) Z) T 1 1"))
	f.Fuzz(func(t *testing.T, b []byte) { _, _ = parseState(b), parseTicks(b) })
}

func FuzzParseLastPID(f *testing.F) {
	f.Add([]byte("0.20 0.18 0.12 1/80 11206\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if parseLastPID(b) < 0 {
			t.Error("negative")
		}
	})
}

func FuzzParseStatm(f *testing.F) {
	f.Add([]byte("100 20 5"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if parseStatm(b) < 0 {
			t.Error("negative")
		}
	})
}

func FuzzParseRollup(f *testing.F) {
	f.Add([]byte("Pss_Anon: 4 kB\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if a, s := parseRollup(b); a < 0 || s < 0 {
			t.Error("negative")
		}
	})
}

func FuzzParseSegments(f *testing.F) {
	f.Add([]byte("key rss\n1 2\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if parseSegments(b) < 0 && len(b) < 1<<10 {
			t.Error("negative")
		}
	})
}

func TestFind(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, mode := range map[string]os.FileMode{"run": 0o755, "data": 0o644} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, mode); err != nil {
			t.Fatal(err)
		}
	}
	env := []string{"PATH=/no/such:" + dir}
	if p, err := find("run", "/", env); err != nil || p != filepath.Join(dir, "run") {
		t.Errorf("%q, %v", p, err)
	}
	if _, err := find("data", "/", env); !errors.Is(err, unix.EACCES) {
		t.Errorf("a file that is not executable: %v", err)
	}
	if _, err := find("nothing", "/", env); !errors.Is(err, unix.ENOENT) {
		t.Errorf("a name that is not there: %v", err)
	}
	if p, err := find("run", dir, []string{"PATH=:"}); err != nil || p != filepath.Join(dir, "run") {
		t.Errorf("an empty directory of PATH is the working directory: %q, %v", p, err)
	}
	if p, err := find("./x", "/", nil); err != nil || p != "./x" {
		t.Errorf("a path: %q, %v", p, err)
	}
}

func TestHandles(t *testing.T) {
	t.Parallel()
	trees := []wire.Tree{{}, {Subs: wire.NewList([]string{"upper", "work"})}, {}}
	got, err := handles(trees, []int{10, 11, 12, 13, 14})
	if err != nil || len(got[1]) != 3 || got[1][2] != 13 || got[2][0] != 14 {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := handles(trees, []int{10, 11}); err == nil {
		t.Error("too few descriptors were taken")
	}
}

func TestHidden(t *testing.T) {
	t.Parallel()
	var h Hidden
	for _, c := range []struct {
		free, known int64
		places      int
		want        int64
	}{
		{1000, 10, 1, 0}, // the first look is where it begins
		{900, 10, 0, 0},  // others wrote, and nothing can be hidden
		{800, 20, 2, 90}, // 100 went, 10 of them are seen
		{950, 20, 2, 0},  // others deleted
		{500, 20, 0, 0},  // no place any more
		{400, 120, 1, 0}, // all of it is seen
	} {
		if got := h.Count(c.free, c.known, c.places); got != c.want {
			t.Errorf("%+v: %d", c, got)
		}
	}
}
