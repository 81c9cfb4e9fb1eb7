package sandboxtest

import "golang.org/x/sys/unix"

// processProbes are attacks on other processes and on what a process is.
func processProbes() []probe {
	tty := func(name, outside, ioctl string) probe {
		return probe{name: name, args: []string{"tty", ioctl}, want: append([]string{"ENOENT", "EIO"}, refused...), outside: outside}
	}
	return []probe{
		{name: "ptrace: sibling", args: []string{"ptrace-victim", "{victim}"}, want: refused, outside: "any"},
		{name: "ptrace: detached", args: []string{"ptrace-victim", "{detached}"}, want: append([]string{"ESRCH"}, refused...), outside: "any"},
		{name: "ptrace: init", args: []string{"ptrace-victim", "{init}"}, want: refused, outside: "any"},
		{name: "process_vm_readv: sibling", args: []string{"vm-read", "{victim}"}, want: refused, outside: "any"},
		{name: "process_vm_readv: init", args: []string{"vm-read", "{init}"}, want: refused, outside: "any"},
		{name: "process_vm_writev: sibling", args: []string{"vm-write", "{victim}"}, want: refused, outside: "any"},
		{name: "pidfd_getfd: sibling", args: []string{"pidfd-getfd", "{victim}"}, want: refused, outside: "any"},
		{name: "pidfd_getfd: init", args: []string{"pidfd-getfd", "{init}"}, want: refused, outside: "any"},
		sys("kcmp", "any", unix.SYS_KCMP, "{victim}", "{victim}", "0", "0", "0"),
		{name: "signals to init", args: []string{"signal-init"}, allowed: "the kernel drops signals to a namespace's first process that it does not handle; that init lives is checked", alone: true},
		{name: "SIGSTOP to init", args: []string{"signal", "1", n(int64(unix.SIGSTOP))}, allowed: "as above", alone: true},
		{name: "SIGKILL to init", args: []string{"signal", "1", n(int64(unix.SIGKILL))}, allowed: "as above", alone: true},
		{name: "signal to a sibling", args: []string{"signal", "{victim}", "0"}, allowed: "commands of one sandbox are one user's: that one may stop another is a comfort"},
		{name: "signal to a detached command", args: []string{"signal", "{detached}", "0"}, allowed: "as above: an agent expects to kill what it left running"},
		{name: "host processes", args: []string{"pids", "{binary}", "{temp}"}, outside: "any"},
		{name: "descriptors", args: []string{"fds"}, outside: "any"},
		{name: "environment", args: []string{"environ", "PATH", "HOME", "LANG", "TERM", "PWD", "TMPDIR", "USER", "LOGNAME", "SHELL"}},
		{name: "no_new_privs", args: []string{"status", "NoNewPrivs", "1"}, outside: "any"},
		{name: "seccomp is on", args: []string{"status", "Seccomp", "2"}, outside: "any"},
		{name: "no effective capability", args: []string{"status", "CapEff", "0000000000000000"}, outside: "root"},
		{name: "no permitted capability", args: []string{"status", "CapPrm", "0000000000000000"}, outside: "root"},
		{name: "no bounding capability", args: []string{"status", "CapBnd", "0000000000000000"}, outside: "root"},
		{name: "no ambient capability", args: []string{"status", "CapAmb", "0000000000000000"}},
		{name: "no inheritable capability", args: []string{"status", "CapInh", "0000000000000000"}},
		{name: "no tracer", args: []string{"status", "TracerPid", "0"}},
		{name: "no groups", args: []string{"status", "Groups", ""}, allowed: "rootless, the groups of the user who runs Cairn cannot be dropped; they are shown as 65534 and open what is open to all"},
		{name: "hostname", args: []string{"names", "{hostname}"}, outside: "any"},
		{name: "setuid binaries", args: []string{"setuid-binary"}, outside: "root"},
		{name: "core files", args: []string{"core-limit"}},
		{name: "controlling terminal", args: []string{"controlling-tty"}, want: []string{"ENXIO", "ENOENT", "EACCES", "EPERM"}},
		tty("tty: TIOCSTI", "root", n(unix.TIOCSTI)),
		tty("tty: TIOCSTI with high bits set", "root", n(1<<32|unix.TIOCSTI)),
		tty("tty: TIOCLINUX", "any", n(0x541C)),
		tty("tty: TIOCCONS", "", n(unix.TIOCCONS)),
		eitherEINVAL(sys("setuid 0", "root", unix.SYS_SETUID, "0")),
		eitherEINVAL(sys("setgid 0", "root", unix.SYS_SETGID, "0")),
		eitherEINVAL(sys("setresuid 0", "root", unix.SYS_SETRESUID, "0", "0", "0")),
		eitherEINVAL(sys("setuid of another", "root", unix.SYS_SETUID, "65534")),
		eitherEINVAL(sys("setgroups", "root", unix.SYS_SETGROUPS, "1", "h:00000000")),
		eitherEINVAL(sys("setresgid 0", "", unix.SYS_SETRESGID, "0", "0", "0")),
		sys("capset", "", unix.SYS_CAPSET, "h:2205082000000000", "h:ffffffffffffffff00000000ffffffffffffffff00000000"),
		sys("rlimit: more files", "", unix.SYS_PRLIMIT64, "0", n(unix.RLIMIT_NOFILE), "h:00000010000000000000001000000000", "0"),
		sys("rlimit: more processes", "", unix.SYS_PRLIMIT64, "0", n(unix.RLIMIT_NPROC), "h:ffffffffffffffffffffffffffffffff", "0"),
		sys("rlimit: core files", "", unix.SYS_PRLIMIT64, "0", n(unix.RLIMIT_CORE), "h:ffffffffffffffffffffffffffffffff", "0"),
		onInit(sys("init: open files to none", "", unix.SYS_PRLIMIT64, "1", n(unix.RLIMIT_NOFILE), "h:00000000000000000000000000000000", "0")),
		onInit(sys("init: memory to none", "", unix.SYS_PRLIMIT64, "1", n(unix.RLIMIT_AS), "h:00000000000000000000000000000000", "0")),
		onInit(sys("init: processor time to none", "", unix.SYS_PRLIMIT64, "1", n(unix.RLIMIT_CPU), "h:00000000000000000000000000000000", "0")),
		onInit(sys("init: processes to none", "", unix.SYS_PRLIMIT64, "1", n(unix.RLIMIT_NPROC), "h:00000000000000000000000000000000", "0")),
		slower(sys("init: nice", "", unix.SYS_SETPRIORITY, "0", "1", "19")),
		slower(sys("init: idle scheduling", "", unix.SYS_SCHED_SETSCHEDULER, "1", "5", "p:8")),
		slower(sys("init: one processor", "", unix.SYS_SCHED_SETAFFINITY, "1", "8", "h:0100000000000000")),
		slower(sys("init: idle input and output", "", unix.SYS_IOPRIO_SET, "1", "1", n(3<<13))),
		sys("nice", "root", unix.SYS_SETPRIORITY, "0", "0", "-20"),
		sys("realtime scheduling", "root", unix.SYS_SCHED_SETSCHEDULER, "0", "1", "h:32000000"),
		sys("realtime input and output", "root", unix.SYS_IOPRIO_SET, "1", "0", n(1<<13)),
		{name: "oom score", args: []string{"write", "/proc/self/oom_score_adj", "-1000"}, want: append([]string{"EROFS", "ENOENT"}, refused...)},
		{name: "oom score: back to normal", args: []string{"write", "/proc/self/oom_score_adj", "999"}, want: append([]string{"EROFS", "ENOENT"}, refused...), allowed: "the kernel lets a process go back down to what it was before it was raised"},
		{name: "uid map", args: []string{"write", "/proc/self/uid_map", "0 0 1"}, want: append([]string{"EROFS", "ENOENT"}, refused...)},
		{name: "gid map", args: []string{"write", "/proc/self/gid_map", "0 0 1"}, want: append([]string{"EROFS", "ENOENT"}, refused...)},
		{name: "setgroups file", args: []string{"write", "/proc/self/setgroups", "allow"}, want: append([]string{"EROFS", "ENOENT", "EINVAL"}, refused...)},
		eitherEINVAL(sys("prctl: set_ptracer", "", unix.SYS_PRCTL, n(unix.PR_SET_PTRACER), "-1", "0", "0", "0")),
		sys("prctl: set_mm", "", unix.SYS_PRCTL, n(unix.PR_SET_MM), "0", "0", "0", "0"),
		sys("prctl: securebits", "root", unix.SYS_PRCTL, n(unix.PR_SET_SECUREBITS), "0", "0", "0", "0"),
	}
}

// eitherEINVAL adds the errno of an id that the user namespace does not map.
func eitherEINVAL(p probe) probe {
	p.want = append([]string{"EINVAL"}, p.want...)
	return p
}

// onInit is an attack on the first process of the sandbox, which has the same
// user: what the kernel asks for is only that.
func onInit(p probe) probe {
	p.alone = true
	return p
}

// slower is one by which a command hurts its own sandbox only.
func slower(p probe) probe {
	p.alone, p.allowed = true, "it makes its own sandbox slower, and nothing else"
	return p
}
