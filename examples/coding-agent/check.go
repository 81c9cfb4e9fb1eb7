package codingagent

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/examples/stage"
)

// story is what the events of a session say.
type story struct {
	sandbox string
	edited  cairn.Seq // the snapshot that the first edit left
	last    cairn.Seq // the last snapshot
	// The last run of the tests: where it ended, and whether they passed.
	tested cairn.Seq
	passed bool
	// failing says that the tests failed at first.
	failing                  bool
	denied                   []string // commands
	asked, approved, unknown int
	releases                 int // that ended well
	pushed                   int // that were not denied
	cost                     cairn.Money
	completed                *cairn.RunCompleted
}

// tell reads the events.
func tell(events []cairn.Event) story {
	var t story
	commands := map[cairn.EffectID]string{}
	tools := map[cairn.EffectID]string{}
	for _, e := range events {
		command := commands[e.Step]
		switch d := e.Data.(type) {
		case cairn.RunStarted:
			t.sandbox = d.Sandbox
		case cairn.ToolCallRequested:
			var args struct {
				Command string `json:"command"`
			}
			_ = json.Unmarshal(d.Args, &args) // of other tools: there is none
			commands[e.Step], tools[e.Step] = args.Command, d.Tool
			if strings.Contains(args.Command, "git push") && d.Verdict != cairn.VerdictDeny {
				t.pushed++
			}
		case cairn.ToolCallDenied:
			t.denied = append(t.denied, command)
		case cairn.WorkspaceSnapshotted:
			t.last = e.Seq
			if tools[e.Step] == cairn.BuiltinEdit && t.edited == 0 {
				t.edited = e.Seq
			}
		case cairn.ToolCallCompleted:
			t.ran(e.Seq, command, !d.Result.IsError)
		case cairn.ToolCallFailed:
			t.ran(e.Seq, command, false)
		case cairn.ToolCallUnknown:
			t.unknown++
		case cairn.AskOpened:
			t.asked++
		case cairn.AskResolved:
			if d.Status == cairn.AskApproved {
				t.approved++
			}
		case cairn.ModelCompleted:
			t.cost += d.Cost
		case cairn.ModelRetried:
			t.cost += d.Cost
		case cairn.ModelFailed:
			t.cost += d.Cost
		case cairn.RunCompleted:
			t.completed = &d
		}
	}
	return t
}

// ran is a command that ended.
func (t *story) ran(at cairn.Seq, command string, ok bool) {
	if strings.Contains(command, "release.sh") && ok {
		t.releases++
	}
	if strings.Contains(command, "test.sh") {
		t.failing = t.failing || t.tested == 0 && !ok
		t.tested, t.passed = at, ok
	}
}

// check holds the journal, the files and the processes against what must be.
func check(ctx context.Context, s *stage.Stage, t story, lines int) error {
	release, err := s.Output(ctx, "files", "get", "last", "dist/accepted-"+version+".csv")
	if err != nil {
		return err
	}
	money, err := s.Output(ctx, "files", "get", "last", "lib/money.awk")
	if err != nil {
		return err
	}
	dist, err := s.Output(ctx, "files", "last", "dist")
	if err != nil {
		return err
	}
	alive, err := s.Orphans()
	if err != nil {
		return err
	}
	got := strings.Count(string(release), "\n")
	s.Expect(t.failing && t.passed && t.tested > t.last, "the tests failed at first, pass at the end, and no file changed after that")
	s.Expect(strings.Contains(string(money), `sprintf("%s%d.%02d", sign, c / 100, c % 100)`), "the fix is in lib/money.awk")
	s.Expect(len(t.denied) == 1 && t.pushed == 0, "git push was denied and never begun")
	s.Expect(t.asked == 1 && t.approved == 1, "one approval was asked for and given; the repeated command did not ask again")
	s.Expect(t.releases == 1 && t.unknown == 0, "the release was recorded once, and nobody had to be asked what became of it")
	s.Expect(got == shops && !strings.Contains(string(dist), ".lock"), "it has %d lines, not the %d of the killed attempt on top; the lock is gone", got, lines)
	s.Expect(len(alive) == 0, "nothing is left running%s", strings.Join(alive, ", "))
	s.Expect(t.completed != nil && t.completed.Final && t.completed.Summary.Cost == t.cost && t.cost > 0,
		"the session completed, and its cost is the sum of the recorded calls (%s)", t.cost)
	return nil
}
