package openai

import (
	"crypto/sha256"
	"slices"
	"strconv"

	"github.com/cairn-run/cairn"
)

// Longest call ids that OpenAI takes: 40 in chat ("maximum length 40" of
// messages[].tool_calls[].id) and 64 in Responses (call_id in the API reference).
const (
	maxChatCallID      = 40
	maxResponsesCallID = 64
)

// callIDs gives the calls of a request the ids they are sent with. A provider
// refuses a request whose ids are missing, repeat or are too long, and a history
// may hold calls that another provider named. The same history has the same ids
// every time, because it only grows at its end.
type callIDs struct {
	used  map[string]bool
	again map[string]int // how often an id was taken already
	limit int
	short bool
	open  []renamed // calls whose results are to come, in order
	n     int
}

type renamed struct{ from, to, kind string }

func newCallIDs(limit int, short bool) *callIDs {
	return &callIDs{used: map[string]bool{}, again: map[string]int{}, limit: limit, short: short}
}

// turn begins a message of calls whose ids need to differ from each other only.
func (c *callIDs) turn() {
	clear(c.used)
	clear(c.again)
	c.open = nil
}

// call names a call; kind is the type of its item, where the wire has more than one.
func (c *callIDs) call(id, kind string) string {
	c.n++
	to := id
	if !c.fits(to) {
		to = c.derive(id)
	}
	for c.used[to] {
		c.again[id]++
		to = c.derive(id + "#" + strconv.Itoa(c.again[id]+1))
	}
	c.used[to] = true
	c.open = append(c.open, renamed{id, to, kind})
	return to
}

// result names the call that a result answers: the next open one, by the order
// that [cairn.ModelRequest.Validate] asks for.
func (c *callIDs) result(id string) renamed {
	for i, r := range c.open {
		if r.from == id {
			if i == 0 {
				c.open = c.open[1:] // as Validate asks for: nothing is moved
			} else {
				c.open = slices.Delete(c.open, i, i+1)
			}
			return r
		}
	}
	return renamed{from: id, to: id}
}

func (c *callIDs) fits(id string) bool {
	if id == "" || len(id) > c.limit {
		return false
	}
	return !c.short || len(id) == shortID && alphanumeric(id)
}

func alphanumeric(s string) bool {
	for _, r := range s {
		if (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') {
			return false
		}
	}
	return true
}

const shortID = 9

// derive makes an id that every server takes. Calls without one are told apart by
// their place.
func (c *callIDs) derive(id string) string {
	if id == "" || id[0] == '#' {
		id = strconv.Itoa(c.n) + id
	}
	const letters = "abcdefghijklmnopqrstuvwxyz0123456789"
	sum := sha256.Sum256([]byte(id))
	b := make([]byte, shortID)
	for i := range b {
		b[i] = letters[int(sum[i])%len(letters)]
	}
	if c.short {
		return string(b)
	}
	return "call_" + string(b)
}

// maxToolName is the longest name of a function
// (https://platform.openai.com/docs/api-reference/chat/create).
const maxToolName = 64

// toolName is a name as a request may have it. Models call tools that do not exist
// ("multi_tool_use.parallel"), and a server that refuses such a name in its history
// would refuse every later request of the session.
func toolName(name string) string {
	b := []byte(name)
	for i, c := range b {
		if c != '-' && c != '_' && !alphanumeric(string(c)) {
			b[i] = '_'
		}
	}
	if len(b) == 0 {
		return "_"
	}
	return string(b[:min(len(b), maxToolName)])
}

// uniqueCalls gives the calls of an answer ids that are there and differ.
func uniqueCalls(parts []cairn.Part) {
	used := map[string]bool{}
	for i := range parts {
		p := &parts[i]
		if p.Kind != cairn.PartToolCall {
			continue
		}
		p.CallID = freeID(p.CallID, i, used)
		used[p.CallID] = true
	}
}

// freeID is id, or one derived from it and from its place, that is not in use.
func freeID(id string, place int, used map[string]bool) string {
	if id == "" {
		id = "call_" + strconv.Itoa(place)
	}
	if !used[id] {
		return id
	}
	// Places differ: at most as many tries as calls that were named like this.
	free := id + "_" + strconv.Itoa(place+1)
	for n := 2; used[free]; n++ {
		free = id + "_" + strconv.Itoa(place+1) + "_" + strconv.Itoa(n)
	}
	return free
}
