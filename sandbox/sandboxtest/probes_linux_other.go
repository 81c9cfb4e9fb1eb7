//go:build linux && !amd64

package sandboxtest

func archProbes() []probe { return nil }
