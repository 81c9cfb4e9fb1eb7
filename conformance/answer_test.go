// Package conformance compares how Cairn's drivers and the official SDKs of
// OpenAI, Anthropic and Google decode the same recorded bytes. It is a module of
// its own, so that the SDKs stay out of Cairn's.
package conformance_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// TestMain finds the test data: it lies beside Cairn's checkout, not beside this
// module.
func TestMain(m *testing.M) {
	if os.Getenv("CAIRN_TESTDATA") == "" {
		if err := os.Setenv("CAIRN_TESTDATA", filepath.Join("..", "..", "shared", "data")); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}

// answer is what both sides are reduced to: nothing else is normalised away.
type answer struct {
	Model     string
	Text      string
	Reasoning string
	Calls     []call
	Finish    string // the provider's own word
	Usage     map[string]int64
}

// call is a tool call. Args are compacted where they are an object on the wire, and
// untouched where they are a string.
type call struct{ ID, Name, Args string }

func (a *answer) count(name string, n int64) {
	if n == 0 {
		return
	}
	if a.Usage == nil {
		a.Usage = map[string]int64{}
	}
	a.Usage[name] = n
}

func compact(raw []byte) string {
	var b bytes.Buffer
	if json.Compact(&b, raw) != nil {
		return string(raw)
	}
	return b.String()
}
