// Package traffic loads recorded exchanges with model providers, so that tests
// can put them through the drivers and through the official SDKs. What is not a
// generation exchange of one of the four wires is left out with a reason, and
// counted. It is for tests only.
package traffic

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/cairn-run/cairn/internal/sim"
)

// Wire is the format that an exchange speaks.
type Wire string

// The wires of generation exchanges.
const (
	Chat      Wire = "chat"      // POST …/chat/completions
	Responses Wire = "responses" // POST …/responses
	Messages  Wire = "messages"  // POST …/messages, also as Vertex and Bedrock carry it
	Generate  Wire = "generate"  // POST …:generateContent and …:streamGenerateContent
)

// Corpora: where exchanges are from.
const (
	Fantasy  = "fantasy"  // charmbracelet/fantasy, go-vcr cassettes
	Pydantic = "pydantic" // pydantic/pydantic-ai, vcrpy cassettes
	Vercel   = "vercel"   // vercel/ai, answers without their requests
)

// Exchange is one recorded request and what came back.
type Exchange struct {
	Name     string // corpus, file and, in a cassette, number
	Corpus   string // Fantasy, Pydantic or Vercel
	Provider string // who answered: "openai", "openrouter", "vertex", …
	Wire     Wire
	Model    string // as it was asked for; of Vercel's as the answer names it
	Path     string // of the URL; empty: not recorded
	// Stream says that the answer is server-sent events.
	Stream bool
	// Request is the body that was sent; nil: not recorded. Recorded as a YAML
	// tree, it is that tree as compact JSON: order and numbers are as they stand
	// there, white space is not what was sent. Body likewise.
	Request []byte
	Status  int
	// Header is the answer's. What says how the body was transferred
	// (Content-Encoding, Content-Length, Transfer-Encoding) is taken out.
	Header http.Header
	Body   []byte
}

// Excluded is an exchange that is not in the corpus, and why.
type Excluded struct{ Name, Corpus, Reason string }

// Corpus is everything that was recorded, by name.
type Corpus struct {
	Exchanges []Exchange
	Excluded  []Excluded
}

// folders are the corpora below the test data.
var folders = map[string]string{
	Fantasy:  "fantasy-cassettes",
	Pydantic: "pydantic-ai-cassettes",
	Vercel:   "vercel-ai-fixtures",
}

// loaded holds the corpora read so far, by folder.
var loaded struct {
	sync.Mutex
	from map[string]*Corpus
}

// Load returns the corpus, read once in a process. Nobody may change it. Absent
// data skips the test, or fails it with CI=true: see sim.Data.
func Load(tb testing.TB) *Corpus {
	tb.Helper()
	root := sim.Data(tb, "model-traffic")
	loaded.Lock()
	defer loaded.Unlock()
	if c := loaded.from[root]; c != nil {
		return c
	}
	c, err := read(root)
	if err != nil {
		tb.Fatal(err)
	}
	loaded.from = map[string]*Corpus{root: c}
	return c
}

// Only are the exchanges of one wire.
func (c *Corpus) Only(w Wire) []Exchange {
	var some []Exchange
	for i := range c.Exchanges {
		if c.Exchanges[i].Wire == w {
			some = append(some, c.Exchanges[i])
		}
	}
	return some
}

// Count is how many exchanges were left out for one reason.
type Count struct {
	Reason string
	N      int
}

// Exclusions counts what was left out, by reason.
func (c *Corpus) Exclusions() []Count {
	n := map[string]int{}
	for _, e := range c.Excluded {
		n[e.Reason]++
	}
	all := make([]Count, 0, len(n))
	for reason, count := range n {
		all = append(all, Count{reason, count})
	}
	slices.SortFunc(all, func(a, b Count) int { return strings.Compare(a.Reason, b.Reason) })
	return all
}

func read(root string) (*Corpus, error) {
	c := &Corpus{}
	for corpus, folder := range folders {
		dir := filepath.Join(root, folder)
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			rel, err := filepath.Rel(dir, path)
			if err != nil {
				return err
			}
			raw, err := os.ReadFile(path) //nolint:gosec // a file of the test data
			if err != nil {
				return err
			}
			if err := c.add(corpus, filepath.ToSlash(rel), raw); err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	slices.SortFunc(c.Exchanges, func(a, b Exchange) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(c.Excluded, func(a, b Excluded) int {
		return cmp.Or(strings.Compare(a.Reason, b.Reason), strings.Compare(a.Name, b.Name))
	})
	for i := 1; i < len(c.Exchanges); i++ {
		if c.Exchanges[i].Name == c.Exchanges[i-1].Name {
			return nil, errors.New("two exchanges have the name " + c.Exchanges[i].Name)
		}
	}
	return c, nil
}

// add puts the exchanges of one file into the corpus.
func (c *Corpus) add(corpus, file string, raw []byte) error {
	switch filepath.Base(file) {
	case "LICENSE", "NOTICE", "PROVENANCE.txt":
		return nil
	}
	if corpus == Vercel {
		return c.fixture(file, raw)
	}
	return c.cassette(corpus, file, raw)
}

func (c *Corpus) exclude(corpus, name, reason string) {
	c.Excluded = append(c.Excluded, Excluded{Name: name, Corpus: corpus, Reason: reason})
}
