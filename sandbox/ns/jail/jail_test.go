//go:build linux && (amd64 || arm64)

package jail

import (
	"encoding/binary"
	"testing"

	"golang.org/x/sys/unix"
)

const own = 63

// decide runs the filter.
func decide(t *testing.T, arch, number uint32, args ...uint64) uint32 {
	t.Helper()
	return run(t, Filter(own), arch, number, args...)
}

// run runs a program as the kernel does (seccomp(2), classic BPF).
func run(t *testing.T, code []unix.SockFilter, arch, number uint32, args ...uint64) uint32 {
	t.Helper()
	data := make([]byte, 64)
	binary.LittleEndian.PutUint32(data[offNumber:], number)
	binary.LittleEndian.PutUint32(data[offArch:], arch)
	for i, a := range args {
		binary.LittleEndian.PutUint64(data[offArgs+8*i:], a)
	}
	var acc uint32
	for pc := 0; pc < len(code); pc++ {
		c := code[pc]
		jump := func(yes bool) {
			if yes {
				pc += int(c.Jt)
			} else {
				pc += int(c.Jf)
			}
		}
		switch c.Code {
		case unix.BPF_LD | unix.BPF_W | unix.BPF_ABS:
			acc = binary.LittleEndian.Uint32(data[c.K:])
		case unix.BPF_ALU | unix.BPF_AND | unix.BPF_K:
			acc &= c.K
		case unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K:
			jump(acc == c.K)
		case unix.BPF_JMP | unix.BPF_JGT | unix.BPF_K:
			jump(acc > c.K)
		case unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K:
			jump(acc >= c.K)
		case unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K:
			jump(acc&c.K != 0)
		case unix.BPF_JMP | unix.BPF_JA | unix.BPF_K:
			pc += int(c.K)
		case unix.BPF_RET | unix.BPF_K:
			return c.K
		default:
			t.Fatalf("instruction %d is unknown: %+v", pc, c)
		}
	}
	t.Fatal("the program runs off its end")
	return 0
}

func TestFilter(t *testing.T) {
	t.Parallel()
	if n := len(Filter(own)); n > 1000 { // what a kernel takes is 4096 (BPF_MAXINSNS)
		t.Fatalf("%d instructions", n)
	}
	for _, c := range []struct {
		name   string
		number uint32
		args   []uint64
		want   uint32
	}{
		{"read", unix.SYS_READ, nil, allowed},
		{"execve", unix.SYS_EXECVE, nil, allowed},
		{"clone for fork", unix.SYS_CLONE, []uint64{uint64(unix.SIGCHLD)}, allowed},
		{"clone for a thread", unix.SYS_CLONE, []uint64{unix.CLONE_VM | unix.CLONE_FS | unix.CLONE_FILES | unix.CLONE_THREAD | unix.CLONE_SIGHAND | unix.CLONE_SETTLS}, allowed},
		{"clone with a user namespace", unix.SYS_CLONE, []uint64{unix.CLONE_NEWUSER}, refused},
		{"clone with a network", unix.SYS_CLONE, []uint64{unix.CLONE_NEWNET | uint64(unix.SIGCHLD)}, refused},
		{"clone with high bits", unix.SYS_CLONE, []uint64{1<<40 | unix.CLONE_NEWNS}, refused},
		{"clone3", unix.SYS_CLONE3, nil, missing},
		{"unshare", unix.SYS_UNSHARE, nil, refused},
		{"setns", unix.SYS_SETNS, nil, refused},
		{"mount", unix.SYS_MOUNT, nil, refused},
		{"fsopen", unix.SYS_FSOPEN, nil, refused},
		{"open_tree", unix.SYS_OPEN_TREE, nil, refused},
		{"move_mount", unix.SYS_MOVE_MOUNT, nil, refused},
		{"pivot_root", unix.SYS_PIVOT_ROOT, nil, refused},
		{"chroot", unix.SYS_CHROOT, nil, refused},
		{"ptrace", unix.SYS_PTRACE, nil, refused},
		{"process_vm_readv", unix.SYS_PROCESS_VM_READV, nil, refused},
		{"pidfd_getfd", unix.SYS_PIDFD_GETFD, nil, refused},
		{"kcmp", unix.SYS_KCMP, nil, refused},
		{"bpf", unix.SYS_BPF, nil, refused},
		{"perf_event_open", unix.SYS_PERF_EVENT_OPEN, nil, refused},
		{"userfaultfd", unix.SYS_USERFAULTFD, nil, refused},
		{"io_uring_setup", unix.SYS_IO_URING_SETUP, nil, refused},
		{"keyctl", unix.SYS_KEYCTL, nil, refused},
		{"add_key", unix.SYS_ADD_KEY, nil, refused},
		{"kexec_load", unix.SYS_KEXEC_LOAD, nil, refused},
		{"init_module", unix.SYS_INIT_MODULE, nil, refused},
		{"open_by_handle_at", unix.SYS_OPEN_BY_HANDLE_AT, nil, refused},
		{"name_to_handle_at", unix.SYS_NAME_TO_HANDLE_AT, nil, refused},
		{"seccomp", unix.SYS_SECCOMP, nil, refused},
		{"vmsplice", unix.SYS_VMSPLICE, nil, refused},
		{"memfd_secret", unix.SYS_MEMFD_SECRET, nil, refused},
		{"a call of the future", newest + 1, nil, missing},
		{"a number that is none", 0x3fffffff, nil, missing},
		{"personality read", unix.SYS_PERSONALITY, []uint64{0xffffffff}, allowed},
		{"personality set", unix.SYS_PERSONALITY, []uint64{0x40000}, refused},
		{"TIOCSTI", unix.SYS_IOCTL, []uint64{0, unix.TIOCSTI}, refused},
		{"TIOCSTI with high bits", unix.SYS_IOCTL, []uint64{0, 1<<32 | unix.TIOCSTI}, refused},
		{"TIOCLINUX", unix.SYS_IOCTL, []uint64{0, unix.TIOCLINUX}, refused},
		{"TCGETS", unix.SYS_IOCTL, []uint64{0, unix.TCGETS}, allowed},
		{"prctl name", unix.SYS_PRCTL, []uint64{unix.PR_SET_NAME}, allowed},
		{"prctl mm", unix.SYS_PRCTL, []uint64{unix.PR_SET_MM}, refused},
		{"prctl seccomp", unix.SYS_PRCTL, []uint64{unix.PR_SET_SECCOMP}, refused},
		{"unix socket", unix.SYS_SOCKET, []uint64{unix.AF_UNIX, unix.SOCK_STREAM}, allowed},
		{"tcp", unix.SYS_SOCKET, []uint64{unix.AF_INET, unix.SOCK_STREAM | unix.SOCK_CLOEXEC, unix.IPPROTO_TCP}, allowed},
		{"udp6", unix.SYS_SOCKET, []uint64{unix.AF_INET6, unix.SOCK_DGRAM | unix.SOCK_NONBLOCK}, allowed},
		{"sctp", unix.SYS_SOCKET, []uint64{unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_SCTP}, refused},
		{"mptcp", unix.SYS_SOCKET, []uint64{unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_MPTCP}, refused},
		{"seqpacket over ip", unix.SYS_SOCKET, []uint64{unix.AF_INET, unix.SOCK_SEQPACKET}, refused},
		{"raw", unix.SYS_SOCKET, []uint64{unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP}, refused},
		{"packet", unix.SYS_SOCKET, []uint64{unix.AF_PACKET, unix.SOCK_RAW}, refused},
		{"vsock", unix.SYS_SOCKET, []uint64{unix.AF_VSOCK, unix.SOCK_STREAM}, refused},
		{"alg", unix.SYS_SOCKET, []uint64{unix.AF_ALG, unix.SOCK_SEQPACKET}, refused},
		{"routes", unix.SYS_SOCKET, []uint64{unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_ROUTE}, allowed},
		{"netfilter", unix.SYS_SOCKET, []uint64{unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_NETFILTER}, refused},
		{"audit", unix.SYS_SOCKET, []uint64{unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_AUDIT}, refused},
		{"fifo", unix.SYS_MKNODAT, []uint64{0, 0, unix.S_IFIFO | 0o600}, allowed},
		{"device", unix.SYS_MKNODAT, []uint64{0, 0, unix.S_IFCHR | 0o600}, refused},
		{"block device", unix.SYS_MKNODAT, []uint64{0, 0, unix.S_IFBLK | 0o600}, refused},
		{"kill a group", unix.SYS_KILL, []uint64{0}, allowed},
		{"kill all", unix.SYS_KILL, []uint64{0xffffffff}, allowed},
		{"kill init", unix.SYS_KILL, []uint64{1}, refused},
		{"kill a thread of init", unix.SYS_TKILL, []uint64{own}, refused},
		{"kill a command", unix.SYS_TGKILL, []uint64{own + 1}, allowed},
		{"open init", unix.SYS_PIDFD_OPEN, []uint64{1}, refused},
		{"own limits", unix.SYS_PRLIMIT64, []uint64{0, 7, 0x7fff00000000}, allowed},
		{"limits of init", unix.SYS_PRLIMIT64, []uint64{1, 7, 0x7fff00000000}, refused},
		{"limits of init, a low pointer", unix.SYS_PRLIMIT64, []uint64{1, 7, 0x10}, refused},
		{"read limits of init", unix.SYS_PRLIMIT64, []uint64{1, 7, 0, 0x10}, allowed},
		{"priority of a user", unix.SYS_SETPRIORITY, []uint64{unix.PRIO_USER, 0}, refused},
		{"priority of init", unix.SYS_SETPRIORITY, []uint64{unix.PRIO_PROCESS, 1}, refused},
		{"own priority", unix.SYS_SETPRIORITY, []uint64{unix.PRIO_PROCESS, 0}, allowed},
		{"priority of a group", unix.SYS_SETPRIORITY, []uint64{unix.PRIO_PGRP, 0}, allowed},
		{"scheduler of init", unix.SYS_SCHED_SETSCHEDULER, []uint64{1}, refused},
	} {
		if got := decide(t, auditArch, c.number, c.args...); got != c.want {
			t.Errorf("%s: %#x, want %#x", c.name, got, c.want)
		}
	}
	if got := decide(t, unix.AUDIT_ARCH_I386, unix.SYS_READ); got != killed {
		t.Errorf("a call of another architecture: %#x", got)
	}
	const x32 = 1 << 30 // __X32_SYSCALL_BIT
	if got := decide(t, auditArch, x32|unix.SYS_READ); got != missing {
		t.Errorf("a call of another ABI: %#x", got)
	}
}

func TestEveryCallHasARule(t *testing.T) {
	t.Parallel()
	n := 0
	for call := uint32(0); call <= newest; call++ {
		switch got := decide(t, auditArch, call); got {
		case allowed:
			n++
		case refused, missing:
		default:
			t.Errorf("call %d: %#x", call, got)
		}
	}
	// A change of this number is a change of what the sandbox allows.
	if n < 200 || n > 300 {
		t.Errorf("%d calls are allowed without arguments", n)
	}
}

// TestSearchFindsEveryRule: for every number, the whole program says what the rule of
// that number says, whatever the arguments.
func TestSearchFindsEveryRule(t *testing.T) {
	t.Parallel()
	all, program := rules(own), Filter(own)
	for n := range uint32(newest + 100) {
		for _, v := range []uint64{0, 1, 2, 15, 16, own, own + 1, unix.TIOCSTI, unix.S_IFCHR, unix.CLONE_NEWUSER, 1 << 33} {
			args := []uint64{v, v, v, v}
			want := refused
			if n > newest {
				want = missing
			} else if code, ok := all[n]; ok {
				want = run(t, code, auditArch, n, args...)
			}
			if got := run(t, program, auditArch, n, args...); got != want {
				t.Errorf("call %d with %#x: %#x, want %#x", n, v, got, want)
			}
		}
	}
}

func TestLandlockLeavesOutWhatIsNotThere(t *testing.T) {
	t.Parallel()
	fd, err := Landlock(LandlockVersion(), []string{t.TempDir(), "/no/such/directory"}, []string{"/dev/null"})
	if err != nil {
		t.Fatal(err)
	}
	if LandlockVersion() >= MinLandlock && fd < 0 {
		t.Error("no rule set was made")
	}
	if fd >= 0 {
		_ = unix.Close(fd)
	}
	if fd, err := Landlock(1, nil, nil); fd != -1 || err != nil {
		t.Errorf("the first version: %d, %v", fd, err)
	}
}

func TestStartRefusesLowDescriptors(t *testing.T) {
	t.Parallel()
	if _, err := (&Jail{Landlock: -1}).Start(Command{Path: "/bin/true", Args: []string{"true"}, Stdio: [3]int{0, 1, 2}}); err == nil {
		t.Error("descriptors that would be overwritten were taken")
	}
	if _, err := (&Jail{Landlock: -1}).Start(Command{Path: "/bin/tr\x00ue", Args: []string{"true"}, Stdio: [3]int{10, 10, 10}}); err == nil {
		t.Error("a NUL in a path was taken")
	}
}
