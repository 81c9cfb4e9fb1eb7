// Command gen writes the published descriptions of the API: spec/openapi.json
// and spec/events.json. Run it from the root of the repository after a change
// of the wire types or of the events:
//
//	go run ./api/gen
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/cairn-run/cairn/api"
)

func main() {
	if err := run("spec"); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

func run(dir string) error {
	for name, describe := range map[string]func() ([]byte, error){
		"openapi.json": api.OpenAPI, "events.json": api.EventSchemas,
	} {
		b, err := describe()
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			return err
		}
	}
	return nil
}
