package sqlite_test

import (
	"os"
	"testing"
)

// TestMain lets the test binary be the process that is to crash.
func TestMain(m *testing.M) {
	if dir := os.Getenv("CAIRN_TEST_CRASH_DIR"); dir != "" {
		os.Exit(crashChild(dir, os.Stdout))
	}
	os.Exit(m.Run())
}
