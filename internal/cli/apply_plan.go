package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/cairn-run/cairn"
	v1 "github.com/cairn-run/cairn/api/v1"
	"github.com/cairn-run/cairn/internal/config"
)

// action is what a plan does with an agent.
type action string

const (
	actionCreate action = "create" // it is not registered yet
	actionChange action = "change"
	actionNone   action = "none"  // the registered version is that of the file
	actionLeave  action = "leave" // it is registered and in no file
)

// applyLine is one agent of a plan, and what became of it, as apply prints it
// with --json.
type applyLine struct {
	Name    string          `json:"name"`
	Action  action          `json:"action,omitzero"` // absent with --check
	File    string          `json:"file,omitzero"`
	Digest  cairn.Digest    `json:"digest"`
	From    cairn.Digest    `json:"from,omitzero"` // the version that was current
	Model   string          `json:"model"`
	Changes []config.Change `json:"changes,omitempty"`
	Applied bool            `json:"applied"`
	New     bool            `json:"new"` // the version was never registered before
	Created time.Time       `json:"created,omitzero"`
}

// step is one agent of a plan.
type step struct {
	line applyLine
	file *agentFile // nil: left alone
}

// plan is what applying files would do.
type plan struct{ steps []step }

// changing counts what would be registered.
func (p *plan) changing() int { return p.count(actionCreate) + p.count(actionChange) }

func (p *plan) count(what action) int {
	n := 0
	for _, s := range p.steps {
		if s.line.Action == what {
			n++
		}
	}
	return n
}

// plan compares files with what is registered, and has the node check them. Nothing is
// written if it is dry.
func (l *link) plan(ctx context.Context, f *found, dry bool) (*plan, error) {
	list, err := l.Agents(ctx)
	if err != nil {
		return nil, err
	}
	p, err := newPlan(f, list, func(name string) ([]byte, error) {
		v, err := l.Agent(ctx, name, "")
		return v.Definition, err
	})
	if err != nil {
		return nil, err
	}
	return p, l.check(ctx, p, dry)
}

// check has the node look at all that would be registered: it knows the models.
func (l *link) check(ctx context.Context, p *plan, dry bool) error {
	var problems []error
	for i, s := range p.steps {
		if s.line.Action != actionCreate && s.line.Action != actionChange {
			continue
		}
		// What a script model says comes with the agent: the node knows it when it is kept.
		if dry && scripted(s.file.Agent) {
			continue
		}
		if err := l.app.keepScripts(s.file.path, s.file.Agent, nil); err != nil {
			return err
		}
		v, err := l.Check(ctx, s.file.Agent)
		if err == nil {
			p.steps[i].line.New = v.New
			continue
		}
		located := l.app.locate(s.file.File, err)
		if _, ok := errors.AsType[*config.Error](located); !ok {
			return located
		}
		if problems = append(problems, located); len(problems) == maxProblems {
			break
		}
	}
	if len(problems) > 0 {
		return usage(errors.Join(problems...))
	}
	return nil
}

func scripted(a *cairn.Agent) bool {
	return slices.ContainsFunc(append([]string{a.Model}, a.Fallback...), func(m string) bool { return strings.HasPrefix(m, "script/") })
}

func newPlan(f *found, list v1.AgentList, definition func(name string) ([]byte, error)) (*plan, error) {
	current := make(map[string]v1.AgentVersion, len(list.Agents))
	for _, v := range list.Agents {
		current[v.Name] = v
	}
	p := &plan{}
	inFile := map[string]bool{}
	for _, file := range f.files {
		name := file.Agent.Name
		inFile[name] = true
		s := step{file: file, line: applyLine{
			Name: name, File: file.path, Digest: file.Agent.Digest(), Model: file.Agent.Model, Action: actionCreate,
		}}
		if was, ok := current[name]; ok {
			s.line.From, s.line.Action = was.Digest, actionNone
			if was.Digest != s.line.Digest {
				s.line.Action = actionChange
				changes, err := changesOf(file.Agent, name, definition)
				if err != nil {
					return nil, fmt.Errorf("agent %s: %w", word(name), err)
				}
				s.line.Changes = changes
			} else {
				s.line.Created = was.Created
			}
		}
		p.steps = append(p.steps, s)
	}
	for _, v := range list.Agents {
		if f.whole && !inFile[v.Name] {
			p.steps = append(p.steps, step{line: applyLine{Name: v.Name, Action: actionLeave, Digest: v.Digest, Model: v.Model, Created: v.Created}})
		}
	}
	return p, nil
}

// changesOf compares an agent with the version of it that is current.
func changesOf(a *cairn.Agent, name string, definition func(name string) ([]byte, error)) ([]config.Change, error) {
	before, err := definition(name)
	if err != nil {
		return nil, err
	}
	after, err := definitionOf(a)
	if err != nil {
		return nil, err
	}
	return config.Compare(before, after)
}

// printPlan shows what would be done.
func (a *app) printPlan(p *plan) {
	w := a.Stdout
	for _, s := range p.steps {
		switch l := s.line; l.Action {
		case actionCreate:
			a.planLine(w, a.out.green("+"), l, "new, "+oneLine(l.Model, 60))
		case actionChange:
			a.planLine(w, a.out.yellow("~"), l, "changed, "+digest(l.From)+" → "+digest(l.Digest))
			a.printChanges(w, "    ", l.Changes)
		case actionNone:
			a.planLine(w, a.out.dim("="), l, "unchanged")
		case actionLeave:
			a.planLine(w, a.out.dim("·"), l, "not in a file, left alone")
		}
	}
	fmt.Fprintf(w, "%d new, %d changed, %d unchanged, %d left alone\n", p.count(actionCreate), p.count(actionChange), p.count(actionNone), p.count(actionLeave))
}

func (a *app) planLine(w io.Writer, mark string, l applyLine, what string) {
	file := ""
	if l.File != "" {
		file = a.out.dim(" (" + oneLine(l.File, 0) + ")")
	}
	fmt.Fprintf(w, "%s %s: %s%s\n", mark, a.out.bold(word(l.Name)), what, file)
}
