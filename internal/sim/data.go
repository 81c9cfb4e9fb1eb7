// Package sim is what simulations and recorded-data tests share: where the data
// is, and the seed.
package sim

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"
)

// Data returns a folder or file of the test data, which lies in $CAIRN_TESTDATA
// or else in ../shared/data beside the repository. Where it is absent the test is
// skipped, except with CI=true: there it fails, so that nothing goes untested
// unseen.
func Data(tb testing.TB, elem ...string) string {
	tb.Helper()
	root := os.Getenv("CAIRN_TESTDATA")
	if root == "" {
		root = filepath.Join(filepath.Dir(repository(tb)), "shared", "data")
	}
	path := filepath.Join(append([]string{root}, elem...)...)
	if _, err := os.Stat(path); err != nil {
		if os.Getenv("CI") == "true" {
			tb.Fatalf("the test data is absent: %v", err)
		}
		tb.Skipf("the test data is absent, set CAIRN_TESTDATA: %v", err)
	}
	return path
}

// repository is the folder of go.mod, above the folder the test runs in.
func repository(tb testing.TB) string {
	tb.Helper()
	dir, err := os.Getwd()
	if err != nil {
		tb.Fatal(err)
	}
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		if dir == filepath.Dir(dir) {
			tb.Fatal("no go.mod above the test")
		}
	}
}

// Seed returns the seed of a simulation: $CAIRN_SEED, else a new one. A failing
// test prints it, so that it can be run again.
func Seed(tb testing.TB) uint64 {
	tb.Helper()
	seed := rand.Uint64() // chance, not a secret
	if text := os.Getenv("CAIRN_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			tb.Fatalf("CAIRN_SEED is %q: write a number", text)
		}
	}
	tb.Cleanup(func() {
		if tb.Failed() {
			tb.Logf("run again with CAIRN_SEED=%d", seed)
		}
	})
	return seed
}
