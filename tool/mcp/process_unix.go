//go:build unix

package mcp

import (
	"os/exec"
	"syscall"
)

// terminateGroup asks every process of the child's group to end.
func terminateGroup(cmd *exec.Cmd) { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) } // gone already: fine

// killGroup ends every process of the child's group.
func killGroup(cmd *exec.Cmd) { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) } // gone already: fine
