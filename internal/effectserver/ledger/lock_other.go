//go:build !unix

package ledger

import (
	"context"
	"errors"
	"fmt"
	"os"
)

// lock refuses: without a lock that a killed process lets go of, two servers
// could write one file.
func lock(context.Context, *os.File) error {
	return fmt.Errorf("file locks: %w on this system", errors.ErrUnsupported)
}

func syncDir(string) error { return nil }
