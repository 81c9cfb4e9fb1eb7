//go:build linux && (amd64 || arm64)

package boot

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/cairn-run/cairn/sandbox/ns/jail"
	"github.com/cairn-run/cairn/sandbox/ns/wire"
)

// writable are the trees of an instance that a command may write to, if the
// permissions and mounts let it; writableFiles the files and trees in which
// nothing can be made.
var (
	writable      = []string{"/workspace", "/home/agent", "/tmp", "/var/tmp", "/dev/shm"}
	writableFiles = []string{
		"/proc", "/dev/pts", "/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty",
	}
)

// own is how many process ids are init's and its threads': commands get higher
// ones, and their list of system calls refuses the lower ones.
const own = 63

// initd is the first process of an instance: it builds the root, starts
// commands, reaps, and kills.
type initd struct {
	conn    *wire.Conn
	lastCap int   // the highest capability of the kernel
	unready error // why it cannot become an instance
	build   wire.Build
	jail    jail.Jail
	trees   *commands
	given   []int // descriptors of trees that were sent
	tasks   []int // tasks files of the cgroups of commands
	// reserved is the highest process id that is kept from commands.
	reserved uint32
}

// initialize is the main function of init. It ends when the daemon or the helper
// does, and everything in its process namespace with it.
func initialize() error {
	runtime.LockOSThread() // of the namespaces of commands, see command
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return fmt.Errorf("ask for a signal at the helper's death: %w", err)
	}
	unix.CloseOnExec(wire.ControlFD)
	unix.CloseOnExec(wire.LifeFD)
	go func() { // the helper may have died before it could be asked for
		var b [1]byte
		for {
			if _, err := unix.Read(wire.LifeFD, b[:]); !errors.Is(err, unix.EINTR) {
				os.Exit(1)
			}
		}
	}()
	i := &initd{conn: wire.Inherited(wire.ControlFD)}
	i.unready = i.prepare()
	for {
		var r wire.Request
		fds, err := i.conn.Recv(&r)
		if errors.Is(err, io.EOF) || errors.Is(err, unix.ECONNRESET) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("receive a request: %w", err)
		}
		i.serve(r, fds)
	}
}

// serve does what a request asks. What can take long replies later.
func (i *initd) serve(r wire.Request, fds []int) {
	reply := wire.Reply{Seq: r.Seq}
	var err error
	switch {
	case r.Trees && i.trees == nil:
		i.given, fds = append(i.given, fds...), nil
	case r.Tasks && i.trees == nil:
		i.tasks, fds = append(i.tasks, fds...), nil
	case r.Build != nil && i.trees == nil:
		reply.Built, err = i.make(r.Build)
	case i.trees == nil:
		err = errors.New("the sandbox is not built yet")
	case r.Start != nil:
		reply.PID, err = i.trees.start(r.Start, fds)
		fds = nil
	case r.Kill != 0:
		go func() { i.reply(wire.Reply{Seq: r.Seq, Procs: i.trees.kill(r.Kill)}, nil) }()
		return
	case r.List:
		reply.Procs, err = list()
	case r.Stop:
		go func() { i.reply(wire.Reply{Seq: r.Seq}, i.trees.stop()) }()
		return
	case r.Cont:
		err = i.trees.cont()
	case r.Usage:
		reply.CPU, reply.Memory = i.trees.usage()
	case r.Lost:
		reply.Bytes, reply.Hiding, err = lost()
	default:
		err = errors.New("an unknown request")
	}
	wire.CloseAll(fds)
	i.reply(reply, err)
}

func (i *initd) reply(r wire.Reply, err error) {
	if err != nil {
		r.Err = err.Error()
		var errno syscall.Errno
		if errors.As(err, &errno) {
			r.Errno = int(errno)
		}
	}
	if err := i.conn.Send(r); err != nil {
		os.Exit(1) // the daemon is gone, or cannot be told
	}
}

// prepare does what is the same for every instance, before it is known what this one
// will be: a spare has it behind it.
func (i *initd) prepare() error {
	last, err := lastCap()
	if err != nil {
		return err
	}
	i.lastCap = last
	if err := loopback(); err != nil {
		return err
	}
	return stage()
}

// make builds the root and gets ready for commands.
func (i *initd) make(b *wire.Build) (*wire.Built, error) {
	if i.unready != nil {
		return nil, i.unready
	}
	i.build = *b
	i.reserved = reserve()
	if err := build(b, i.given); err != nil {
		return nil, err
	}
	if err := unix.Sethostname([]byte(b.Hostname)); err != nil {
		return nil, fmt.Errorf("set the host name: %w", err)
	}
	version := jail.LandlockVersion()
	if version < jail.MinLandlock {
		version = 0
	}
	rules, err := jail.Landlock(version, writable, writableFiles)
	if err != nil {
		return nil, err
	}
	i.jail = jail.Jail{Filter: jail.Filter(i.reserved), Landlock: rules, LastCap: i.lastCap, Limits: i.limits()}
	// From here on there are commands, which may look at this process.
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return nil, fmt.Errorf("close init to others: %w", err)
	}
	i.trees = newCommands(i)
	go i.trees.watch()
	return &wire.Built{Landlock: version, Seccomp: true}, nil
}

// limits are the resource limits of every command. A hard limit that is lower
// already stays: raising it takes a capability of the host.
func (i *initd) limits() []jail.Limit {
	want := []jail.Limit{
		{Resource: unix.RLIMIT_CORE, Value: 0},
		{Resource: unix.RLIMIT_NOFILE, Value: uint64(i.build.Files)},
		{Resource: unix.RLIMIT_FSIZE, Value: uint64(i.build.FileSize)},
	}
	for n := range want {
		var have unix.Rlimit
		if err := unix.Getrlimit(want[n].Resource, &have); err == nil {
			want[n].Value = min(want[n].Value, have.Max)
		}
	}
	return want
}

// reserve keeps the low process ids for init. On a kernel that cannot
// (CONFIG_CHECKPOINT_RESTORE), its threads are only kept by Landlock.
func reserve() uint32 {
	fd, err := unix.Open("/proc/sys/kernel/ns_last_pid", unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 1
	}
	defer func() { _ = unix.Close(fd) }()
	if _, err := unix.Write(fd, []byte(strconv.Itoa(own))); err != nil {
		return 1
	}
	return own
}

// loopback switches on the one network device there is.
func loopback() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("switch on the loopback device: %w", err)
	}
	defer func() { _ = unix.Close(fd) }()
	req, err := unix.NewIfreq("lo")
	if err != nil {
		return fmt.Errorf("switch on the loopback device: %w", err)
	}
	req.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, req); err != nil {
		return fmt.Errorf("switch on the loopback device: %w", err)
	}
	return nil
}

func lastCap() (int, error) {
	b, err := os.ReadFile("/proc/sys/kernel/cap_last_cap")
	if err != nil {
		return 0, fmt.Errorf("find the highest capability: %w", err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil || n < 0 || n > 63 {
		return 0, fmt.Errorf("the highest capability is said to be %q", b)
	}
	return n, nil
}
