//go:build linux

package wire

import "strings"

// Names a process of this program is started under: its purpose is the base name
// of its first argument.
const (
	ForkdName = "cairn-forkd"
	InitName  = "cairn-init"
)

// Descriptors of a started process.
const (
	ControlFD = 3 // the socket to the daemon
	LifeFD    = 4 // of init: the helper holds the other end for as long as it lives
)

// UserID is the user and group of everything inside an instance.
const UserID = 1000

// List is a list of byte strings without NUL: arguments and paths of a Unix
// system, which need not be text.
type List []byte

// NewList joins words; each must be free of NUL.
func NewList(words []string) List {
	if len(words) == 0 {
		return nil
	}
	return List(strings.Join(words, "\x00") + "\x00")
}

// Words returns the words of the list.
func (l List) Words() []string {
	if len(l) == 0 {
		return nil
	}
	return strings.Split(strings.TrimSuffix(string(l), "\x00"), "\x00")
}

// Tree is a directory or file of the host that is given to an instance: a clone
// of its mount, and descriptors of directories in it.
type Tree struct {
	Path    []byte
	Subs    List // directories directly in it
	Submade bool // with what is mounted below it
}

// Spawn asks the helper for an instance. The descriptors are: the control
// socket of its init, then Tasks files of cgroups (version 1) that the process
// moves into, then one directory of a cgroup (version 2) if Into is set.
type Spawn struct {
	Key   uint64
	Tasks int
	Into  bool
	// Host is the user and group outside that is [UserID] inside.
	Host int
	// Switch: the helper is root and the process becomes Host.
	Switch bool
}

// ForkdRequest is what the daemon says to the helper.
type ForkdRequest struct {
	// Home opens the conversation: its descriptors are the tasks files of the
	// cgroups the helper was started in, in the order of later ones.
	Home  bool
	Spawn *Spawn
}

// Spawned is what the helper says: the answer to a Spawn, with the process's
// pidfd, or that a process ended.
type Spawned struct {
	Key    uint64
	Err    string
	PID    int
	Ended  bool
	Status uint32 // of wait4, when it ended
}

// Item is a thing of the skeleton, the layer below all others.
type Item struct {
	Path string
	Mode uint32 // permission bits, with the sticky bit as the kernel has it
	Link string // it is a symbolic link
	Text string // it is a file
	File bool   // it is a file, perhaps an empty one
}

// Bind is a path of the host that is shown read-only at Path. Tree is the number
// of a tree, or -1: init opens Host itself.
type Bind struct {
	Host []byte
	Path string
	Tree int
}

// Build tells init what to make. Numbers are of [Build.Trees].
type Build struct {
	Trees     []Tree
	Opened    bool // the trees were sent before, with Trees
	Skeleton  []Item
	Lower     []int // top first
	Upper     int   // the tree that has "upper" and "work" as its Subs; -1: none
	Binds     []Bind
	Hostname  string
	Tmp       int64 // bytes of each tmpfs
	TmpOnTop  bool  // /tmp is a tmpfs: there is no upper directory
	Processes int
	Files     int
	FileSize  int64
	// Memory is watched when it is not zero: bytes of all processes and tmpfs.
	Memory int64
	// Watch says that the number of processes has to be watched, too.
	WatchProcesses bool
	// UserProcs says that the kernel counts RLIMIT_NPROC within the instance.
	UserProcs bool
}

// Start starts a command. Its descriptors are those of stdio that are there.
type Start struct {
	ID       uint64
	Args     List
	Env      List
	Dir      []byte
	Stdio    [3]bool
	Detached bool
}

// Request is what the daemon asks of init; one field beside Seq is set.
type Request struct {
	Seq   uint64
	Trees bool // the descriptors are some of those of the trees
	Tasks bool // the descriptors are the tasks files that every command moves into
	Build *Build
	Start *Start
	Kill  uint64 // the ID of a command
	List  bool
	Stop  bool // stop all processes, without a freezer
	Cont  bool
	Usage bool
	Lost  bool // bytes of files without a name, and what may hide more
}

// Proc is a process.
type Proc struct {
	PID     int
	Command []byte
}

// Exit is how a command ended.
type Exit struct {
	ID     uint64
	Status uint32
	CPU    int64 // nanoseconds
	MaxRSS int64 // bytes
	Left   []Proc
}

// Breach is a limit that init saw exceeded; it ends when it has said so.
type Breach struct {
	Limit     string
	Used, Max int64
}

// Built is what init found when it was ready.
type Built struct {
	Landlock int
	Seccomp  bool
}

// Reply is what init says: with a Seq to a request, without one by itself.
type Reply struct {
	Seq    uint64
	Err    string
	Errno  int
	PID    int
	Procs  []Proc
	Built  *Built
	Exit   *Exit
	Breach *Breach
	CPU    int64 // nanoseconds of all that ended
	Memory int64 // bytes, the peak that was seen
	Bytes  int64
	// Hiding is how many descriptors are under way in sockets and how many deleted
	// files are mapped: their sizes cannot be found out.
	Hiding int
}
