//go:build !linux && !darwin

package cli

import "errors"

// fileSystem cannot be found out here.
func fileSystem(string) (name string, network bool, err error) {
	return "", false, errors.ErrUnsupported
}
