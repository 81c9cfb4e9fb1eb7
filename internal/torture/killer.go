package torture

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/cairn-run/cairn/internal/failpoint"
)

// killer owns the victim: it starts it, kills it, and starts it again.
type killer struct {
	o       Options
	rng     *rand.Rand
	effects string
	counts  string // file of failpoint counts
	socket  string
	stderr  *os.File
	points  []failpoint.Point // where the rampage kills

	*life // the one that lives; nil: none
	lives []*life

	kills, atPoints, inFlight int
	helpers                   map[string]int // kills of the runtime's helpers, by name
	busy                      int            // starts that found the directory in use
}

// busyTries bounds how often a victim is started again that found the directory in
// use.
const busyTries = 100

// start runs the victim until it is ready, or has died at its failpoint. As a
// supervisor does, it starts the victim again that says it cannot work now: what the
// last one was just starting may hold its lock for a moment longer than itself.
func (k *killer) start(ctx context.Context, at string) error {
	for try := 0; ; try++ {
		if err := k.launch(ctx, at); err != nil {
			return err
		}
		if k.await(ctx) {
			return nil
		}
		busy := false
		select {
		case <-k.done:
			busy = k.o.Hands && k.exit != nil && strings.HasSuffix(k.exit.Error(), exitBusy)
		default:
		}
		switch {
		case busy && try < busyTries && ctx.Err() == nil:
			k.busy++
			wait(ctx, 20*time.Millisecond)
			continue
		case at != "":
			return nil
		}
		err := errors.Join(errors.New("torture: the victim does not start; see "+k.stderr.Name()), k.kill())
		k.life = nil
		return err
	}
}

// exitBusy is how a warden says that the victim ended with exit code 75.
const exitBusy = "code 75"

func (k *killer) launch(ctx context.Context, at string) error {
	args := []string{"-data", filepath.Join(k.o.Dir, "data"), "-effects", k.effects, "-scripts", filepath.Join(k.o.Dir, "scripts")}
	if k.o.Hands {
		args = append([]string{"warden"}, append(args, "-sandbox", "ns")...)
	}
	cmd := exec.CommandContext(ctx, k.o.Victim, args...)
	cmd.Env = append(os.Environ(), "CAIRN_FAILPOINT_FILE="+k.counts)
	if at != "" {
		cmd.Env = append(cmd.Env, "CAIRN_FAILPOINT="+at)
	}
	cmd.Stderr = k.stderr
	k.o.as(cmd)
	l, err := begin(cmd, k.o.Hands)
	if err != nil {
		return err
	}
	k.life = l
	if k.o.Hands {
		k.lives = append(k.lives, l)
	}
	return nil
}

// alive fails if the victim has died without being killed.
func (k *killer) alive() error {
	select {
	case <-k.done:
		err := fmt.Errorf("torture: the victim died by itself: %w; see %s", k.exit, k.stderr.Name())
		k.life = nil
		return err
	default:
		return nil
	}
}

// end stops the victim for good.
func (k *killer) end() {
	if k.life != nil {
		_ = k.kill() // a process of ours can be killed
		k.life = nil
	}
}

// all is the number of kills so far.
func (k *killer) all() int {
	n := k.kills
	for _, h := range k.helpers {
		n += h
	}
	return n
}

// rampage kills the victim as often as asked: half of the time at a failpoint,
// half of the time at a random moment.
func (k *killer) rampage(ctx context.Context, c *crowd) error {
	k.end()
	for i := 0; k.all() < k.o.Kills; i++ {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		at := ""
		if i%2 == 0 {
			p := k.points[(i/2)%len(k.points)]
			nth := 12
			if k.o.Hands { // calls on files are slower, and pass fewer points
				nth = 4
			}
			at = fmt.Sprintf("%s:%d", p, 1+k.rng.IntN(nth))
		}
		before, err := failpoint.Read(k.counts)
		if err != nil {
			return err
		}
		if err := k.start(ctx, at); err != nil {
			return err
		}
		// A failpoint gets a while to be hit; a random kill comes at any moment.
		patience := time.Duration(20+k.rng.IntN(400)) * time.Millisecond
		if at != "" {
			patience = 700 * time.Millisecond
		}
		if at == "" && k.o.Hands {
			if err := k.strikeHelpers(ctx); err != nil {
				return err
			}
		}
		t := time.NewTimer(patience)
		select {
		case <-k.done:
			t.Stop()
			after, rerr := failpoint.Read(k.counts)
			if rerr != nil {
				return rerr
			}
			if after.Killed() == before.Killed() {
				return fmt.Errorf("torture: the victim died by itself: %w; see %s", k.exit, k.stderr.Name())
			}
			k.atPoints++
			k.inFlight += int(after.KilledInFlight() - before.KilledInFlight())
		case <-t.C:
			now, err := failpoint.Read(k.counts)
			if err != nil {
				return err
			}
			if now.InFlight() > 0 {
				k.inFlight++
			}
			if err := k.kill(); err != nil {
				return err
			}
		}
		k.life = nil
		k.kills++
		if k.kills%50 == 0 {
			fmt.Fprintf(k.o.Log, "%5d kills, %d at failpoints, %d with an effect in flight; %d sessions, %d open\n",
				k.kills, k.atPoints, k.inFlight, c.created(), c.open())
		}
	}
	return k.start(ctx, "")
}
