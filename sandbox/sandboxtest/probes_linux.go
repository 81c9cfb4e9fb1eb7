package sandboxtest

import (
	"strconv"

	"golang.org/x/sys/unix"
)

// n writes a number for the attacker.
func n(i int64) string { return strconv.FormatInt(i, 10) }

// atCWD is AT_FDCWD: relative to the working directory.
const atCWD = "-100"

// sys is a probe of one system call.
func sys(name, outside string, nr int64, args ...string) probe {
	return probe{name: name, outside: outside, want: refused, args: append([]string{"syscall", n(nr)}, args...)}
}

// kernelProbes are calls that a command has no use for. Where it can be, the
// arguments are such that a call which is let in fails harmlessly after the
// permission was checked: by ENOENT, EINVAL or EBADF.
func kernelProbes() []probe {
	all := []probe{
		sys("mount", "", unix.SYS_MOUNT, "s:none", "s:/tmp", "s:tmpfs", "0", "0"),
		sys("mount: bind", "", unix.SYS_MOUNT, "s:/usr", "s:/tmp", "0", n(unix.MS_BIND), "0"),
		sys("mount: remount writable", "", unix.SYS_MOUNT, "0", "s:/usr", "0", n(unix.MS_REMOUNT|unix.MS_BIND), "0"),
		sys("mount: proc", "", unix.SYS_MOUNT, "s:proc", "s:/tmp", "s:proc", "0", "0"),
		sys("mount: cgroup", "", unix.SYS_MOUNT, "s:cgroup", "s:/tmp", "s:cgroup2", "0", "0"),
		sys("mount: of nothing", "root", unix.SYS_MOUNT, "s:none", "s:/nonexistent/cairn", "s:tmpfs", "0", "0"),
		sys("umount", "", unix.SYS_UMOUNT2, "s:/proc", n(unix.MNT_DETACH)),
		sys("fsopen", "root", unix.SYS_FSOPEN, "s:tmpfs", "0"),
		sys("fspick", "root", unix.SYS_FSPICK, atCWD, "s:/proc", "0"),
		sys("fsmount", "root", unix.SYS_FSMOUNT, "-1", "0", "0"),
		sys("open_tree", "root", unix.SYS_OPEN_TREE, atCWD, "s:/", n(unix.OPEN_TREE_CLONE|0x8000)),
		sys("move_mount", "root", unix.SYS_MOVE_MOUNT, "-1", "s:x", "-1", "s:y", "0"),
		sys("mount_setattr", "root", unix.SYS_MOUNT_SETATTR, atCWD, "s:/nonexistent/cairn", "0", "p:32", "32"),
		sys("pivot_root", "root", unix.SYS_PIVOT_ROOT, "s:/nonexistent/cairn", "s:/nonexistent/cairn"),
		sys("chroot", "root", unix.SYS_CHROOT, "s:."),
		sys("ptrace: traceme", "any", unix.SYS_PTRACE, "0"),
		sys("bpf: map", "root", unix.SYS_BPF, "0", "h:01000000040000000400000001000000", "64"),
		sys("bpf: program", "root", unix.SYS_BPF, "5", "p:128", "128"),
		sys("perf_event_open", "root", unix.SYS_PERF_EVENT_OPEN, "h:0100000070000000", "0", "-1", "-1", "0"),
		sys("userfaultfd", "root", unix.SYS_USERFAULTFD, "0"),
		sys("userfaultfd: user mode only", "any", unix.SYS_USERFAULTFD, "1"),
		sys("io_uring_setup", "any", unix.SYS_IO_URING_SETUP, "4", "p:256"),
		sys("io_uring_enter", "any", unix.SYS_IO_URING_ENTER, "-1", "0", "0", "0", "0"),
		sys("io_uring_register", "any", unix.SYS_IO_URING_REGISTER, "-1", "0", "0", "0"),
		sys("add_key", "any", unix.SYS_ADD_KEY, "s:user", "s:cairn", "s:x", "1", n(unix.KEY_SPEC_PROCESS_KEYRING)),
		sys("request_key", "any", unix.SYS_REQUEST_KEY, "s:user", "s:cairn-no-such-key", "0", "0"),
		sys("keyctl", "any", unix.SYS_KEYCTL, "0", n(unix.KEY_SPEC_PROCESS_KEYRING), "1"),
		{name: "keyctl: session keyring", args: []string{"session-keyring"}, want: append([]string{"ENOKEY"}, refused...)},
		sys("kexec_load", "", unix.SYS_KEXEC_LOAD, "0", "0", "0", "0"),
		sys("init_module", "", unix.SYS_INIT_MODULE, "p:8", "8", "s:"),
		sys("finit_module", "", unix.SYS_FINIT_MODULE, "-1", "s:", "0"),
		sys("delete_module", "", unix.SYS_DELETE_MODULE, "s:cairn_no_such_module", n(unix.O_NONBLOCK)),
		sys("syslog", "root", unix.SYS_SYSLOG, "10", "0", "0"),
		sys("swapon", "root", unix.SYS_SWAPON, "s:/nonexistent/cairn", "0"),
		sys("swapoff", "", unix.SYS_SWAPOFF, "s:/nonexistent/cairn"),
		sys("quotactl", "root", unix.SYS_QUOTACTL, "0x80000200", "s:/nonexistent/cairn", "0", "p:128"),
		sys("quotactl_fd", "", unix.SYS_QUOTACTL_FD, "-1", "0x80000200", "0", "p:128"),
		sys("acct", "", unix.SYS_ACCT, "s:/nonexistent/cairn"),
		sys("reboot", "", unix.SYS_REBOOT, "0", "0", "0", "0"), // without the magic number: EINVAL for who may
		sys("personality: no randomisation", "any", unix.SYS_PERSONALITY, n(0x0040000)),
		sys("personality: read implies exec", "any", unix.SYS_PERSONALITY, n(0x0400000)),
		sys("personality: 32 bits", "any", unix.SYS_PERSONALITY, n(8)),
		sys("personality: high bits set", "any", unix.SYS_PERSONALITY, "0x100040000"),
		sys("name_to_handle_at", "any", unix.SYS_NAME_TO_HANDLE_AT, atCWD, "s:/", "h:80000000", "p:8", "0"),
		{name: "open_by_handle_at", args: []string{"shocker", "."}, want: refused, outside: "root"},
		sys("fanotify_init", "root", unix.SYS_FANOTIFY_INIT, "0", "0"),
		sys("adjtimex", "", unix.SYS_ADJTIMEX, "h:00400000"), // ADJ_TICK of 0: EINVAL for who may
		sys("clock_settime", "", unix.SYS_CLOCK_SETTIME, n(unix.CLOCK_MONOTONIC), "p:16"),
		sys("sethostname", "", unix.SYS_SETHOSTNAME, "s:x", "1"),
		sys("setdomainname", "", unix.SYS_SETDOMAINNAME, "s:x", "1"),
		sys("vhangup", "", unix.SYS_VHANGUP),
		sys("vmsplice", "any", unix.SYS_VMSPLICE, "-1", "0", "0", "0"),
		sys("memfd_secret", "", unix.SYS_MEMFD_SECRET, "0"),
		sys("move_pages", "any", unix.SYS_MOVE_PAGES, "0", "0", "0", "0", "0", "0"),
		sys("migrate_pages", "any", unix.SYS_MIGRATE_PAGES, "{victim}", "0", "0", "0"),
		sys("a call that does not exist", "", 1000),
		sys("a number that is negative", "", -1),
		{name: "seccomp: user notification", args: []string{"seccomp-notify"}, want: append([]string{"EINVAL", "EBUSY"}, refused...), outside: "any"},
		{name: "memfd: exec", args: []string{"memfd-exec"}, allowed: "a program may write and run programs: from memory it gains nothing"},
		{name: "unshare: the rest", args: []string{"forbidden", n(unix.SYS_SETNS), n(unix.SYS_MOUNT), n(unix.SYS_UMOUNT2), n(unix.SYS_PROCESS_MADVISE), n(unix.SYS_PROCESS_MRELEASE), n(unix.SYS_LOOKUP_DCOOKIE), n(unix.SYS_KEXEC_FILE_LOAD), n(unix.SYS_OPEN_BY_HANDLE_AT), n(unix.SYS_FSCONFIG), n(unix.SYS_PIDFD_GETFD), n(unix.SYS_CLOCK_ADJTIME), n(unix.SYS_SETTIMEOFDAY)}},
	}
	for _, ns := range []struct {
		name string
		flag int64
	}{
		{"mount", unix.CLONE_NEWNS},
		{"user", unix.CLONE_NEWUSER},
		{"pid", unix.CLONE_NEWPID},
		{"net", unix.CLONE_NEWNET},
		{"ipc", unix.CLONE_NEWIPC},
		{"uts", unix.CLONE_NEWUTS},
		{"cgroup", unix.CLONE_NEWCGROUP},
		{"time", unix.CLONE_NEWTIME},
	} {
		all = append(all, sys("unshare: "+ns.name, "root", unix.SYS_UNSHARE, n(ns.flag)))
		if ns.name != "time" { // in clone that bit is part of the signal
			all = append(all, probe{name: "clone: " + ns.name, args: []string{"clone", n(ns.flag)}, want: refused, outside: "root"})
		}
		all = append(all, probe{name: "clone3: " + ns.name, args: []string{"clone3", n(ns.flag)}, want: refused, outside: "root"})
	}
	all = append(all,
		probe{name: "clone: nested user and mount", args: []string{"clone", n(unix.CLONE_NEWUSER | unix.CLONE_NEWNS)}, want: refused, outside: "any"},
		probe{name: "clone3: without flags", args: []string{"clone3", "0"}, want: refused, outside: "any", allowed: "only flags would matter; ENOSYS makes the C library use clone, which the filter can look into"},
		sys("unshare: high bits set", "root", unix.SYS_UNSHARE, n(1<<32|unix.CLONE_NEWNS)),
		sys("setns: of init", "", unix.SYS_SETNS, "0", "0"),
	)
	return append(all, archProbes()...)
}

// socketProbes are the network, from the inside.
func socketProbes() []probe {
	socket := func(name, outside string, family, kind, protocol int64) probe {
		p := sys(name, outside, unix.SYS_SOCKET, n(family), n(kind), n(protocol))
		p.want = append([]string{"EAFNOSUPPORT", "EPROTONOSUPPORT", "ESOCKTNOSUPPORT"}, refused...)
		return p
	}
	dial := func(name, network, address string) probe {
		return probe{name: name, args: []string{"connect", network, address}, want: unreachable}
	}
	here := func(p probe) probe { p.outside = "any"; return p }
	return []probe{
		socket("socket: vsock", "any", unix.AF_VSOCK, unix.SOCK_STREAM, 0),
		socket("socket: vsock with high bits set", "any", 1<<32|unix.AF_VSOCK, unix.SOCK_STREAM, 0),
		socket("socket: packet", "root", unix.AF_PACKET, unix.SOCK_RAW, 0),
		socket("socket: alg", "", unix.AF_ALG, unix.SOCK_SEQPACKET, 0),
		socket("socket: xdp", "root", unix.AF_XDP, unix.SOCK_RAW, 0),
		socket("socket: raw", "root", unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP),
		socket("socket: raw 6", "root", unix.AF_INET6, unix.SOCK_RAW, unix.IPPROTO_ICMPV6),
		socket("socket: raw with flags", "root", unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_RAW),
		socket("socket: netlink audit", "any", unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_AUDIT),
		socket("socket: netlink uevent", "any", unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_KOBJECT_UEVENT),
		socket("socket: netlink netfilter", "any", unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_NETFILTER),
		socket("socket: netlink xfrm", "", unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_XFRM),
		{name: "socket: every other family", args: []string{"families", n(unix.AF_UNIX), n(unix.AF_INET), n(unix.AF_INET6), n(unix.AF_NETLINK)}, outside: "root"},
		{name: "interfaces", args: []string{"interfaces"}, want: []string{"EPERM", "EACCES", ""}, outside: "any"},
		here(dial("connect: host loopback", "tcp", "{tcp}")),
		here(dial("connect: host loopback 6", "tcp", "{tcp6}")),
		{name: "send: host loopback", args: []string{"send", "udp", "{udp}"}, want: unreachable, outside: "any"},
		here(dial("connect: host abstract socket", "unix", "{abstract}")),
		here(dial("connect: host unix socket", "unix", "{unix}")),
		dial("connect: docker socket", "unix", "/var/run/docker.sock"),
		dial("connect: system bus", "unix", "/run/dbus/system_bus_socket"),
		dial("connect: metadata", "tcp", "169.254.169.254:80"),
		dial("connect: metadata 6", "tcp", "[fd00:ec2::254]:80"),
		dial("connect: other metadata", "tcp", "100.100.100.200:80"),
		dial("connect: private network", "tcp", "10.0.0.1:80"),
		dial("connect: private network 6", "tcp", "[fd00::1]:80"),
		dial("connect: internet", "tcp", "1.1.1.1:443"),
		{name: "connect: by name", args: []string{"connect", "tcp", "metadata.google.internal:80"}},
		{name: "send: dns", args: []string{"send", "udp", "8.8.8.8:53"}, want: unreachable},
		{name: "send: quic", args: []string{"send", "udp", "1.1.1.1:443"}, want: unreachable},
		{name: "send: multicast", args: []string{"send", "udp", "224.0.0.251:5353"}, want: unreachable},
	}
}
