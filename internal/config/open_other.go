//go:build !unix

package config

// noWait is nothing where opening a file does not wait.
const noWait = 0
