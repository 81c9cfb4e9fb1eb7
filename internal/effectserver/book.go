package effectserver

import "slices"

// Kinds of records.
const (
	kindApplied = "applied"
	kindRepeat  = "repeat"  // of an idempotent effect: answered, not applied
	kindRefused = "refused" // 429
	kindFailed  = "failed"  // 503
	kindModel   = "model"
)

// record is one line of the server's file.
type record struct {
	Kind    string `json:"kind"`
	Class   string `json:"class,omitempty"`
	Key     string `json:"key,omitempty"`  // of a model call: its effect
	N       int    `json:"n,omitempty"`    // number of the effect among all that were applied
	Body    string `json:"body,omitempty"` // hash of the request's body
	Lost    bool   `json:"lost,omitempty"` // the answer was kept back
	Attempt int    `json:"attempt,omitempty"`
	Session string `json:"session,omitempty"`
}

// book is everything the server has counted.
type book struct {
	effects map[string]*effect
	models  map[string]*ModelCount
	arrived map[string]int // requests by key, for chance
	totals  Totals
	last    int // the highest number of an effect
	reads   int
}

type effect struct {
	first record
	taken bool // an idempotent key is being applied
	EffectCount
}

func newBook() book {
	return book{effects: map[string]*effect{}, models: map[string]*ModelCount{}, arrived: map[string]int{}}
}

func (b *book) effect(key string) *effect {
	e := b.effects[key]
	if e == nil {
		e = &effect{}
		b.effects[key] = e
	}
	return e
}

// arrive counts a request of a key and returns its number, from 0. Requests
// without a key are told apart by their order within the class alone.
func (b *book) arrive(class, key string) int {
	if key == "" {
		key = "\x00" + class
	}
	n := b.arrived[key]
	b.arrived[key]++
	return n
}

// count is how often the effect of a key was applied.
func (b *book) count(key string) int {
	if e := b.effects[key]; e != nil {
		return e.Applied
	}
	return 0
}

// add counts a record that is on the disk.
func (b *book) add(r record) {
	if r.Kind == kindModel {
		m := b.models[r.Key]
		if m == nil {
			m = &ModelCount{Session: r.Session}
			b.models[r.Key] = m
		}
		m.Calls++
		m.Attempts = append(m.Attempts, r.Attempt)
		b.totals.Models++
		return
	}
	e := b.effect(r.Key)
	e.Class = r.Class
	switch r.Kind {
	case kindApplied:
		if e.first.Kind == "" {
			e.first = r
		}
		e.taken = false
		e.Applied++
		b.totals.Applied++
		b.last = max(b.last, r.N)
		if r.Lost {
			e.Lost++
			b.totals.Lost++
		}
	case kindRepeat:
		e.Repeats++
		b.totals.Repeats++
	case kindRefused:
		e.Refused++
		b.totals.Refused++
	case kindFailed:
		e.Failed++
		b.totals.Failed++
	}
}

// Report is everything the server has counted since its file was made; reads are
// counted since the process was started.
type Report struct {
	Effects map[string]EffectCount `json:"effects"` // by Idempotency-Key; "": without one
	Models  map[string]ModelCount  `json:"models"`  // by effect
	Reads   int                    `json:"reads"`
	Totals  Totals                 `json:"totals"`
}

// EffectCount is what was asked for with one key.
type EffectCount struct {
	Class   string `json:"class"`
	Applied int    `json:"applied"` // more than 1 for an irreversible one: it was repeated
	Repeats int    `json:"repeats"` // of an idempotent one: answered from the first
	Refused int    `json:"refused"` // answered 429, not applied
	Failed  int    `json:"failed"`  // answered 503, not applied
	Lost    int    `json:"lost"`    // applied, and the connection dropped
}

// ModelCount is what was asked of a model for one effect.
type ModelCount struct {
	Session  string `json:"session"`
	Calls    int    `json:"calls"`
	Attempts []int  `json:"attempts"` // in the order they came
}

// Totals are sums over all keys.
type Totals struct {
	Applied int `json:"applied"`
	Repeats int `json:"repeats"`
	Refused int `json:"refused"`
	Failed  int `json:"failed"`
	Lost    int `json:"lost"`
	Models  int `json:"models"`
}

func (b *book) report() Report {
	r := Report{Effects: map[string]EffectCount{}, Models: map[string]ModelCount{}, Reads: b.reads, Totals: b.totals}
	for key, e := range b.effects {
		if e.Class != "" {
			r.Effects[key] = e.EffectCount
		}
	}
	for key, m := range b.models {
		r.Models[key] = ModelCount{Session: m.Session, Calls: m.Calls, Attempts: slices.Clone(m.Attempts)}
	}
	return r
}

// Repeated returns the keys of effects of the class that were applied more than once,
// sorted. Requests without a key are not among them.
func (r Report) Repeated(class string) []string {
	var keys []string
	for key, e := range r.Effects {
		if key != "" && e.Class == class && e.Applied > 1 {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}
