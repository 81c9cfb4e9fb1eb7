// Package sandbox is the port to places where untrusted commands run: a driver
// makes an instance, commands are started in it, and destroying it leaves
// nothing behind. [Driver.Probe] says what a driver really enforces on this
// machine; asking for more is an error, never a silent downgrade.
//
// Inside every instance the files of the session are at [Home] and the working
// directory of commands is [Dir]. There is no network, no secret, and nothing of
// the host but what its image shows.
package sandbox

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/cairn-run/cairn"
)

// Paths inside an instance.
const (
	// Dir is where the files of the session are, and where commands begin.
	Dir = "/workspace"
	// Home is the home directory of the user that commands run as.
	Home = "/home/agent"
	// HandPath is the runtime's own program inside an instance, read-only.
	HandPath = "/run/cairn/hand"
	// SkillsDir is where the skills of the agent are, read-only.
	SkillsDir = "/skills"
)

// ImageHost is the image that shows the programs of the host, read-only.
const ImageHost = "host"

// Driver makes instances. It is safe for concurrent use.
type Driver interface {
	// Name is what listings show: "ns", "none".
	Name() string
	// Probe looks at what this machine allows, with real attempts. What it finds is
	// remembered, unless it is passing.
	Probe(ctx context.Context) Caps
	// Create makes an instance. Errors are *cairn.Error; CodeUnavailable with
	// Retryable: another attempt may succeed. Nothing is left of one that failed.
	Create(ctx context.Context, s Spec) (Instance, error)
	// Close destroys what is left and ends the driver's helpers. What a killed
	// process left behind is removed when its driver is next opened.
	Close() error
}

// Spec says what an instance is made of.
type Spec struct {
	// ID names the instance; unique among those that live, [a-z0-9-], at most 48.
	ID string
	// Image is [ImageHost], or the path of a root file system. Empty: host.
	Image string
	// Root are the session's layers.
	Root Root
	// Mounts are directories of the host that are shown read-only.
	Mounts []Mount
	Limits Limits
}

// Root is an overlay of directories on the host: each holds paths from the root of the
// instance ("workspace/main.go"). Whiteouts and opaque directories are overlayfs'
// own, with user.overlay.* attributes, whoever mounts.
type Root struct {
	Lower []string // top first; they are never written
	// Upper takes what is written and Work is overlayfs' own beside it, in the same
	// directory; both empty: nothing can be written but tmpfs. What must outlive a crash of
	// the machine is synced in Upper by its owner: the instance does not wait for the disk.
	// Work holds directories of mode 0 afterwards.
	Upper, Work string
	// Plain is used instead of all others by drivers without mounts: a directory that
	// holds all files.
	Plain string
}

// Mount shows a directory of the host read-only, with what is mounted below it.
type Mount struct{ Host, Path string }

// Limits bound an instance. Zero takes the default.
type Limits struct {
	CPU       float64       // processors; default 2
	Memory    int64         // bytes, all processes and tmpfs together; default 1 GiB
	Processes int           // default 256
	Files     int           // open descriptors of one process; default 1024
	Disk      int64         // bytes written to the upper directory; default 2 GiB
	Inodes    int64         // files made in the upper directory; default 200,000
	Tmp       int64         // bytes of /dev/shm and other tmpfs; default 64 MiB
	Wall      time.Duration // life of the instance; default none
}

// Defaults of Limits.
const (
	DefaultCPU       = 2.0
	DefaultMemory    = 1 << 30
	DefaultProcesses = 256
	DefaultFiles     = 1024
	DefaultDisk      = 2 << 30
	DefaultInodes    = 200_000
	DefaultTmp       = 64 << 20
)

// WithDefaults returns l with its zeros replaced.
func (l Limits) WithDefaults() Limits {
	if l.CPU == 0 {
		l.CPU = DefaultCPU
	}
	if l.Memory == 0 {
		l.Memory = DefaultMemory
	}
	if l.Processes == 0 {
		l.Processes = DefaultProcesses
	}
	if l.Files == 0 {
		l.Files = DefaultFiles
	}
	if l.Disk == 0 {
		l.Disk = DefaultDisk
	}
	if l.Inodes == 0 {
		l.Inodes = DefaultInodes
	}
	if l.Tmp == 0 {
		l.Tmp = DefaultTmp
	}
	return l
}

// Instance is one sandbox. It is safe for concurrent use.
type Instance interface {
	// Start starts a command. The context bounds the starting only.
	Start(ctx context.Context, c Cmd) (Process, error)
	// Processes lists what is alive, without the runtime's own.
	Processes(ctx context.Context) ([]ProcessInfo, error)
	// Freeze stops all processes where they are and Thaw lets them go on; what they
	// wrote before Freeze returned is in the upper directory.
	Freeze(ctx context.Context) error
	Thaw(ctx context.Context) error
	// Usage is what the instance has used since it was made.
	Usage(ctx context.Context) (Usage, error)
	// Destroy kills everything and removes all traces but the session's directories.
	// It returns when nothing of it is alive, with what was killed. It may be called
	// twice.
	Destroy(ctx context.Context) ([]ProcessInfo, error)
	// Done is closed when the instance has ended, by itself or not; then Err says why:
	// ErrDestroyed, or a *Breach, or what happened.
	Done() <-chan struct{}
	Err() error
}

// Cmd is a command.
type Cmd struct {
	Args []string // the program first: a path, or a name looked up in PATH
	Dir  string   // default Dir of the package
	Env  []string // KEY=value, added to the driver's own: PATH, HOME, LANG, TERM=dumb
	// Stdin, Stdout and Stderr; nil: /dev/null. Reading goes on until the pipe is
	// closed by all who have it, or for one second after the process ended.
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	// Detached processes live on when their command's process group has been killed
	// with [Process.Kill] of another command, and have a tree of their own.
	Detached bool
}

// Process is a started command.
type Process interface {
	// PID is its id inside the instance.
	PID() int
	// Wait returns how it ended. A command that is not detached takes all processes
	// it started with it: when Wait returns, none of them is alive.
	Wait(ctx context.Context) (Exit, error)
	// Kill kills the command with everything it started, however that hides, and
	// returns when it is dead, with what was killed.
	Kill(ctx context.Context) ([]ProcessInfo, error)
}

// Exit is how a process ended.
type Exit struct {
	Code   int    // of exit; 128+signal when it was killed
	Signal string // "SIGKILL"; empty: it exited
	// Left are processes it had started that were alive when it ended, and were killed.
	Left  []ProcessInfo
	Usage Usage
}

// Usage is what was used.
type Usage struct {
	CPU    time.Duration // user and system
	Memory int64         // peak, bytes; zero: not known
	Disk   int64         // bytes in the upper directory, as last looked at
}

// ProcessInfo names a process.
type ProcessInfo struct {
	PID     int    `json:"pid"`     // inside the instance
	Command string `json:"command"` // its arguments, cut at 200 bytes
}

// String is "sleep 100 (7)".
func (p ProcessInfo) String() string { return fmt.Sprintf("%s (%d)", p.Command, p.PID) }

// Breach is a limit that was exceeded; the instance was killed for it.
type Breach struct {
	Limit string // memory, processes, disk, inodes, wall
	Used  int64
	Max   int64
}

// Error implements error.
func (b *Breach) Error() string {
	return fmt.Sprintf("the sandbox used more %s than it may: %d of %d", b.Limit, b.Used, b.Max)
}

// ErrDestroyed is why an instance ended that was destroyed.
var ErrDestroyed = &cairn.Error{Code: cairn.CodeCancelled, Message: "the sandbox was destroyed"}

// Enforcement says who holds a limit.
type Enforcement string

// Ways of holding a limit, strongest first.
const (
	ByCgroup  Enforcement = "cgroup"  // the kernel, for all processes together
	ByRlimit  Enforcement = "rlimit"  // the kernel, for one process or one user namespace
	ByWatcher Enforcement = "watcher" // looked at many times a second, then killed
	ByNothing Enforcement = "none"
)

// Caps is what a driver can do on this machine.
type Caps struct {
	Usable bool
	// Why says what is missing when it is not usable, and Fix what to do about it.
	Why, Fix string
	// Passing says that the trial was disturbed: another probe may find otherwise.
	Passing bool
	// Isolation is "namespaces" or "none".
	Isolation string
	Rootless  bool
	// Root says who may write where: the overlay is mounted by the user or by root.
	Overlay   bool
	Seccomp   bool
	Landlock  int                    // ABI; 0: not there
	Cgroup    string                 // "v2", "v1", "hybrid", ""
	Limits    map[string]Enforcement // by the names of Breach.Limit, and cpu, files
	MaxLayers int
}
