package cli

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/cairn-run/cairn/client"
)

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version, and that of the server if one runs",
		Args:  cobra.NoArgs,
		RunE:  func(c *cobra.Command, _ []string) error { return a.version(c.Context()) },
	}
}

// versions is what version prints with --json.
type versions struct {
	Version string `json:"version"`
	Go      string `json:"go"`
	OS      string `json:"os"`
	Arch    string `json:"arch"`
	Server  string `json:"server,omitzero"`
}

func (a *app) version(ctx context.Context) error {
	v := versions{Version: a.Version, Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH}
	c := client.Unix(filepath.Join(a.data, socketName), a.Getenv("CAIRN_TOKEN"))
	if a.server != "" {
		c = client.New(a.server, a.Getenv("CAIRN_TOKEN"), nil)
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	if s, err := c.Version(ctx); err == nil { // no server is no error here
		v.Server = s.Version
	}
	return a.print(v, func(w io.Writer) {
		fmt.Fprintf(w, "cairn %s (%s, %s/%s)\n", v.Version, v.Go, v.OS, v.Arch)
		if v.Server != "" && v.Server != v.Version {
			fmt.Fprintf(w, "the server runs %s\n", oneLine(v.Server, 60))
		}
	})
}
