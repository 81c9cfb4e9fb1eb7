package none

import (
	"os"
	"strconv"
	"testing"
)

func TestParseStat(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		t.Fatal(err)
	}
	m, ok := parseStat(string(b))
	if !ok || m.pid != os.Getpid() || m.ppid != os.Getppid() || m.start == "" {
		t.Errorf("%s: got %+v, %v", b, m, ok)
	}
	const odd = "7 (a) R 1 (b)) S 3 4 5 0 -1 0 0 0 0 0 0 0 0 0 0 0 1 0 999 0"
	if m, ok := parseStat(odd); !ok || m.pid != 7 || m.ppid != 3 || m.sid != 5 || m.state != 'S' || m.start != "999" {
		t.Errorf("a name with parentheses: %+v, %v", m, ok)
	}
}

func FuzzParseStat(f *testing.F) {
	f.Add("7 (a) R 1 (b)) S 3 4 5 0 -1 0 0 0 0 0 0 0 0 0 0 0 1 0 999 0")
	f.Add(") ( S 1")
	f.Add("")
	f.Fuzz(func(t *testing.T, s string) {
		m, ok := parseStat(s)
		if ok && (m.start == "" || m.state == 0) {
			t.Errorf("%q gave %s", s, strconv.Quote(m.start))
		}
	})
}
