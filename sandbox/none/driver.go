// Package none is the driver for --sandbox none: commands run on the host as the
// user who runs Cairn, with nothing between them and the machine. It must be
// asked for by name, and its [Driver.Probe] says that it isolates nothing.
//
// What it does keep: the environment is clean (no secret of the runtime is
// inherited), HOME is in the session's files, a command that ends or is killed
// takes with it what it started as well as the system lets one find it, and the
// wall limit holds.
//
// The paths of an instance do not exist here. The files of the session are in
// Spec.Root.Plain: [sandbox.Dir] is its workspace, [sandbox.Home] its home/agent.
// Cmd.Dir may be one of these or a directory below, which are translated, or a
// directory of the host. Arguments are not translated. Spec.Mounts are not
// shown: their directories are on the host already. [sandbox.HandPath] does not
// exist. A PID is that of the host.
//
// What it does not: a command that wipes its environment, leaves its session and
// loses its parent is not found again (on macOS and the BSDs: one that leaves
// its process group; on Windows: any child), and when the runtime is killed, its
// commands live on.
package none

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"sync"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/sandbox"
)

// Name is the name of the driver.
const Name = "none"

// maxInstances bounds how many instances live at once.
const maxInstances = 10_000

// Driver runs commands on the host. It is safe for concurrent use.
type Driver struct {
	mu        sync.Mutex
	closed    bool
	instances map[string]*instance
}

// Open returns the driver. It needs no state of its own, so nothing can be left
// of it but processes.
func Open() *Driver { return &Driver{instances: map[string]*instance{}} }

var _ sandbox.Driver = (*Driver)(nil)

// Name implements [sandbox.Driver].
func (*Driver) Name() string { return Name }

// Probe implements [sandbox.Driver]: it is usable everywhere and holds nothing
// but the wall limit and, on Unix, that of open descriptors.
func (*Driver) Probe(context.Context) sandbox.Caps {
	return sandbox.Caps{
		Usable:    true,
		Isolation: "none",
		Rootless:  os.Geteuid() != 0,
		Limits: map[string]sandbox.Enforcement{
			"cpu": sandbox.ByNothing, "memory": sandbox.ByNothing, "processes": sandbox.ByNothing,
			"disk": sandbox.ByNothing, "inodes": sandbox.ByNothing,
			"files": filesEnforcement, "wall": sandbox.ByWatcher,
		},
	}
}

// Create implements [sandbox.Driver]. It makes workspace and home/agent in
// Spec.Root.Plain when they are not there.
func (d *Driver) Create(ctx context.Context, s sandbox.Spec) (sandbox.Instance, error) {
	if err := ctx.Err(); err != nil {
		return nil, cancelled(err)
	}
	if err := check(s); err != nil {
		return nil, err
	}
	s.Limits = s.Limits.WithDefaults()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil, cairn.Errorf(cairn.CodeUnavailable, "the sandbox driver is closed: open it again")
	}
	if _, ok := d.instances[s.ID]; ok {
		return nil, cairn.Errorf(cairn.CodeConflict, "a sandbox with the id %q is alive: destroy it first, or choose another id", s.ID)
	}
	if len(d.instances) >= maxInstances {
		return nil, &cairn.Error{Code: cairn.CodeUnavailable, Retryable: true, Message: "too many sandboxes are alive: destroy some first"}
	}
	for _, dir := range []string{"workspace", filepath.Join("home", "agent")} {
		if err := os.MkdirAll(filepath.Join(s.Root.Plain, dir), 0o755); err != nil {
			return nil, cairn.Errorf(cairn.CodeInternal, "making %s in the session's directory: %w", dir, err)
		}
	}
	i := newInstance(d, s)
	d.instances[s.ID] = i
	return i, nil
}

// Close implements [sandbox.Driver].
func (d *Driver) Close() error {
	d.mu.Lock()
	d.closed = true
	left := make([]*instance, 0, len(d.instances))
	for _, i := range d.instances {
		left = append(left, i)
	}
	d.mu.Unlock()
	var errs []error
	for _, i := range left {
		ctx, cancel := context.WithTimeout(context.Background(), killBound)
		_, err := i.Destroy(ctx)
		cancel()
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// forget takes an instance that has ended out of the list.
func (d *Driver) forget(i *instance) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.instances[i.id] == i {
		delete(d.instances, i.id)
	}
}

var idPattern = regexp.MustCompile(`^[a-z0-9-]{1,48}$`)

// check refuses a Spec that this driver cannot give.
func check(s sandbox.Spec) error {
	if !idPattern.MatchString(s.ID) {
		return cairn.Errorf(cairn.CodeInvalid, "the sandbox id %.60q is not allowed: use 1 to 48 of a-z, 0-9 and -", s.ID)
	}
	if image := cmp.Or(s.Image, sandbox.ImageHost); image != sandbox.ImageHost {
		return cairn.Errorf(cairn.CodeInvalid, "the image %q cannot be used without a sandbox: leave it out, or use the ns driver", image)
	}
	if s.Root.Plain == "" {
		return cairn.Errorf(cairn.CodeInvalid, "without a sandbox the session's files must be in one directory: set Root.Plain")
	}
	if err := checkDir("Root.Plain", s.Root.Plain); err != nil {
		return err
	}
	for _, m := range s.Mounts {
		if err := checkDir("the mounted directory", m.Host); err != nil {
			return err
		}
		if !filepath.IsAbs(m.Path) || filepath.Clean(m.Path) != m.Path || m.Path == "/" {
			return cairn.Errorf(cairn.CodeInvalid, "%q is no place for a mount: use an absolute path without .. below /", m.Path)
		}
	}
	if l := s.Limits; l.CPU < 0 || l.Memory < 0 || l.Processes < 0 || l.Files < 0 || l.Disk < 0 || l.Inodes < 0 || l.Tmp < 0 || l.Wall < 0 {
		return cairn.Errorf(cairn.CodeInvalid, "a limit of the sandbox is negative: use 0 for the default")
	}
	return nil
}

func checkDir(what, dir string) error {
	if !filepath.IsAbs(dir) {
		return cairn.Errorf(cairn.CodeInvalid, "%s is %q: use an absolute path", what, dir)
	}
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return cairn.Errorf(cairn.CodeInvalid, "%s %q does not exist: make it first", what, dir)
	case err != nil:
		return cairn.Errorf(cairn.CodeInvalid, "%s %q cannot be looked at: %w", what, dir, err)
	case !info.IsDir():
		return cairn.Errorf(cairn.CodeInvalid, "%s %q is not a directory", what, dir)
	}
	return nil
}

func cancelled(err error) error {
	return &cairn.Error{Code: cairn.CodeCancelled, Message: "the sandbox was not used: the caller stopped waiting", NotDone: true, Err: err}
}
