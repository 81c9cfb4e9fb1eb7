package builtin_test

import (
	"os"
	"runtime"
	"testing"

	"go.uber.org/goleak"

	"github.com/cairn-run/cairn/sandbox/sandboxtest"
)

// TestMain sees to it that no goroutine outlives the tests.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		sandboxtest.Cleanup()
		os.Exit(code)
	}))
}

// lockThread keeps the thread of a test that starts a process which is to die with it:
// the kernel means the thread, not the process.
func lockThread(t *testing.T) {
	runtime.LockOSThread()
	t.Cleanup(runtime.UnlockOSThread)
}

// TestAsUser runs the tests that concern the sandbox without root.
func TestAsUser(t *testing.T) {
	t.Parallel()
	sandboxtest.AsUser(t, "^(TestSession|TestTimeout|TestCancel|TestBackground|TestBackgroundEnds|TestLostAttempt|TestLostSandbox|TestLinksStayInside|TestFilesOfTheSandbox|TestLongOutput|TestReadsAtOnce|TestBreach|TestMemory|TestSkills|TestTreeIsWhatIsThere|TestOneMoment|TestOrphans|TestReportedElsewhere|TestNoText)$")
}
