package aimock_test

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/cairn-run/cairn/internal/aimock"
)

// fault is what the server is told to do with a request.
type fault string

const (
	none       fault = ""
	drop       fault = "drop"
	malformed  fault = "malformed"
	disconnect fault = "disconnect"
	limit      fault = "limit"
	slow       fault = "slow"
	cut        fault = "cut"  // the stream ends in the middle
	hang       fault = "hang" // nothing is said
)

// contexts are the fixtures of faults: they come before all others.
func contexts() []aimock.Fixture {
	return []aimock.Fixture{
		{
			Match:    aimock.Match{Context: string(cut)},
			Response: aimock.Response{Content: "This answer breaks off before it has said what it has to say."},
			// With a pause, so that what was said before the end arrives.
			ChunkSize: 8, Latency: 5, TruncateAfterChunks: 6,
		},
		{
			Match:    aimock.Match{Context: string(hang)},
			Response: aimock.Response{Content: "Too late."},
			Profile:  &aimock.Profile{First: 10 * 60 * 1000, Tokens: 1},
		},
	}
}

func (f fault) header() (name, value string) {
	switch f {
	case drop:
		return aimock.HeaderDrop, "1"
	case malformed:
		return aimock.HeaderMalformed, "1"
	case disconnect:
		return aimock.HeaderDisconnect, "1"
	case limit:
		return aimock.HeaderRateLimit, "1"
	case slow:
		return aimock.HeaderLatency, "100"
	case cut, hang:
		return aimock.HeaderContext, string(f)
	}
	return "", ""
}

// dealer sends requests to the server and tells it which to fail. Which attempt
// fails how is a matter of its model, its turn and the seed alone: every run of
// the test has the same faults. A turn is a request with bytes of its own; what has
// the same bytes is another attempt at it.
type dealer struct {
	seed uint64
	next http.RoundTripper

	mu    sync.Mutex
	asked map[string]*asked // by model
	dealt map[fault]int
}

// asked is what one model was asked.
type asked struct {
	sent     int
	turns    map[[sha256.Size]byte]int
	attempts map[[sha256.Size]byte]int
}

func newDealer(seed uint64) *dealer {
	return &dealer{
		seed: seed,
		// A connection the server closes while a request is on its way would make a
		// call that the server cannot count: it keeps idle ones for five seconds.
		next:  &http.Transport{MaxIdleConnsPerHost: 64, IdleConnTimeout: time.Second},
		asked: map[string]*asked{}, dealt: map[fault]int{},
	}
}

// sent is how many requests were made to a model.
func (d *dealer) sent(name string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	if a := d.asked[name]; a != nil {
		return a.sent
	}
	return 0
}

// choose notes a request and chooses its fault.
func (d *dealer) choose(name string, body []byte) fault {
	d.mu.Lock()
	defer d.mu.Unlock()
	a := d.asked[name]
	if a == nil {
		a = &asked{turns: map[[sha256.Size]byte]int{}, attempts: map[[sha256.Size]byte]int{}}
		d.asked[name] = a
	}
	id := sha256.Sum256(body)
	if a.attempts[id] == 0 {
		a.turns[id] = len(a.turns)
	}
	f := deal(fmt.Sprint(d.seed, name, a.turns[id]), a.attempts[id])
	a.attempts[id]++
	a.sent++
	d.dealt[f]++
	return f
}

// client is an HTTP client that deals.
func (d *dealer) client() *http.Client { return &http.Client{Transport: d} }

// RoundTrip implements http.RoundTripper.
func (d *dealer) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := r.GetBody()
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(body)
	if err != nil {
		return nil, err
	}
	f := d.choose(modelOf(r, data), data)
	if name, value := f.header(); name != "" {
		r = r.Clone(r.Context())
		r.Header.Set(name, value)
	}
	return d.next.RoundTrip(r)
}

// modelOf is the model that a request is for: it stands in the path or in the body.
func modelOf(r *http.Request, body []byte) string {
	if _, after, ok := strings.Cut(r.URL.Path, "/models/"); ok {
		name, _, _ := strings.Cut(after, ":")
		return name
	}
	var b struct{ Model string }
	_ = json.Unmarshal(body, &b) // an empty name is counted too
	return b.Model
}

// deal chooses the fault of an attempt, from 0: none after the second, fewer than
// the runtime makes.
func deal(turn string, attempt int) fault {
	if attempt > 1 {
		return none
	}
	chance := sha256.Sum256(fmt.Append(nil, turn, attempt))
	switch n := binary.BigEndian.Uint16(chance[:]) % 400; {
	case n < 30:
		return drop
	case n < 60:
		return malformed
	case n < 90:
		return disconnect
	case n < 110:
		return limit
	case n < 140:
		return cut
	case n < 145:
		return hang
	case n < 160:
		return slow
	}
	return none
}
