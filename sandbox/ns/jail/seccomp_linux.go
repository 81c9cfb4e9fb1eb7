//go:build linux && (amd64 || arm64)

package jail

import (
	"slices"

	"golang.org/x/sys/unix"
)

// Offsets of struct seccomp_data (seccomp(2)); both architectures are
// little-endian, so the low half of an argument comes first.
const (
	offNumber = 0
	offArch   = 4
	offArgs   = 16
)

// Actions.
const (
	allowed = unix.SECCOMP_RET_ALLOW
	killed  = unix.SECCOMP_RET_KILL_PROCESS
	refused = unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)
	missing = unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)
)

// namespaces are the flags of clone(2) that make a namespace.
const namespaces = unix.CLONE_NEWNS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC |
	unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNET

// newest is the last system call this table knows (mseal, Linux 6.10). To a
// program, a later one is not there, so that it takes the older way; a known one
// that is not allowed is refused.
const newest = unix.SYS_MSEAL

// ioprioProcess is IOPRIO_WHO_PROCESS (linux/ioprio.h).
const ioprioProcess = 1

// missingCalls have a fallback in the C library that is taken for ENOSYS only:
// clone3 hides its flags in memory, where a filter cannot look.
var missingCalls = []uint32{unix.SYS_CLONE3}

// arguments of prctl(2) that are allowed.
var prctlOptions = []uint32{
	unix.PR_SET_PDEATHSIG, unix.PR_GET_PDEATHSIG, unix.PR_GET_DUMPABLE, unix.PR_SET_DUMPABLE,
	unix.PR_GET_KEEPCAPS, unix.PR_SET_NAME, unix.PR_GET_NAME, unix.PR_CAPBSET_READ, unix.PR_GET_SECUREBITS,
	unix.PR_SET_TIMERSLACK, unix.PR_GET_TIMERSLACK, unix.PR_GET_SECCOMP, unix.PR_GET_TIMING,
	unix.PR_SET_CHILD_SUBREAPER, unix.PR_GET_CHILD_SUBREAPER, unix.PR_SET_NO_NEW_PRIVS, unix.PR_GET_NO_NEW_PRIVS,
	unix.PR_GET_TID_ADDRESS, unix.PR_SET_THP_DISABLE, unix.PR_GET_THP_DISABLE, unix.PR_CAP_AMBIENT,
	unix.PR_SET_VMA, unix.PR_GET_SPECULATION_CTRL, unix.PR_SET_SPECULATION_CTRL, unix.PR_SET_MDWE, unix.PR_GET_MDWE,
	unix.PR_GET_AUXV, unix.PR_SVE_SET_VL, unix.PR_SVE_GET_VL, unix.PR_PAC_RESET_KEYS, unix.PR_SET_TAGGED_ADDR_CTRL,
	unix.PR_GET_TAGGED_ADDR_CTRL,
}

// assembler makes a classic BPF program.
type assembler struct{ code []unix.SockFilter }

func (a *assembler) load(offset uint32) {
	a.code = append(a.code, unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offset})
}

func (a *assembler) ret(action uint32) {
	a.code = append(a.code, unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: action})
}

func (a *assembler) mask(k uint32) {
	a.code = append(a.code, unix.SockFilter{Code: unix.BPF_ALU | unix.BPF_AND | unix.BPF_K, K: k})
}

// jump compares with k: jt and jf are how many instructions are left out.
func (a *assembler) jump(op uint16, k uint32, jt, jf uint8) {
	a.code = append(a.code, unix.SockFilter{Code: unix.BPF_JMP | op | unix.BPF_K, Jt: jt, Jf: jf, K: k})
}

// equal returns the action when the loaded word is k.
func (a *assembler) equal(k, action uint32) {
	a.jump(unix.BPF_JEQ, k, 0, 1)
	a.ret(action)
}

// arg loads the low half of an argument: the kernel takes an int or unsigned int
// where this is used.
func (a *assembler) arg(n uint32) { a.load(offArgs + 8*n) }

// table holds what is done about each system call that is not simply refused: a
// program that ends in a return.
type table map[uint32][]unix.SockFilter

// call adds the rule of one system call.
func (t table) call(number uint32, body func(*assembler)) {
	var a assembler
	body(&a)
	t[number] = a.code
}

// returns adds system calls that are answered without a look at their arguments.
func (t table) returns(action uint32, numbers ...uint32) {
	for _, n := range numbers {
		t.call(n, func(a *assembler) { a.ret(action) })
	}
}

// span is a range of system calls with one program, up to where the next begins.
type span struct {
	first uint32
	code  []unix.SockFilter
}

// spans orders the table, with what is not in it: refused where it is known.
func (t table) spans() []span {
	var refuse, miss assembler
	refuse.ret(refused)
	miss.ret(missing)
	var all []span
	for n := uint32(0); n <= newest; n++ {
		code, ok := t[n]
		if !ok {
			code = refuse.code
		}
		if len(all) == 0 || !slices.Equal(all[len(all)-1].code, code) {
			all = append(all, span{n, code})
		}
	}
	return append(all, span{newest + 1, miss.code})
}

// search is a program that finds the span of the loaded number by halves. A list of
// comparisons would do the same; but a kernel that takes a filter tries it with every
// number, to know the calls that are always allowed (Linux 5.11), which with a list
// takes half a millisecond of each start.
func search(all []span) []unix.SockFilter {
	if len(all) == 1 {
		return all[0].code
	}
	middle := len(all) / 2
	low, high := search(all[:middle]), search(all[middle:])
	var a assembler
	if len(low) <= 255 {
		a.jump(unix.BPF_JGE, all[middle].first, uint8(len(low)), 0)
	} else { // only a jump without a condition goes further
		a.jump(unix.BPF_JGE, all[middle].first, 0, 1)
		a.jump(unix.BPF_JA, uint32(len(low)), 0, 0)
	}
	return slices.Concat(a.code, low, high)
}

// oneOf allows the call when an argument is in the list.
func oneOf(arg uint32, list []uint32) func(*assembler) {
	return func(a *assembler) {
		a.arg(arg)
		for _, k := range list {
			a.equal(k, allowed)
		}
		a.ret(refused)
	}
}

// noneOf refuses the call when an argument is in the list.
func noneOf(arg uint32, list []uint32) func(*assembler) {
	return func(a *assembler) {
		a.arg(arg)
		for _, k := range list {
			a.equal(k, refused)
		}
		a.ret(allowed)
	}
}

// fileType refuses to make a device, or a whiteout of overlayfs, which is one.
func fileType(arg uint32) func(*assembler) {
	return func(a *assembler) {
		a.arg(arg)
		a.mask(unix.S_IFMT)
		for _, k := range []uint32{0, unix.S_IFREG, unix.S_IFIFO, unix.S_IFSOCK} {
			a.equal(k, allowed)
		}
		a.ret(refused)
	}
}

// socket allows local sockets, TCP and UDP, and asking the kernel about routes
// and addresses, which getifaddrs(3) does. Everything else is a way to kernel
// code that no program here needs, or, as AF_VSOCK, out of the namespaces.
func socket(a *assembler) {
	a.arg(0)
	a.equal(unix.AF_UNIX, allowed)
	a.jump(unix.BPF_JEQ, unix.AF_NETLINK, 0, 4)
	a.arg(2)
	a.jump(unix.BPF_JEQ, unix.NETLINK_ROUTE, 0, 1)
	a.ret(allowed)
	a.ret(refused)
	a.jump(unix.BPF_JEQ, unix.AF_INET, 2, 0)
	a.jump(unix.BPF_JEQ, unix.AF_INET6, 1, 0)
	a.ret(refused)
	a.arg(1)
	a.mask(0xf) // the rest are SOCK_CLOEXEC and SOCK_NONBLOCK
	a.jump(unix.BPF_JEQ, unix.SOCK_STREAM, 2, 0)
	a.jump(unix.BPF_JEQ, unix.SOCK_DGRAM, 1, 0)
	a.ret(refused)
	a.arg(2)
	for _, k := range []uint32{0, unix.IPPROTO_TCP, unix.IPPROTO_UDP} {
		a.equal(k, allowed)
	}
	a.ret(refused)
}

// others refuses a call on a process up to own, whose id is an argument, and what
// reaches them without naming them: they are the runtime's, and have the same user
// as all others.
func others(arg, own uint32) func(*assembler) {
	return func(a *assembler) {
		a.arg(arg)
		a.jump(unix.BPF_JEQ, 0, 2, 0) // 0 is the caller
		a.jump(unix.BPF_JGT, own, 1, 0)
		a.ret(refused)
		a.ret(allowed)
	}
}

// priority looks at setpriority(2) and ioprio_set(2): a process, or a group,
// which the runtime's own are not in; a user is everyone. The numbers differ by
// one.
func priority(process, own uint32) func(*assembler) {
	return func(a *assembler) {
		a.arg(0)
		a.jump(unix.BPF_JEQ, process+1, 0, 1)
		a.ret(allowed)
		a.jump(unix.BPF_JEQ, process, 1, 0)
		a.ret(refused)
		others(1, own)(a)
	}
}

// limits looks at prlimit(2): reading is allowed, and changing one's own.
func limits(own uint32) func(*assembler) {
	return func(a *assembler) {
		a.arg(2) // a pointer: both halves are zero when nothing is set
		a.jump(unix.BPF_JEQ, 0, 0, 3)
		a.load(offArgs + 8*2 + 4)
		a.jump(unix.BPF_JEQ, 0, 0, 1)
		a.ret(allowed)
		others(0, own)(a)
	}
}

// rules is the allow-list of system calls. Processes with ids from 1 to own are the
// runtime's.
func rules(own uint32) table {
	t := table{}
	t.call(unix.SYS_CLONE, func(a *assembler) {
		a.arg(0)
		a.jump(unix.BPF_JSET, namespaces, 0, 1)
		a.ret(refused)
		a.ret(allowed)
	})
	t.call(unix.SYS_SOCKET, socket)
	t.call(unix.SYS_IOCTL, noneOf(1, []uint32{unix.TIOCSTI, unix.TIOCLINUX, unix.TIOCCONS, unix.TIOCSETD}))
	t.call(unix.SYS_PRCTL, oneOf(0, prctlOptions))
	t.call(unix.SYS_PERSONALITY, oneOf(0, []uint32{0, ^uint32(0)}))
	t.call(unix.SYS_MKNODAT, fileType(2))
	archRules(t)
	for _, n := range []uint32{
		unix.SYS_KILL, unix.SYS_TKILL, unix.SYS_TGKILL, unix.SYS_RT_SIGQUEUEINFO, unix.SYS_RT_TGSIGQUEUEINFO, unix.SYS_PIDFD_OPEN,
		unix.SYS_SCHED_SETAFFINITY, unix.SYS_SCHED_SETPARAM, unix.SYS_SCHED_SETSCHEDULER, unix.SYS_SCHED_SETATTR,
	} {
		t.call(n, others(0, own))
	}
	t.call(unix.SYS_PRLIMIT64, limits(own))
	t.call(unix.SYS_SETPRIORITY, priority(unix.PRIO_PROCESS, own))
	t.call(unix.SYS_IOPRIO_SET, priority(ioprioProcess, own))
	t.returns(allowed, common...)
	t.returns(allowed, archCalls...)
	t.returns(missing, missingCalls...)
	return t
}

// Filter is the allow-list of system calls, for seccomp(2). Processes with ids
// from 1 to own are the runtime's.
func Filter(own uint32) []unix.SockFilter {
	var a assembler
	a.load(offArch)
	a.jump(unix.BPF_JEQ, auditArch, 1, 0)
	a.ret(killed)
	a.load(offNumber)
	return append(a.code, search(rules(own).spans())...)
}
