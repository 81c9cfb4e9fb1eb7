package builtin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/sandbox"
	"github.com/cairn-run/cairn/tool"
	"github.com/cairn-run/cairn/workspace"
)

const (
	defaultInstances = 64
	defaultIdle      = 10 * time.Minute
	// cleanTime bounds what is still to be done when a call was stopped: killing,
	// destroying, giving back.
	cleanTime = 30 * time.Second
)

// Options join the driver with what it needs. Without Sandbox and Workspaces the
// tools that touch files refuse.
type Options struct {
	// Results reads recorded results, for read_result.
	Results    Results
	Sandbox    sandbox.Driver
	Workspaces *workspace.Store
	// SkillDir is where the files of skills are kept, by their content. It is made.
	SkillDir string
	// ImageDir holds the root file systems that agents may name as their image, each in
	// a directory of its own; empty: there are none.
	ImageDir string
	// TempDir takes the output of running commands and the like; default: the system's. It
	// is made, and what a killed process left in it is removed: nobody else may use it.
	// It must be on a file system that overlayfs can write to, which not every tmpfs is.
	TempDir string
	// Instances bounds the sandboxes that live at once; default 64. When one more is
	// needed, the background commands that were left alone longest are ended.
	Instances int
	// Creations bounds the sandboxes that are made at the same time; default twice the
	// number of processors.
	Creations int
	Log       *slog.Logger // default: slog.Default()
}

// Driver performs the built-in tools that the engine does not execute itself. It is
// safe for concurrent use. Sandbox and Workspaces stay the caller's to close, after
// it.
type Driver struct {
	o     Options
	log   *slog.Logger
	web   *web
	plain bool // the sandbox driver mounts nothing

	slots     chan struct{} // a token for each instance that lives
	creations chan struct{}

	mu       sync.Mutex
	closed   bool
	waiting  int // calls that wait for a slot
	sessions map[cairn.SessionKey]*session
	ended    map[cairn.SessionKey][]string // what was ended without a call, to be told in the next one
	jobs     sync.WaitGroup                // goroutines that wait for background commands
}

var _ tool.Driver = (*Driver)(nil)

// New returns the driver.
func New(o Options) *Driver {
	d := &Driver{o: o, log: o.Log, web: newWeb(), sessions: map[cairn.SessionKey]*session{}, ended: map[cairn.SessionKey][]string{}}
	if d.log == nil {
		d.log = slog.Default()
	}
	if d.o.Instances <= 0 {
		d.o.Instances = defaultInstances
	}
	if d.o.Creations <= 0 {
		d.o.Creations = 2 * runtime.GOMAXPROCS(0)
	}
	d.plain = o.Sandbox != nil && o.Sandbox.Name() == "none"
	d.tidy()
	d.slots = make(chan struct{}, d.o.Instances)
	d.creations = make(chan struct{}, d.o.Creations)
	return d
}

// Patterns of the names of temporary files.
const (
	outputFiles = "output-*"
	viewDirs    = "view-*"
	newSkills   = "new-*" // in the directory of skills
)

// tidy makes the temporary directory and removes what a killed process left there and
// among the skills.
func (d *Driver) tidy() {
	if d.o.TempDir != "" {
		if err := os.MkdirAll(d.o.TempDir, 0o700); err != nil {
			d.log.Error("the temporary directory cannot be made", "dir", d.o.TempDir, "error", err)
		}
		d.sweep(d.o.TempDir, outputFiles)
		d.sweep(d.o.TempDir, viewDirs)
	}
	if d.o.SkillDir != "" {
		d.sweep(d.o.SkillDir, newSkills)
	}
}

// sweep removes the entries of a directory whose names begin as a pattern says.
func (d *Driver) sweep(dir, pattern string) {
	list, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	for _, e := range list {
		if strings.HasPrefix(e.Name(), strings.TrimSuffix(pattern, "*")) {
			err = errors.Join(err, removeView(filepath.Join(dir, e.Name())))
		}
	}
	if err != nil {
		d.log.Warn("temporary files could not be removed", "dir", dir, "error", err)
	}
}

// Validate implements [tool.Driver]: which names there are is the catalogue's to say.
func (*Driver) Validate(*cairn.ToolSource) error { return nil }

// List implements [tool.Driver]: nothing is discovered.
func (*Driver) List(context.Context, tool.Target) ([]cairn.ToolSpec, error) { return nil, nil }

// Call implements [tool.Driver]. A call that was stopped returns when everything it
// started is dead.
func (d *Driver) Call(ctx context.Context, c tool.Call) (*cairn.ToolResult, error) {
	switch c.Tool {
	case ReadResult:
		return d.readResult(ctx, c)
	case cairn.BuiltinHTTP:
		return d.web.call(ctx, c)
	case cairn.BuiltinRead, cairn.BuiltinList, cairn.BuiltinSearch:
		return d.look(ctx, c)
	case cairn.BuiltinWrite, cairn.BuiltinEdit:
		return d.change(ctx, c)
	case cairn.BuiltinBash:
		return d.bash(ctx, c)
	case cairn.BuiltinPython:
		return d.python(ctx, c)
	}
	return nil, &cairn.Error{Code: cairn.CodeUnknownTool, Message: fmt.Sprintf("no built-in tool is called %q", c.Tool), NotDone: true}
}

// usable says whether calls that touch files can be made here.
func (d *Driver) usable(ctx context.Context, c tool.Call) error {
	refuse := func(code cairn.Code, format string, args ...any) error {
		return &cairn.Error{Code: code, Message: fmt.Sprintf(format, args...), NotDone: true}
	}
	if d.o.Sandbox == nil || d.o.Workspaces == nil {
		return refuse(cairn.CodeDenied, "%s needs a sandbox, and this node has none: see what cairn doctor says", c.Tool)
	}
	caps := d.o.Sandbox.Probe(context.WithoutCancel(ctx)) // it remembers
	if caps.Passing {
		return &cairn.Error{Code: cairn.CodeUnavailable, Message: "the sandbox could not be tried: " + caps.Why, NotDone: true, Retryable: true}
	}
	if !caps.Usable {
		return refuse(cairn.CodeDenied, "%s needs a sandbox, and %s cannot be used on this machine: %s; %s", c.Tool, d.o.Sandbox.Name(), caps.Why, caps.Fix)
	}
	// A run that was started inside a boundary is never continued without one.
	if name := d.o.Sandbox.Name(); c.Sandbox != "" && c.Sandbox != name && caps.Isolation == "none" {
		return refuse(cairn.CodeDenied, "the run was started in the sandbox %q, and this node runs commands in %q, without a boundary: start the node with --sandbox %s to go on", c.Sandbox, name, c.Sandbox)
	}
	return nil
}

// Release ends what is alive in the sandbox of a session, and says what was killed.
// It waits for calls that are being made.
func (d *Driver) Release(ctx context.Context, key cairn.SessionKey) (killed []string, err error) {
	s, leave := d.enter(key)
	defer leave()
	if s == nil {
		return nil, nil
	}
	done, err := s.turns.write(ctx)
	if err != nil {
		return nil, stopped(ctx)
	}
	defer done()
	return d.endLive(ctx, s)
}

// Close ends everything that is alive and takes no more calls. Those that are under
// way are to be stopped before, by their contexts.
func (d *Driver) Close() error {
	d.mu.Lock()
	d.closed = true
	var keys []cairn.SessionKey
	for k := range d.sessions {
		keys = append(keys, k)
	}
	d.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), cleanTime)
	defer cancel()
	var errs []error
	for _, k := range keys {
		s := d.known(k)
		if s == nil {
			continue
		}
		done, err := s.turns.write(ctx)
		if err != nil {
			errs = append(errs, fmt.Errorf("a call of session %s is still being made", k.ID))
			continue
		}
		_, err = d.endLive(ctx, s)
		done()
		errs = append(errs, err)
	}
	d.jobs.Wait()
	return errors.Join(errs...)
}

// stopped is the error of a call whose context has ended.
func stopped(ctx context.Context) *cairn.Error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return &cairn.Error{Code: cairn.CodeTimeout, Message: "the call took too long", Retryable: true}
	}
	return &cairn.Error{Code: cairn.CodeCancelled, Message: "stopped"}
}

// said is a result of text.
func said(isError bool, format string, args ...any) *cairn.ToolResult {
	return &cairn.ToolResult{Content: []cairn.Part{cairn.Text(fmt.Sprintf(format, args...))}, IsError: isError}
}

// clean is a context for what has to be done although the call was stopped.
func clean(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), cleanTime)
}
