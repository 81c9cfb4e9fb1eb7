//go:build !linux

package stage

// Adopt does nothing where a process cannot adopt.
func Adopt() error { return nil }

// Orphans finds nothing where a process cannot adopt.
func (*Stage) Orphans() ([]string, error) { return nil, nil }
