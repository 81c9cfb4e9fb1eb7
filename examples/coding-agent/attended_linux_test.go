package codingagent_test

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/cairn-run/cairn/examples/recording"
)

// TestAttended plays the agent as on a real model: at a terminal, with a person who
// decides. The model is the script all the same, so that it needs no key.
func TestAttended(t *testing.T) {
	t.Parallel()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for answer, want := range map[string]string{
		"y\n":            "Release 1.4.1 is packed",
		"n\nnot today\n": "The release was not approved",
	} {
		r, err := recording.Run(t.Context(), recording.Options{
			Args: []string{exe, "-example", ".", "-model", "script/coder"}, Env: append(os.Environ(), asDemo+"=1"),
			Typed: []recording.Typed{{When: "leave it open", Text: answer}},
		})
		if err != nil {
			t.Fatalf("%v\n%s", err, r.Text())
		}
		if text := strings.Join(strings.Fields(r.Text()), " "); !strings.Contains(text, want) || !strings.Contains(text, "ok nothing was pushed") {
			t.Errorf("after %q there is no %q:\n%s", answer, want, r.Text())
		}
	}
}

// TestNoNamespaces plays the demo where no user namespace can be made: it says so and
// how to go on, and does nothing.
func TestNoNamespaces(t *testing.T) {
	t.Parallel()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// The limit is that of the namespace which this makes, and of nobody else.
	c := exec.CommandContext(t.Context(), "/bin/sh", "-c", `echo 0 >/proc/sys/user/max_user_namespaces && exec "$0" -example .`, exe)
	c.Env = append(os.Environ(), asDemo+"=1")
	c.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}},
	}
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	err = c.Run()
	if c.ProcessState == nil || c.ProcessState.ExitCode() != 1 {
		t.Fatalf("%v\n%s%s", err, out.String(), errs.String())
	}
	for _, want := range []string{"the demo needs a sandbox", "user.max_user_namespaces", "make demo SANDBOX=none", "cairn doctor"} {
		if !strings.Contains(errs.String(), want) {
			t.Errorf("it does not say %q:\n%s", want, errs.String())
		}
	}
	if out.Len() > 0 {
		t.Errorf("it began all the same:\n%s", out.String())
	}
}

// TestWithoutSandboxPlays: typed, the demo goes on without a sandbox.
func TestWithoutSandboxPlays(t *testing.T) {
	t.Parallel()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), exe, "-example", ".", "-sandbox", "none")
	c.Env = append(os.Environ(), asDemo+"=1")
	out, err := c.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "sandbox   none") {
		t.Errorf("%v\n%s", err, out)
	}
}
