//go:build linux && (amd64 || arm64)

package boot

import (
	"fmt"
	"os"
	"path"

	"github.com/cairn-run/cairn/sandbox/ns/wire"
)

//nolint:gochecknoinits // see the comment of the package
func init() {
	if len(os.Args) == 0 {
		return
	}
	var err error
	switch path.Base(os.Args[0]) {
	case wire.ForkdName:
		err = forkd()
	case wire.InitName:
		err = initialize()
	default:
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, os.Args[0]+":", err)
		os.Exit(1)
	}
	os.Exit(0)
}
