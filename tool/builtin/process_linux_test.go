package builtin_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/cairn-run/cairn/sandbox/ns"
	"github.com/cairn-run/cairn/tool/builtin"
	"github.com/cairn-run/cairn/tool/builtin/hand"
	"github.com/cairn-run/cairn/workspace"
)

// victimEnv names the directory of a process that is killed in a call.
const victimEnv = "CAIRN_BUILTIN_VICTIM"

// over opens a world in a directory that another process may have used before.
func over(t *testing.T, dir string) *world {
	t.Helper()
	w := &world{tb: t}
	d, err := ns.Open(ns.Options{Dir: filepath.Join(dir, "ns")})
	if err != nil {
		t.Fatal(err)
	}
	w.sandbox = d
	uid, gid := ns.Owner()
	if w.store, err = workspace.Open(filepath.Join(dir, "workspaces"), workspace.Options{UID: uid, GID: gid}); err != nil {
		t.Fatal(err)
	}
	temp := filepath.Join(dir, "tmp")
	if err := os.MkdirAll(temp, 0o700); err != nil {
		t.Fatal(err)
	}
	w.driver = builtin.New(builtin.Options{Sandbox: d, Workspaces: w.store, TempDir: temp, Log: slog.New(slog.DiscardHandler)})
	w.catalog = newCatalog(w.driver)
	return w
}

func (w *world) close(t *testing.T) {
	t.Helper()
	for _, c := range []interface{ Close() error }{w.driver, w.sandbox, w.store} {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestVictim is the process that TestKilledProcess kills; by itself it does nothing.
func TestVictim(t *testing.T) {
	dir := os.Getenv(victimEnv)
	if dir == "" {
		return
	}
	w := over(t, dir)
	s := w.talk(t, agent())
	s.key.ID = "ses_victim"
	if err := json.Unmarshal([]byte(os.Getenv(victimEnv+"_AT")), &s.at); err != nil {
		t.Fatal(err)
	}
	s.call("bash", object{"command": "seq 1 50000 > big; rm f; echo new > g; sleep 95", "background": os.Getenv(victimEnv+"_BACKGROUND") != ""})
	fmt.Println("the call has ended")
	select {}
}

// TestKilledProcess: the process that makes a call is killed in the middle of it; the
// next one makes the call again and comes to the state it would have had.
func TestKilledProcess(t *testing.T) {
	t.Parallel()
	lockThread(t)
	dir := t.TempDir()
	w := over(t, dir)
	s := w.talk(t, agent())
	s.key.ID = "ses_victim"
	s.bash("echo old > f")
	w.close(t)
	at, err := json.Marshal(s.at)
	if err != nil {
		t.Fatal(err)
	}
	for _, background := range []string{"", "1"} {
		c := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^TestVictim$", "-test.count=1")
		c.Env = append(os.Environ(), victimEnv+"="+dir, victimEnv+"_AT="+string(at), victimEnv+"_BACKGROUND="+background)
		c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		out, err := c.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		if background != "" {
			for lines := bufio.NewScanner(out); lines.Scan() && lines.Text() != "the call has ended"; {
			}
		} else { // the command is under way when its files are there
			waitFor(t, func() bool {
				_, err := os.Stat(filepath.Join(dir, "workspaces/t/n-acme/s/n-ses_victim/live/root/workspace/g"))
				return err == nil
			})
		}
		if err := c.Process.Kill(); err != nil {
			t.Error(err)
		}
		_ = c.Wait() // it was killed
	}
	w = over(t, dir)
	defer w.close(t)
	again := w.talk(t, agent())
	again.key, again.at = s.key, s.at
	if got := again.bash("cat f; ls"); got != "old\nf\n" {
		t.Error(got)
	}
	again.bash("seq 1 50000 > big; rm f; echo new > g")
	other := w.talk(t, agent())
	other.bash("echo old > f")
	other.bash("seq 1 50000 > big; rm f; echo new > g")
	if again.at != other.at {
		t.Errorf("%+v, without the kills %+v", again.at, other.at)
	}
	if err := w.verify(again); err != nil {
		t.Error(err)
	}
	waitFor(t, func() bool { return !alive("sleep\x0095\x00") })
}

// alive says whether a process with these arguments is there.
func alive(cmdline string) bool {
	all, _ := filepath.Glob("/proc/[0-9]*/cmdline") // the pattern is well-formed
	for _, p := range all {
		if b, err := os.ReadFile(p); err == nil && string(b) == cmdline {
			return true
		}
	}
	return false
}

// TestHandStartsEarly: the file program is at work before the packages are initialised
// that it does not need: that would take several times as long as its work.
func TestHandStartsEarly(t *testing.T) {
	t.Parallel()
	c := exec.CommandContext(t.Context(), "/proc/self/exe")
	c.Args[0] = hand.Name
	c.Env = []string{"GODEBUG=inittrace=1"}
	line, err := hand.Encode(hand.Request{Op: hand.OpList, Args: json.RawMessage(`{"path":"/proc/self/task","depth":1}`)})
	if err != nil {
		t.Fatal(err)
	}
	c.Stdin = strings.NewReader(string(line))
	var trace strings.Builder
	c.Stderr = &trace
	out, err := c.Output()
	var r hand.Response
	if err != nil || json.Unmarshal(out, &r) != nil || r.IsError {
		t.Fatalf("%s, %v", out, err)
	}
	for _, late := range []string{"github.com/santhosh-tekuri", "github.com/cairn-run/cairn/tool ", "testing"} {
		if strings.Contains(trace.String(), "init "+late) {
			t.Errorf("%s was initialised before", late)
		}
	}
	if !strings.Contains(trace.String(), "init os ") {
		t.Errorf("no trace: %s", trace.String())
	}
}
