// Package stage is what the examples are played on: a temporary directory, the
// cairn command line as a person would type it, and what the journal says
// afterwards. It knows no example.
//
// The command is a process of its own, so it can be killed. It is the binary that
// Options.Cairn names, or else the program itself, which therefore calls Main of
// package stage/command before anything else.
package stage

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cairn-run/cairn"
	v1 "github.com/cairn-run/cairn/api/v1"
)

const (
	// patience bounds every wait for something that has to happen.
	patience = 60 * time.Second
	// pause is how often what gives no signal is looked at: files, processes.
	pause = 5 * time.Millisecond
	// outputDelay is how long output is read after the end of a command: what it left
	// running may hold the pipe for ever.
	outputDelay = 2 * time.Second
	// maxLine bounds one line of a command's JSON: an event holds 64 KiB of text at most.
	maxLine = 4 << 20
)

// AsCommand in the environment says that a program is to be the cairn command.
const AsCommand = "CAIRN_STAGE_COMMAND"

// Options say how a stage is opened. The zero value works in a program that calls
// Main of package stage/command.
type Options struct {
	// Cairn is the binary; empty: this program itself.
	Cairn string
	// Sandbox is "none" to do without one; empty: the best there is.
	Sandbox string
	// Model stands in agent files instead of the script; empty: the script.
	Model string
	// Out takes what a person would see; nil: nothing is shown. A terminal is handed on
	// to the commands, so that they show what they show on terminals.
	Out io.Writer
	// Env is added to the environment of the commands, KEY=value.
	Env []string
}

// Stage is a temporary directory with a data directory in it, and the processes
// that were started on it.
type Stage struct {
	o    Options
	dir  string
	bin  string
	env  []string
	term *os.File // Out, if it is a terminal
	// colour says that it shows colours.
	colour bool

	checks, wrong int

	mu      sync.Mutex // over running
	running map[*Process]bool
}

// Open makes the directory.
func Open(o Options) (*Stage, error) {
	s := &Stage{o: o, running: map[*Process]bool{}}
	if s.o.Out == nil {
		s.o.Out = io.Discard
	}
	env := os.Environ()
	var err error
	if o.Cairn == "" {
		env = append(env, AsCommand+"=1")
		s.bin, err = os.Executable()
	} else {
		s.bin, err = filepath.Abs(o.Cairn)
		if _, missing := os.Stat(s.bin); err == nil && missing != nil {
			err = fmt.Errorf("there is no cairn at %s (make build makes bin/cairn): %w", o.Cairn, missing)
		}
	}
	if err != nil {
		return nil, err
	}
	// The path of a unix socket has at most 108 bytes.
	if s.dir, err = os.MkdirTemp("", "cairn-"); err != nil {
		return nil, err
	}
	if f, ok := s.o.Out.(*os.File); ok && isTerminal(f) {
		s.term, s.colour = f, os.Getenv("NO_COLOR") == ""
	}
	s.env = slices.Concat(env, []string{"CAIRN_DATA=" + s.data(), "CAIRN_SERVER="}, o.Env)
	return s, nil
}

// Play is the rest of a main function: it plays an example for so long at most, or
// until an interrupt. The process ends with 1 when the play fails.
func Play(name string, most time.Duration, play func(context.Context) error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	ctx, cancel := context.WithTimeout(ctx, most)
	err := play(ctx)
	cancel()
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		os.Exit(1)
	}
}

// Close ends what is still running and removes the directory.
func (s *Stage) Close() error {
	s.mu.Lock()
	left := make([]*Process, 0, len(s.running))
	for p := range s.running {
		left = append(left, p)
	}
	s.mu.Unlock()
	for _, p := range left {
		p.Kill()
	}
	// Directories of overlayfs that a killed process left are closed to their own owner.
	_ = filepath.WalkDir(s.dir, func(path string, d fs.DirEntry, _ error) error {
		if d != nil && d.IsDir() {
			if info, err := d.Info(); err == nil && info.Mode()&0o700 != 0o700 {
				_ = os.Chmod(path, 0o700) //nolint:gosec // it is a directory; RemoveAll says what cannot be removed
			}
		}
		return nil
	})
	return os.RemoveAll(s.dir)
}

// Dir is a directory for files of the play; it is removed with the stage.
func (s *Stage) Dir() string { return s.dir }

// data is the data directory of the commands.
func (s *Stage) data() string { return filepath.Join(s.dir, "data") }

// Agent copies an agent file, and the scripts beside it, onto the stage. replace are
// pairs of texts in them: what stands there, and what is to. The copy has the model
// of the options, and the name of the original.
func (s *Stage) Agent(path string, replace ...string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("%w (run it at the top of the repository)", err)
	}
	copied := strings.NewReplacer(replace...).Replace(string(text))
	if s.o.Model != "" {
		if copied, err = withModel(copied, s.o.Model); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	scripts := filepath.Join(s.dir, "scripts")
	if err := os.MkdirAll(scripts, 0o700); err != nil {
		return err
	}
	found, err := filepath.Glob(filepath.Join(filepath.Dir(path), "scripts", "*.yaml"))
	if err != nil {
		return err
	}
	for _, name := range found {
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		text = []byte(strings.NewReplacer(replace...).Replace(string(text)))
		if err := os.WriteFile(filepath.Join(scripts, filepath.Base(name)), text, 0o600); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(s.dir, filepath.Base(path)), []byte(copied), 0o600)
}

// Copy copies a file onto the stage, under its own name.
func (s *Stage) Copy(path string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(s.dir, filepath.Base(path)), b, 0o600)
}

// withModel puts a model into the front matter of an agent file.
func withModel(text, model string) (string, error) {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if i > 0 && line == "---" {
			break
		}
		if strings.HasPrefix(line, "model:") {
			lines[i] = "model: " + model
			return strings.Join(lines, "\n"), nil
		}
	}
	return "", errors.New("no line of its front matter begins with \"model:\"")
}

// Say prints a heading.
func (s *Stage) Say(format string, args ...any) {
	fmt.Fprintf(s.o.Out, "\n%s\n\n", s.styled("1", fmt.Sprintf(format, args...)))
}

// styled puts text into a style of SGR, on terminals.
func (s *Stage) styled(sgr, text string) string {
	if !s.colour {
		return text
	}
	return "\x1b[" + sgr + "m" + text + "\x1b[0m"
}

// Note prints a remark between commands.
func (s *Stage) Note(format string, args ...any) {
	fmt.Fprintln(s.o.Out, fmt.Sprintf(format, args...))
}

// Cairn runs a command for all to see; it has to end with the exit code want.
func (s *Stage) Cairn(ctx context.Context, want int, args ...string) error {
	p, err := s.Start(ctx, args...)
	if err != nil {
		return err
	}
	code, err := p.Wait()
	if err == nil && code != want {
		err = fmt.Errorf("cairn %s: exit code %d instead of %d", p.shown, code, want)
	}
	return err
}

// Start starts a command for all to see.
func (s *Stage) Start(ctx context.Context, args ...string) (*Process, error) {
	p := &Process{s: s, shown: quoted(args)}
	fmt.Fprintf(s.o.Out, "%s%s\n", s.styled("2", "$ "), s.styled("36", "cairn "+p.shown))
	p.cmd = s.command(ctx, s.sandboxed(args)...)
	if s.term != nil {
		p.cmd.Stdout, p.cmd.Stderr = s.term, s.term
	} else {
		w := &lines{w: s.o.Out, dir: s.dir + "/"}
		p.cmd.Stdout, p.cmd.Stderr, p.out = w, w, w
	}
	return p, p.begin()
}

// Attended starts a command that has the terminal of this program: it may ask the
// person in front of it.
func (s *Stage) Attended(ctx context.Context, args ...string) (*Process, error) {
	p := &Process{s: s, shown: quoted(args)}
	fmt.Fprintf(s.o.Out, "%s%s\n", s.styled("2", "$ "), s.styled("36", "cairn "+p.shown))
	p.cmd = s.command(ctx, s.sandboxed(args)...)
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	return p, p.begin()
}

// sandboxed adds the sandbox that was chosen to commands that perform.
func (s *Stage) sandboxed(args []string) []string {
	if s.o.Sandbox != "" && len(args) > 0 && (args[0] == "run" || args[0] == "attach" || args[0] == "serve") {
		return append([]string{args[0], "--sandbox", s.o.Sandbox}, args[1:]...)
	}
	return args
}

// command is a command of cairn in the stage's directory. Its standard input is
// empty: nobody is asked.
func (s *Stage) command(ctx context.Context, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, s.bin, args...)
	c.Env, c.Dir = s.env, s.dir
	c.WaitDelay = outputDelay
	return c
}

// Output runs a command that nobody sees, and returns what it printed.
func (s *Stage) Output(ctx context.Context, args ...string) ([]byte, error) {
	c := s.command(ctx, s.sandboxed(args)...)
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	if err := c.Run(); err != nil {
		return nil, fmt.Errorf("cairn %s: %w: %s", quoted(args), err, strings.TrimSpace(errs.String()))
	}
	return out.Bytes(), nil
}

// Objects runs a command with --json and reads each line of what it prints.
func Objects[T any](ctx context.Context, s *Stage, args ...string) ([]T, error) {
	out, err := s.Output(ctx, append(args, "--json")...)
	if err != nil {
		return nil, err
	}
	var all []T
	sc := bufio.NewScanner(bytes.NewReader(out))
	sc.Buffer(nil, maxLine)
	for sc.Scan() {
		var v T
		if err := json.Unmarshal(sc.Bytes(), &v); err != nil {
			return nil, fmt.Errorf("cairn %s: %w", quoted(args), err)
		}
		all = append(all, v)
	}
	return all, sc.Err()
}

// Session is the newest session.
func (s *Stage) Session(ctx context.Context) (v1.Session, error) {
	list, err := Objects[v1.Session](ctx, s, "ps", "--all", "-n", "1")
	if err == nil && len(list) == 0 {
		err = errors.New("there is no session")
	}
	if err != nil {
		return v1.Session{}, err
	}
	return list[0], nil
}

// Ask is the one open ask.
func (s *Stage) Ask(ctx context.Context) (v1.Ask, error) {
	list, err := Objects[v1.Ask](ctx, s, "asks")
	if err == nil && len(list) != 1 {
		err = fmt.Errorf("%d asks are open instead of 1", len(list))
	}
	if err != nil {
		return v1.Ask{}, err
	}
	return list[0], nil
}

// Events are the events of a session.
func (s *Stage) Events(ctx context.Context, id cairn.SessionID) ([]cairn.Event, error) {
	list, err := Objects[v1.Event](ctx, s, "logs", string(id))
	if err != nil {
		return nil, err
	}
	all := make([]cairn.Event, len(list))
	for i, wire := range list {
		if all[i], err = wire.Cairn(); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// Until waits for something that gives no signal: a file or a process of another
// program. It fails after a minute.
func (s *Stage) Until(ctx context.Context, what string, ok func() (bool, error)) error {
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for {
		if done, err := ok(); done || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting until %s: %w", what, ctx.Err())
		case <-deadline.C:
			return fmt.Errorf("waited %s in vain until %s", patience, what)
		case <-tick.C:
		}
	}
}

// Expect prints a check and remembers whether it held.
func (s *Stage) Expect(ok bool, format string, args ...any) {
	mark := s.styled("32", "ok ")
	s.checks++
	if !ok {
		s.wrong++
		mark = s.styled("31", "NO ")
	}
	fmt.Fprintln(s.o.Out, mark, fmt.Sprintf(format, args...))
}

// Checked is an error when a check did not hold, or none was made.
func (s *Stage) Checked() error {
	switch {
	case s.checks == 0:
		return errors.New("nothing was checked")
	case s.wrong > 0:
		return fmt.Errorf("%d of %d checks failed", s.wrong, s.checks)
	}
	return nil
}

// quoted is a command line as it is typed.
func quoted(args []string) string {
	out := make([]string, len(args))
	for i, a := range args {
		if out[i] = a; a == "" || strings.ContainsAny(a, " \t\n\"'\\$`*?;&|<>(){}[]!#~") {
			out[i] = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
	}
	return strings.Join(out, " ")
}
