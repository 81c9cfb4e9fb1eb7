package kernel

import (
	"context"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/cairn-run/cairn"
)

// maxSaid bounds what is kept of one open answer for watchers that join late,
// in bytes; what is beyond is seen when the answer is recorded.
const maxSaid = 1 << 20

// maxPieces bounds the content parts that are kept of one open answer: each piece
// is looked for among them, while nobody else can say anything.
const maxPieces = 1024

// maxOutput bounds what is kept of the output of a running tool, in bytes.
const maxOutput = 128 << 10

// Live tells watchers what is going on in a session right now: how far its
// history has come, and what a model is saying before that is recorded. It keeps
// no queue for a watcher: a slow one skips nothing and slows nobody, because it
// reads from where it was.
type Live struct {
	mu     sync.Mutex
	topics map[cairn.SessionKey]*topic
}

type topic struct {
	seq     cairn.Seq
	open    []*utterance
	watches map[*Watch]struct{}
}

// utterance is an answer that is still being made.
type utterance struct {
	effect  cairn.EffectID
	attempt int
	pieces  []said // one for each content part
	size    int
}

// said is what was said of one content part: all of its text, but of a tool's output
// the end, after the first cut bytes.
type said struct {
	cairn.Delta
	cut int
}

// Said is a piece of an open answer: Text starts at byte Offset of part Index.
type Said struct {
	Effect  cairn.EffectID
	Attempt int
	Offset  int
	cairn.Delta
}

// News is what a watcher has not seen yet.
type News struct {
	Seq  cairn.Seq // the history has come at least this far; zero: not known
	Said []Said
}

// NewLive returns a hub without topics.
func NewLive() *Live { return &Live{topics: map[cairn.SessionKey]*topic{}} }

func (l *Live) topic(s cairn.SessionKey) *topic {
	t := l.topics[s]
	if t == nil {
		t = &topic{watches: map[*Watch]struct{}{}}
		l.topics[s] = t
	}
	return t
}

func (t *topic) wake() {
	for w := range t.watches {
		select {
		case w.signal <- struct{}{}:
		default:
		}
	}
}

// tidy forgets a topic nobody needs.
func (l *Live) tidy(s cairn.SessionKey, t *topic) {
	if len(t.open) == 0 && len(t.watches) == 0 {
		delete(l.topics, s)
	}
}

// Advance says that the history has come to seq and that the answers of the
// closed effects are recorded.
func (l *Live) Advance(s cairn.SessionKey, seq cairn.Seq, closed ...cairn.EffectID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.topics[s]
	if t == nil {
		return
	}
	t.seq = max(t.seq, seq)
	for _, id := range closed {
		for i, u := range t.open {
			if u.effect == id {
				t.open = append(t.open[:i:i], t.open[i+1:]...)
				break
			}
		}
	}
	t.wake()
	l.tidy(s, t)
}

// Say adds a delta to an open answer. A higher attempt starts the answer anew.
func (l *Live) Say(s cairn.SessionKey, effect cairn.EffectID, attempt int, d cairn.Delta) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.topic(s)
	var u *utterance
	for _, o := range t.open {
		if o.effect == effect {
			u = o
		}
	}
	if u == nil {
		u = &utterance{effect: effect, attempt: attempt}
		t.open = append(t.open, u)
	}
	if u.attempt != attempt {
		*u = utterance{effect: effect, attempt: attempt}
	}
	if u.size += len(d.Text); u.size > maxSaid && d.Kind != cairn.PartOutput {
		return
	}
	defer t.wake()
	for i := range u.pieces {
		p := &u.pieces[i]
		if p.Index != d.Index || p.Kind != d.Kind {
			continue
		}
		p.Text += d.Text
		if d.Kind == cairn.PartOutput && len(p.Text) > maxOutput { // who watches output wants its end
			drop := len(p.Text) - maxOutput/2
			for drop < len(p.Text) && !utf8.RuneStart(p.Text[drop]) {
				drop++
			}
			p.Text, p.cut = strings.Clone(p.Text[drop:]), p.cut+drop
		}
		return
	}
	if len(u.pieces) < maxPieces {
		u.pieces = append(u.pieces, said{Delta: d})
	}
}

// Watch starts watching a session; Stop ends it.
func (l *Live) Watch(s cairn.SessionKey) *Watch {
	w := &Watch{live: l, session: s, signal: make(chan struct{}, 1), seen: map[piece]int{}}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.topic(s).watches[w] = struct{}{}
	w.signal <- struct{}{} // what is there already is news
	return w
}

type piece struct {
	effect  cairn.EffectID
	attempt int
	index   int
	kind    cairn.PartKind
}

// Watch is one watcher's place in a session.
type Watch struct {
	live    *Live
	session cairn.SessionKey
	signal  chan struct{}
	seen    map[piece]int // bytes
}

// Next waits until something happened and returns it.
func (w *Watch) Next(ctx context.Context) (News, error) {
	select {
	case <-ctx.Done():
		return News{}, ctx.Err()
	case <-w.signal:
	}
	w.live.mu.Lock()
	defer w.live.mu.Unlock()
	t := w.live.topic(w.session)
	news := News{Seq: t.seq}
	seen := map[piece]int{}
	for _, u := range t.open {
		for _, d := range u.pieces {
			p := piece{u.effect, u.attempt, d.Index, d.Kind}
			from, known := w.seen[p]
			from = max(from, d.cut)
			seen[p] = d.cut + len(d.Text)
			if from < seen[p] || !known { // a call's start is news before it has text
				s := Said{Effect: u.effect, Attempt: u.attempt, Offset: from, Delta: d.Delta}
				s.Text = d.Text[from-d.cut:]
				news.Said = append(news.Said, s)
			}
		}
	}
	w.seen = seen
	return news, nil
}

// Stop ends watching.
func (w *Watch) Stop() {
	w.live.mu.Lock()
	defer w.live.mu.Unlock()
	if t := w.live.topics[w.session]; t != nil {
		delete(t.watches, w)
		w.live.tidy(w.session, t)
	}
}
