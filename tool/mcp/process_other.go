//go:build !linux

package mcp

import "os/exec"

// awaitExit waits for the child and reaps it.
func awaitExit(cmd *exec.Cmd) (reaped bool, err error) { return true, cmd.Wait() }

// spawner starts children.
type spawner struct{}

func newSpawner() *spawner { return &spawner{} }

func (*spawner) do(f func() error) error { return f() }

func (*spawner) close() {}
