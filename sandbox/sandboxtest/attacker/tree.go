//go:build linux

package main

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// tree starts processes that hide from who wants to kill them. Each prints a
// line "ready" when it runs, and carries the token in its arguments.
//
//	stubborn  ignores every signal that can be ignored, with a child in a session
//	          of its own, one orphan, one orphan in a session of its own, and one
//	          with an empty environment, closed stdio and another directory
//	          (left out when there is another argument)
//	leave     the same, and the first process ends at once with code 3
//	storm     children that start children and end, for ever
func tree(name string, args []string) {
	token := arg(args, 0)
	switch name {
	case "stubborn", "leave":
		for _, how := range []string{"child", "session", "orphan", "daemon", "naked"} {
			if how != "naked" || len(args) == 1 {
				spawn(how, token, how == "session")
			}
		}
		if name == "leave" {
			os.Exit(3)
		}
		stay()
	case "orphan":
		spawn("stay", token, false)
	case "daemon":
		spawn("stay", token, true)
	case "naked":
		c := exec.Command("/proc/self/exe", "tree", "quiet", token) //nolint:noctx // it is to live on
		c.Env, c.Dir, c.SysProcAttr = []string{}, "/", &syscall.SysProcAttr{Setsid: true}
		if err := c.Start(); err != nil {
			fail(err.Error())
		}
		ready()
	case "quiet":
		signal.Ignore()
		block()
	case "storm":
		ready()
		for {
			c := exec.Command("/proc/self/exe", "tree", "drop", token) //nolint:noctx // it is to live on
			if err := c.Start(); err == nil {
				_ = c.Wait()
			}
		}
	case "drop":
		spawn("brief", token, true)
	case "brief":
	default:
		stay()
	}
}

func spawn(how, token string, setsid bool) {
	c := exec.Command("/proc/self/exe", "tree", how, token) //nolint:noctx // it is to live on
	c.Stdout, c.Stderr = os.Stdout, os.Stderr
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: setsid}
	if err := c.Start(); err != nil {
		fail(err.Error())
	}
}

func ready() { fmt.Println("ready") } //nolint:forbidigo // the output of a program

func stay() {
	signal.Ignore()
	for s := unix.Signal(1); s < 65; s++ {
		signal.Ignore(s)
	}
	ready()
	block()
}
