//go:build !linux

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// flush is the strongest there is (F_FULLFSYNC on macOS).
func flush(f *os.File) error { return f.Sync() }

// cpu is not known here.
func cpu() time.Duration { return 0 }

func cpuModel() string { return "" }

func fileSystem(string) string { return "" }

// memory is the resident set of a process, in bytes; its highest is not known.
func memory(pid int) (now, peak int64, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "ps", "-o", "rss=", "-p", strconv.Itoa(pid)).Output()
	if err != nil {
		return 0, 0, err
	}
	kb, err := strconv.ParseInt(strings.TrimSpace(string(out)), 10, 64)
	if err != nil {
		return 0, 0, fmt.Errorf("ps: %w", err)
	}
	return kb << 10, kb << 10, nil
}
