package sandboxtest

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cairn-run/cairn/sandbox"
)

// probe is one thing tried inside a sandbox.
type probe struct {
	name string
	args []string // of the attacker; {words} are replaced by what the test has made
	// want are the errnos that are a denial; empty: any, or the attacker's own word.
	// All others say that the sandbox let it through.
	want []string
	// outside says who is not denied when the same probe runs without a sandbox, where
	// it must be harmless: "root", "any", or "" when it is not run there. It
	// proves that the probe can hit.
	outside string
	// alone probes attack the instance itself: they get one, which must live on.
	alone bool
	// allowed says why it does not matter when it is not denied: only what happened is
	// shown.
	allowed string
}

// minHits is how many probes must hit outside, for an ordinary user too: enough
// that a broken attacker is found.
const minHits = 40

// refused are the errnos of a call that a filter or a missing right stops.
// SIGSYS is the signal of a filter that kills.
var refused = []string{"EPERM", "ENOSYS", "EACCES", "SIGSYS"}

// absent are those of a path that is not shown or may not be used.
var absent = []string{"ENOENT", "EACCES", "EPERM", "ENOTDIR"}

// unwritable are those of a path that is shown to be read.
var unwritable = []string{"ENOENT", "EACCES", "EPERM", "EROFS", "ENOTDIR"}

// unreachable are those of a network that is not there.
var unreachable = []string{"ENETUNREACH", "ECONNREFUSED", "EHOSTUNREACH", "EPERM", "EACCES", "EADDRNOTAVAIL", "ETIMEDOUT", "ENOENT", "EAFNOSUPPORT"}

// finding is what the attacker printed.
type finding struct {
	Denied bool   `json:"denied"`
	Errno  string `json:"errno"`
	Detail string `json:"detail"`
}

// denied says whether a finding is the denial that was wanted.
func (p probe) denied(f finding) bool {
	return f.Denied && (len(p.want) == 0 || slices.Contains(p.want, f.Errno))
}

// Attack tries to leave an instance. For a driver that isolates nothing, it shows
// instead that the probes would hit. Open is called once.
func Attack(t *testing.T, open func(t *testing.T) sandbox.Driver, o Options) {
	t.Helper()
	leakDescriptors(t)
	s := begin(t, open, o)
	host := newHost(t)
	b := s.box(t, func(s *sandbox.Spec) { s.Limits.Processes = 512 })
	fill := host.words(t, b)
	all := slices.Concat(kernelProbes(), socketProbes(), processProbes(), procProbes(), fileProbes())
	seen, hits := map[string]bool{}, 0
	for _, p := range all {
		if seen[p.name] {
			t.Errorf("there are two probes %q", p.name)
		}
		seen[p.name] = true
		harmless := p.outside == "any" || p.outside == "root" && os.Geteuid() == 0
		if !o.Isolated && !harmless {
			continue
		}
		t.Run(p.name, func(t *testing.T) {
			b, fill := b, fill
			if p.alone {
				b = s.box(t, nil)
				fill = host.words(t, b)
			}
			f := b.try(t, p, fill)
			if p.alone {
				b.must(t, "true")
			}
			t.Logf("%+v", f)
			switch {
			case !o.Isolated && !p.denied(f):
				hits++
			case !o.Isolated && f.Errno == "ENOSYS":
				t.Log("this kernel does not have the call")
			case !o.Isolated:
				t.Error("it is denied without a sandbox too: the probe shows nothing")
			case o.Isolated && !p.denied(f) && p.allowed == "":
				t.Error("it is not denied")
			}
		})
	}
	if !o.Isolated {
		if hits < minHits {
			t.Errorf("only %d probes hit without a sandbox, want %d", hits, minHits)
		}
		return
	}
	t.Run("the host is unharmed", func(t *testing.T) { host.unharmed(t) })
	t.Run("init lives", func(t *testing.T) { b.must(t, "true") })
	for name, test := range map[string]func(*testing.T, *suite){
		"kill everything":         killEverything,
		"planted attributes":      plantedAttributes,
		"special files":           specialFiles,
		"proc self exe as args":   selfExe,
		"directory from a leak":   leakedDirectory,
		"two sandboxes are apart": apart,
		"a stopped tree":          stoppedTree,
	} {
		t.Run(name, func(t *testing.T) { test(t, s) })
	}
}

// try runs a probe.
func (b *box) try(t *testing.T, p probe, fill *strings.Replacer) finding {
	t.Helper()
	args := []string{b.attacker, "probe"}
	for _, a := range p.args {
		args = append(args, fill.Replace(a))
	}
	o := b.run(t, sandbox.Cmd{Args: args})
	if o.Signal == "SIGSYS" {
		return finding{Denied: true, Errno: "SIGSYS", Detail: "killed by the filter"}
	}
	var f finding
	if err := json.Unmarshal([]byte(o.out), &f); err != nil {
		t.Fatalf("the attacker said %q %q, exit %d %s", o.out, o.err, o.Code, o.Signal)
	}
	return f
}

// highFD is where a second descriptor of the host's root is put: what a driver
// moves onto the low numbers does not cover it.
const highFD = 200

// leakDescriptors opens, without close-on-exec, what must not be found inside: a
// directory that leads to the host (CVE-2024-21626), a file and a pipe. The
// driver's helpers inherit them.
func leakDescriptors(t *testing.T) {
	t.Helper()
	dir, err := unix.Open("/", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		t.Fatal(err)
	}
	file, err := unix.Open(os.Args[0], unix.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], 0); err != nil {
		t.Fatal(err)
	}
	high, err := unix.FcntlInt(uintptr(dir), unix.F_DUPFD, highFD)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, fd := range []int{dir, file, pipe[0], pipe[1], high} {
			_ = unix.Close(fd) // it is ours
		}
	})
}

// host is what the test has put outside for the probes to reach.
type host struct {
	dir      string // holds what a payload would want
	secret   string // a file there
	unix     string
	abstract string
	tcp, udp string
	tcp6     string
}

func newHost(t *testing.T) *host {
	t.Helper()
	h := &host{dir: tempDir(t), abstract: "@cairn-" + token()}
	h.secret = filepath.Join(h.dir, token()+".secret")
	if err := os.WriteFile(h.secret, []byte(secretValue), 0o666); err != nil { //nolint:gosec // only its absence protects it
		t.Fatal(err)
	}
	if err := os.Chmod(h.dir, 0o777); err != nil { //nolint:gosec // as above
		t.Fatal(err)
	}
	h.unix = filepath.Join(h.dir, "s")
	serve := func(network, address string) string {
		l, err := net.Listen(network, address) //nolint:noctx // closed with the test
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				_ = c.Close()
			}
		}()
		return l.Addr().String()
	}
	serve("unix", h.unix)
	serve("unix", h.abstract)
	h.tcp = serve("tcp", "127.0.0.1:0")
	h.tcp6 = h.tcp
	if l, err := net.Listen("tcp", "[::1]:0"); err == nil { //nolint:noctx // closed at once
		_ = l.Close()
		h.tcp6 = serve("tcp", "[::1]:0")
	}
	u, err := net.ListenPacket("udp", "127.0.0.1:0") //nolint:noctx // closed with the test
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = u.Close() })
	go func() {
		b := make([]byte, 512)
		for {
			n, from, err := u.ReadFrom(b)
			if err != nil {
				return
			}
			_, _ = u.WriteTo(b[:n], from) // the probe sees that nothing comes
		}
	}()
	h.udp = u.LocalAddr().String()
	return h
}

// words starts two processes for probes to attack and says what {words} mean.
func (h *host) words(t *testing.T, b *box) *strings.Replacer {
	t.Helper()
	out := newLines(t)
	victim := b.start(t, sandbox.Cmd{Args: []string{b.attacker, "probe", "victim"}, Stdout: out})
	detached := b.start(t, sandbox.Cmd{Args: []string{b.attacker, "probe", "victim"}, Stdout: out, Detached: true})
	out.ready(t, 2)
	name, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	init := "1"
	if !b.s.o.Isolated {
		init = fmt.Sprint(victim.PID()) // the host's own first process is nobody's to attack
	}
	return strings.NewReplacer(
		"{victim}", fmt.Sprint(victim.PID()), "{detached}", fmt.Sprint(detached.PID()), "{init}", init,
		"{tcp}", h.tcp, "{tcp6}", h.tcp6, "{udp}", h.udp, "{abstract}", h.abstract, "{unix}", h.unix, "{dir}", h.dir, "{secret}", h.secret,
		"{secretname}", filepath.Base(h.secret), "{base}", b.base, "{basename}", filepath.Base(b.base), "{temp}", os.TempDir(),
		"{hostname}", name, "{binary}", os.Args[0], "{attacker}", b.attacker, "{attackerdir}", b.s.attacker, "{hand}", sandbox.HandPath, "{secretvar}", secretName,
	)
}

// unharmed looks whether what was put outside is as it was.
func (h *host) unharmed(t *testing.T) {
	t.Helper()
	if b, err := os.ReadFile(h.secret); err != nil || string(b) != secretValue {
		t.Errorf("the secret file has changed: %v", err)
	}
	entries, err := os.ReadDir(h.dir)
	if err != nil || len(entries) != 2 {
		t.Errorf("the directory outside has %v, %v", entries, err)
	}
}
