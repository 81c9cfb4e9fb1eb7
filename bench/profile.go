package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/pprof"
	"time"
)

// profileLines is how many functions a stored profile lists.
const profileLines = 60

// profiled runs one round; with wanted and -profiles, under the CPU profiler.
func (b *bench) profiled(name string, wanted bool, f func() ([]row, error)) (_ []row, err error) {
	if b.profiles == "" || !wanted {
		return f()
	}
	if err := os.MkdirAll(b.profiles, 0o755); err != nil {
		return nil, err
	}
	raw, err := os.Create(b.profile(name))
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(raw); err != nil {
		return nil, errors.Join(err, raw.Close())
	}
	rows, err := f()
	pprof.StopCPUProfile()
	if err := errors.Join(err, raw.Close()); err != nil {
		return nil, err
	}
	return rows, b.top(name)
}

// profile is where the profile of a figure is written; *.prof is not committed.
func (b *bench) profile(name string) string { return filepath.Join(b.profiles, name+".prof") }

// top writes the heaviest functions of a profile as text.
func (b *bench) top(name string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var text []byte
	for _, order := range []string{"-flat", "-cum"} {
		out, err := exec.CommandContext(ctx, "go", "tool", "pprof", "-top", order, fmt.Sprintf("-nodecount=%d", profileLines), b.profile(name)).Output()
		if err != nil {
			return fmt.Errorf("pprof of %s: %w", name, err)
		}
		text = append(text, "go tool pprof -top "+order+"\n\n"...)
		text = append(append(text, out...), '\n')
	}
	return os.WriteFile(filepath.Join(b.profiles, name+".txt"), text, 0o644)
}
