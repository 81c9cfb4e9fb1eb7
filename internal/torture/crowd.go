package torture

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/cairn-run/cairn"
	v1 "github.com/cairn-run/cairn/api/v1"
	"github.com/cairn-run/cairn/client"
	"github.com/cairn-run/cairn/internal/effectserver"
)

// crowd is everyone who uses the victim: people who start sessions, talk, decide
// and cancel, and somebody who writes down whatever the victim acknowledges.
type crowd struct {
	c       *client.Client
	effects *effectserver.Process
	o       Options

	mu       sync.Mutex
	creating bool
	sessions map[cairn.SessionID]*seen
	order    []cairn.SessionID
	decided  map[cairn.AskID]cairn.AskStatus // acknowledged decisions
	trees    map[cairn.Digest]int            // uploaded trees, by which they are
	adopted  bool                            // every session of the store is known
	calm     bool                            // the last kill is over
	before   int                             // sessions that began before that
}

// seen is what the victim acknowledged of a session.
type seen struct {
	agent  string
	events [][sha256.Size]byte // by sequence number - 1
	over   bool                // terminal, or (talker) idle with nothing left to say
	posts  int                 // acknowledged messages
	toSay  int
	cancel bool // a cancel was acknowledged
	calm   bool // it began after the last kill
}

// calmSessions is how many sessions begin after the last kill: nothing of theirs
// may be lost. Those with files take longer.
func (c *crowd) calmSessions() int {
	if c.o.Hands {
		return 4
	}
	return 10
}

func newCrowd(c *client.Client, s *effectserver.Process, o Options) *crowd {
	return &crowd{c: c, effects: s, o: o, creating: true, sessions: map[cairn.SessionID]*seen{}, decided: map[cairn.AskID]cairn.AskStatus{}, trees: map[cairn.Digest]int{}}
}

func (c *crowd) start(ctx context.Context, wg *sync.WaitGroup) {
	wg.Go(func() { c.loop(ctx, 1, c.create) })
	wg.Go(func() { c.loop(ctx, 2, c.decide) })
	wg.Go(func() { c.loop(ctx, 3, c.watch) })
	wg.Go(func() { c.loop(ctx, 4, c.disturb) })
}

// loop does one thing over and over. Errors are what a client of a process that
// is killed gets: it tries again.
func (c *crowd) loop(ctx context.Context, stream uint64, do func(context.Context, *rand.Rand)) {
	rng := rand.New(rand.NewPCG(c.o.Seed, 100+stream))
	for ctx.Err() == nil {
		call, cancel := context.WithTimeout(ctx, 5*time.Second)
		do(call, rng)
		cancel()
		wait(ctx, 15*time.Millisecond)
	}
}

func (c *crowd) stopCreating() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.creating = false
}

// calmDown lets some sessions begin that nobody disturbs by a kill.
func (c *crowd) calmDown(ctx context.Context) {
	c.mu.Lock()
	c.calm = true
	c.before = len(c.sessions)
	before := c.before
	c.mu.Unlock()
	for end := time.Now().Add(c.o.Settle / 4); c.created() < before+c.calmSessions() && time.Now().Before(end) && ctx.Err() == nil; {
		wait(ctx, 20*time.Millisecond)
	}
}

func (c *crowd) created() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.sessions)
}

func (c *crowd) open() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for _, s := range c.sessions {
		if !s.over {
			n++
		}
	}
	return n
}

// settled says that everything that was ever started is over.
func (c *crowd) settled() bool {
	c.mu.Lock()
	adopted := c.adopted
	c.mu.Unlock()
	return adopted && c.open() == 0
}

// create keeps the number of open sessions up. A create that was not
// acknowledged is sent again with the same key: it is the same session.
func (c *crowd) create(ctx context.Context, rng *rand.Rand) {
	c.mu.Lock()
	creating, calm, n := c.creating, c.calm, len(c.sessions)
	c.mu.Unlock()
	places := c.o.Sessions - c.open()
	if calm {
		places += c.calmSessions()
	}
	if !creating || places <= 0 {
		return
	}
	for _, a := range agents(c.effects.Base, c.o.Hands) {
		if _, err := c.c.Apply(ctx, a, client.Patience(0)); err != nil {
			return
		}
	}
	for range places {
		agent, once, say := worker, true, 0
		switch {
		case c.o.Hands && (n%12 == 1 || calm && n == c.before+1): // one that nobody kills, too; one of that key was never asked for
			agent = hoarder
		case n%5 == 4:
			agent, once, say = talker, false, 3
		}
		in := v1.CreateSession{Agent: agent, Input: v1.Text(fmt.Sprintf("Session %d: pay and do the rest.", n)), Once: once}
		if c.o.Hands && n%2 == 0 {
			var err error
			if in.Workspace, err = c.upload(ctx, n); err != nil {
				return
			}
		}
		s, err := c.c.CreateSession(ctx, in, client.Key(fmt.Sprintf("create-%d", n)), client.Patience(0))
		if err != nil {
			return
		}
		c.mu.Lock()
		if c.sessions[s.ID] == nil {
			c.sessions[s.ID] = &seen{agent: agent, posts: 1, toSay: say, calm: calm}
			c.order = append(c.order, s.ID)
		}
		n = len(c.sessions)
		c.mu.Unlock()
	}
}

// decide answers what is asked, as a person would: a lost outcome is looked up.
func (c *crowd) decide(ctx context.Context, rng *rand.Rand) {
	list, err := c.c.Asks(ctx, client.AskQuery{Limit: 200})
	if err != nil {
		return
	}
	for _, a := range list.Asks {
		key := client.Key("decide-" + string(a.ID))
		var got v1.Ask
		var err error
		switch a.Kind {
		case cairn.AskApproval:
			h := sha256.Sum256([]byte(a.ID)) // the same person says the same thing twice
			switch h[0] % 4 {
			case 0:
				got, err = c.c.Reject(ctx, a.ID, v1.Approve{Comment: "no"}, key, client.Patience(0))
			case 1:
				got, err = c.c.Edit(ctx, a.ID, v1.Edit{Args: json.RawMessage(`{"ask":"edited","amount":1}`)}, key, client.Patience(0))
			default:
				got, err = c.c.Approve(ctx, a.ID, v1.Approve{Digest: a.Digest}, key, client.Patience(0))
			}
		case cairn.AskClientTool:
			got, err = c.c.Answer(ctx, a.ID, v1.Answer{Result: v1.Result{Content: v1.Text("pressed")}}, key, client.Patience(0))
		case cairn.AskUnknown:
			done, lookErr := c.applied(ctx, string(a.Effect))
			if lookErr != nil {
				return
			}
			if done {
				got, err = c.c.Approve(ctx, a.ID, v1.Approve{}, key, client.Patience(0))
			} else {
				got, err = c.c.Reject(ctx, a.ID, v1.Approve{}, key, client.Patience(0))
			}
		case cairn.AskBudget:
			got, err = c.c.Approve(ctx, a.ID, v1.Approve{}, key, client.Patience(0))
		}
		if err != nil {
			return
		}
		c.mu.Lock()
		c.decided[a.ID] = got.Status
		c.mu.Unlock()
	}
}

// applied asks the world whether an effect took place. What a dead process had
// sent may still be on its way, so a person looks twice.
func (c *crowd) applied(ctx context.Context, key string) (bool, error) {
	wait(ctx, 30*time.Millisecond)
	r, err := c.effects.Report(ctx)
	return r.Effects[key].Applied > 0, err
}

// disturb talks, interrupts, pauses and cancels.
func (c *crowd) disturb(ctx context.Context, rng *rand.Rand) {
	c.mu.Lock()
	var open []cairn.SessionID
	for _, id := range c.order {
		if !c.sessions[id].over {
			open = append(open, id)
		}
	}
	if len(open) == 0 {
		c.mu.Unlock()
		return
	}
	id := open[rng.IntN(len(open))]
	s, creating := c.sessions[id], c.creating
	c.mu.Unlock()
	if s.agent != talker {
		switch n := rng.IntN(c.calmness()); {
		case n == 0 && creating:
			if _, err := c.c.Cancel(ctx, id, "torture", client.Key("cancel-"+string(id)), client.Patience(0)); err == nil {
				c.mu.Lock()
				s.cancel = true
				c.mu.Unlock()
			}
		case n < 4:
			_, _ = c.c.Pause(ctx, id, "torture", client.Patience(0)) // resumed below; lost ones are resumed as well
		}
		_, _ = c.c.Resume(ctx, id, client.Patience(0))
		return
	}
	c.mu.Lock()
	n, left := s.posts, s.toSay
	c.mu.Unlock()
	if left == 0 {
		return
	}
	text := []string{"and then?", "pay", "stop that"}[rng.IntN(3)]
	msg := v1.PostMessage{Content: v1.Text(text), Interrupt: text == "stop that"}
	if _, err := c.c.Send(ctx, id, msg, client.Key(fmt.Sprintf("say-%s-%d-%s", id, n, text)), client.Patience(0)); err == nil {
		c.mu.Lock()
		s.posts++
		s.toSay--
		c.mu.Unlock()
	}
}

// calmness is how seldom somebody cancels: calls on files take longer than others.
func (c *crowd) calmness() int {
	if c.o.Hands {
		return 300
	}
	return 60
}

// watch writes down the events that the victim shows: from then on they are
// acknowledged, and must be there for ever, as they are.
func (c *crowd) watch(ctx context.Context, rng *rand.Rand) {
	c.adopt(ctx)
	c.mu.Lock()
	var ids []cairn.SessionID
	for _, id := range c.order {
		if !c.sessions[id].over {
			ids = append(ids, id)
		}
	}
	c.mu.Unlock()
	for _, id := range ids {
		c.mu.Lock()
		s := c.sessions[id]
		after := cairn.Seq(len(s.events))
		c.mu.Unlock()
		page, err := c.c.Events(ctx, id, client.EventQuery{After: after, Limit: 500})
		if err != nil {
			return
		}
		row, err := c.c.Session(ctx, id)
		if err != nil {
			return
		}
		c.mu.Lock()
		for _, e := range page.Events {
			if e.Seq == cairn.Seq(len(s.events))+1 {
				s.events = append(s.events, digest(e))
			}
		}
		caught := row.LastSeq <= cairn.Seq(len(s.events))
		s.over = caught && (row.Status.Final() || (s.agent == talker && row.Status == cairn.StatusIdle && s.toSay == 0 && row.Runs > 0 && c.quiet(s, page.Events)))
		c.mu.Unlock()
	}
}

// adopt finds sessions whose creation was never acknowledged: the answer was lost
// with a process, the session was not.
func (c *crowd) adopt(ctx context.Context) {
	c.mu.Lock()
	creating := c.creating
	c.mu.Unlock()
	if creating {
		return
	}
	q := client.SessionQuery{Limit: 500}
	for {
		page, err := c.c.Sessions(ctx, q)
		if err != nil {
			return
		}
		c.mu.Lock()
		for _, s := range page.Sessions {
			if c.sessions[s.ID] == nil {
				c.sessions[s.ID] = &seen{agent: s.Agent, posts: 1}
				c.order = append(c.order, s.ID)
			}
		}
		c.mu.Unlock()
		if page.Next == "" {
			c.mu.Lock()
			c.adopted = true
			c.mu.Unlock()
			return
		}
		q.Before = page.Next
	}
}

// quiet says that nothing new came since the last look: what was said is answered.
func (c *crowd) quiet(_ *seen, news []v1.Event) bool { return len(news) == 0 }

func digest(e v1.Event) [sha256.Size]byte {
	b, err := json.Marshal(e)
	if err != nil {
		panic(err) // it came out of a decoder
	}
	return sha256.Sum256(b)
}
