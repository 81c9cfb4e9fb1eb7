// Command record plays the demo in a terminal and writes what it showed: docs/demo.txt
// as plain text, docs/demo.svg as the image in the README. scripts/record-demo
// calls it.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"time"

	codingagent "github.com/cairn-run/cairn/examples/coding-agent"
	"github.com/cairn-run/cairn/examples/recording"
	"github.com/cairn-run/cairn/examples/stage/command"
)

// marker in the environment says that the process is to be the demo.
const marker = "CAIRN_RECORD_DEMO"

func main() {
	command.Main()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	if os.Getenv(marker) != "" {
		_ = os.Unsetenv(marker) // always nil for a name like this
		code := codingagent.Command(ctx, os.Args[1:], os.Stdout, os.Stderr)
		stop()
		os.Exit(code)
	}
	out := flag.String("out", "docs", "directory for demo.txt and demo.svg")
	cairn := flag.String("cairn", "bin/cairn", "the cairn binary")
	flag.Parse()
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	err := record(ctx, *cairn, *out)
	cancel()
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "record:", err)
		os.Exit(1)
	}
}

func record(ctx context.Context, cairn, out string) error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	r, err := recording.Run(ctx, recording.Options{Args: []string{exe, "-cairn", cairn}, Env: append(os.Environ(), marker+"=1")})
	if err != nil {
		return fmt.Errorf("%w\n%s", err, r.Text())
	}
	for name, data := range map[string][]byte{
		"demo.txt": []byte(r.Text()),
		"demo.svg": r.SVG("A coding agent in Cairn: a failing test, a denied push, an approval, kill -9 in the middle of the release, and how it carries on"),
	} {
		path := filepath.Join(out, name)
		if err := os.WriteFile(path, data, 0o644); err != nil { //nolint:gosec // part of the documentation: everybody may read it
			return err
		}
		fmt.Printf("%s: %d bytes\n", path, len(data))
	}
	return nil
}
