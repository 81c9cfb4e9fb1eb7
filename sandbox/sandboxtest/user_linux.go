package sandboxtest

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// userID is the ordinary user of AsUser: the first that distributions give to a
	// person (login.defs, UID_MIN).
	userID = 1000
	// userEnv is set in a run by AsUser.
	userEnv = "CAIRN_SANDBOXTEST_USER"
	// userDeadline bounds such a run.
	userDeadline = 4 * time.Minute
)

// AsUser runs tests of this binary again as an ordinary user: run is a pattern as
// of go test -run. Who is one already has run them.
func AsUser(t *testing.T, run string) {
	t.Helper()
	if os.Geteuid() != 0 || os.Getenv(userEnv) != "" {
		t.Log("this is an ordinary user: the tests have run as one")
		return
	}
	attacker := buildAttacker(t)
	// The test's binary is where only root may look.
	dir := tempDir(t)
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // another user goes through it
		t.Fatal(err)
	}
	binary, temp := filepath.Join(dir, "tests"), filepath.Join(dir, "tmp")
	b, err := os.ReadFile("/proc/self/exe")
	if err == nil {
		err = os.WriteFile(binary, b, 0o755) //nolint:gosec // another user runs it
	}
	if err == nil {
		err = os.Mkdir(temp, 0o700)
	}
	if err == nil {
		err = os.Chown(temp, userID, userID)
	}
	if err != nil {
		t.Fatal(err)
	}
	// It may use cgroups only if somebody gave it some: as on a plain machine.
	ctx, cancel := context.WithTimeout(context.Background(), userDeadline)
	defer cancel()
	args := []string{"-test.run=" + run, "-test.count=1", "-test.timeout=" + userDeadline.String()}
	if testing.Verbose() {
		args = append(args, "-test.v")
	}
	if testing.Short() {
		args = append(args, "-test.short")
	}
	c := exec.CommandContext(ctx, binary, args...)
	c.Dir = "/"
	c.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + temp, "TMPDIR=" + temp, userEnv + "=1", attackerEnv + "=" + attacker}
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: userID, Gid: userID, Groups: []uint32{}}, Pdeathsig: unix.SIGKILL}
	runtime.LockOSThread() // it dies with the thread that starts it, not with the process
	defer runtime.UnlockOSThread()
	out, err := c.CombinedOutput()
	if err != nil {
		t.Errorf("as user %d: %v\n%s", userID, err, out)
		return
	}
	if testing.Verbose() {
		t.Logf("as user %d:\n%s", userID, strings.TrimSpace(string(out)))
	}
}
