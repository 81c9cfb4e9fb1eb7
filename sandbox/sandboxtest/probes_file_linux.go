package sandboxtest

import (
	"golang.org/x/sys/unix"
)

// path is a probe that opens a file with flags and does nothing with it.
func path(name, p string, want []string, flags ...int64) probe {
	args := []string{"open", p}
	for _, f := range flags {
		args = append(args, n(f))
	}
	return probe{name: name, args: args, want: want}
}

// masked is a probe that reads: a masked file is there and empty.
func masked(p string) probe {
	return probe{name: "read " + p, args: []string{"read", p}, want: append([]string{"EMPTY"}, absent...)}
}

// procProbes are /proc, /sys and /dev.
func procProbes() []probe {
	var all []probe
	for _, f := range []string{"environ", "mem", "maps", "exe", "cwd", "root", "fd", "fdinfo", "ns/net", "ns/mnt", "ns/user", "auxv", "syscall", "stack", "io", "personality", "pagemap", "task/1/environ"} {
		p := probe{name: "init: " + f, args: []string{"read", "/proc/{init}/" + f}, want: append([]string{"EMPTY", "EIO"}, absent...)}
		switch f {
		case "environ", "maps", "exe", "auxv":
			p.outside = "any" // of a process of the test there
		}
		all = append(all, p)
	}
	all = append(
		all,
		path("init: mem for writing", "/proc/1/mem", absent, unix.O_WRONLY),
		path("init: exe for writing", "/proc/1/exe", append([]string{"EROFS", "ETXTBSY"}, absent...), unix.O_WRONLY),
		path("init: root as directory", "/proc/1/root/", absent, unix.O_PATH|unix.O_DIRECTORY),
		path("init: cwd as directory", "/proc/1/cwd/", absent, unix.O_PATH|unix.O_DIRECTORY),
		path("sibling: mem for writing", "/proc/{victim}/mem", append([]string{"EROFS"}, absent...), unix.O_WRONLY),
	)
	all[len(all)-1].allowed = "both are of one user and one tree; ptrace is refused"
	for _, f := range []string{"/proc/kcore", "/proc/keys", "/proc/key-users", "/proc/kallsyms", "/proc/kmsg", "/proc/timer_list", "/proc/sched_debug", "/proc/slabinfo", "/proc/vmallocinfo", "/proc/kpagecount", "/proc/kpageflags", "/proc/kpagecgroup", "/proc/iomem", "/proc/ioports", "/proc/config.gz", "/proc/acpi", "/proc/scsi", "/proc/latency_stats", "/proc/sys/kernel/random/../../../kmsg", "/sys/firmware", "/sys/kernel/debug", "/sys/kernel/tracing", "/sys/kernel/security", "/sys/fs/cgroup", "/sys/devices/virtual/powercap", "/dev/mem", "/dev/kmem", "/dev/port", "/dev/kmsg", "/dev/kvm", "/dev/fuse", "/dev/vsock", "/dev/vda", "/dev/sda", "/dev/nvme0n1", "/dev/loop-control", "/dev/net/tun", "/dev/userfaultfd", "/dev/console", "/dev/tty0", "/dev/tty1", "/dev/uinput", "/dev/snapshot", "/dev/mapper/control", "/dev/vhost-vsock", "/dev/vhost-net", "/dev/autofs", "/dev/btrfs-control", "/dev/cuse", "/dev/rtc0"} {
		all = append(all, masked(f))
	}
	for _, f := range []string{"/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe", "/proc/sys/kernel/hostname", "/proc/sys/vm/overcommit_memory", "/proc/sys/fs/binfmt_misc/register", "/proc/sys/net/ipv4/ip_forward", "/proc/sys/user/max_user_namespaces", "/proc/sysrq-trigger", "/proc/irq/default_smp_affinity", "/proc/bus/pci", "/proc/mtrr", "/proc/asound", "/proc/fs", "/proc/self/attr/current", "/sys/kernel/uevent_helper", "/sys/power/state", "/sys/module", "/sys/fs/cgroup/release_agent", "/sys/fs/cgroup/memory/release_agent", "/sys/fs/cgroup/cgroup.procs", "/sys/fs/cgroup/unified/cgroup.procs", "/sys/class/net/lo/mtu"} {
		p := path("write "+f, f, append([]string{"EISDIR"}, unwritable...), unix.O_WRONLY)
		if f == "/proc/self/attr/current" {
			p.allowed = "without a security module that names processes it does nothing"
		}
		if f == "/proc/sys/kernel/core_pattern" || f == "/proc/sys/kernel/hostname" {
			p.outside = "root"
		}
		all = append(all, p)
	}
	return append(
		all,
		probe{name: "mountinfo", args: []string{"mountinfo", "{base}", "{basename}", "{temp}", "{dir}"}},
		probe{name: "mountinfo: mounted directories", args: []string{"mountinfo", "{attackerdir}"}, allowed: "the kernel names the directory of the host that is mounted: choose neutral ones"},
		probe{name: "mount list through init", args: []string{"read", "/proc/1/mountinfo"}, allowed: "it is the list of the sandbox's own mounts"},
		probe{name: "find a file of the host", args: []string{"find", "{secretname}"}},
	)
}

// fileProbes are files of the host, and what a payload may leave in the layer.
func fileProbes() []probe {
	secret := func(p string) probe { return path("see "+p, p, absent, unix.O_RDONLY) }
	all := []probe{
		secret("/etc/shadow"), secret("/etc/gshadow"), secret("/etc/sudoers"), secret("/etc/ssh"), secret("/root/.ssh"), secret("/root/.bashrc"),
		secret("/home/user"), secret("/var/lib/docker"), secret("/var/lib/dpkg"), secret("/var/run/docker.sock"), secret("/run/systemd"), secret("/boot"), secret("/mnt"), secret("/srv"), secret("/work"), secret("/etc/machine-id"),
		{name: "see the secret file", args: []string{"open", "{secret}"}, want: absent, outside: "any"},
		{name: "see the data directory", args: []string{"open", "{base}"}, want: absent, outside: "any"},
		{name: "see the temporary directory", args: []string{"open", "{temp}"}, want: absent, outside: "any"},
		{name: "list /root", args: []string{"read", "/root"}, want: append([]string{"EMPTY"}, absent...)},
		path("write /etc/passwd", "/etc/passwd", unwritable, unix.O_WRONLY),
		path("write /etc/resolv.conf", "/etc/resolv.conf", unwritable, unix.O_WRONLY),
		path("write /etc/ld.so.cache", "/etc/ld.so.cache", unwritable, unix.O_WRONLY),
		path("write /bin/sh", "/bin/sh", unwritable, unix.O_WRONLY),
		path("write the C library", "/lib/x86_64-linux-gnu/libc.so.6", unwritable, unix.O_WRONLY),
		{name: "write the secret file", args: []string{"open", "{secret}", n(unix.O_WRONLY)}, want: unwritable, outside: "any"},
		{name: "write the attacker", args: []string{"own-exe"}, want: unwritable},
		{name: "write the hand", args: []string{"open", "{hand}", n(unix.O_WRONLY)}, want: unwritable},
		{name: "overwrite the runtime by exe", args: []string{"overwrite-exe", "{hand}"}, want: unwritable},
		{name: "overwrite the runtime by exe again", args: []string{"overwrite-exe", "{hand}", "-h"}, want: unwritable},
		{name: "create in /usr", args: []string{"create", "/usr/cairn-probe"}, want: unwritable},
		{name: "create in /bin", args: []string{"create", "/bin/cairn-probe"}, want: unwritable},
		{name: "create in /proc", args: []string{"create", "/proc/cairn-probe"}, want: unwritable},
		{name: "create in /sys", args: []string{"create", "/sys/cairn-probe"}, want: unwritable},
		{name: "create beside the hand", args: []string{"create", "/run/cairn/probe"}, want: unwritable},
		{name: "create in the mounted directory", args: []string{"create", attackerMount + "/probe"}, want: unwritable},
		{name: "create in /dev", args: []string{"create", "/dev/probe"}, want: unwritable, allowed: "a tmpfs of this sandbox; the limit of tmpfs must hold it"},
		{name: "create in /etc", args: []string{"create", "/etc/cairn-probe"}, want: unwritable, allowed: "in the session's own layer"},
		{name: "create in /", args: []string{"create", "/cairn-probe"}, want: unwritable, allowed: "in the session's own layer"},
		sys("mknod: null", "root", unix.SYS_MKNODAT, atCWD, "s:probe-null", n(unix.S_IFCHR|0o666), n(int64(unix.Mkdev(1, 3)))),
		sys("mknod: kmem", "", unix.SYS_MKNODAT, atCWD, "s:probe-mem", n(unix.S_IFCHR|0o666), n(int64(unix.Mkdev(1, 1)))),
		sys("mknod: block", "", unix.SYS_MKNODAT, atCWD, "s:probe-block", n(unix.S_IFBLK|0o666), n(int64(unix.Mkdev(8, 0)))),
		sys("mknod: whiteout", "any", unix.SYS_MKNODAT, atCWD, "s:probe-whiteout", n(unix.S_IFCHR|0o666), "0"),
		sys("mknod: null in /tmp", "", unix.SYS_MKNODAT, atCWD, "s:/tmp/probe-null-{init}", n(unix.S_IFCHR|0o666), n(int64(unix.Mkdev(1, 3)))),
		{name: "mknod: fifo", args: []string{"syscall", n(unix.SYS_MKNODAT), atCWD, "s:probe-fifo", n(unix.S_IFIFO | 0o666), "0"}, allowed: "pipes are common; who reads the layer must not block on one"},
		{name: "link of a system file", args: []string{"syscall", n(unix.SYS_LINKAT), atCWD, "s:/usr/bin/env", atCWD, "s:probe-link", "0"}, want: append([]string{"EXDEV", "EROFS"}, refused...)},
		{name: "link to outside", args: []string{"syscall", n(unix.SYS_SYMLINKAT), "s:{secret}", atCWD, "s:probe-symlink"}, allowed: "a link is text; who reads the layer must not follow it"},
		{name: "setuid file", args: []string{"setuid-file", "probe-setuid"}, allowed: "of the sandbox's own user; who keeps the layer must clear the bits"},
		sys("file capability", "", unix.SYS_SETXATTR, "s:.", "s:security.capability", "h:0100000200000000000000000000000000000000", "20", "0"),
		{name: "trusted attribute", args: []string{"setxattr", "probe-trusted", "trusted.overlay.opaque", "y"}, want: append([]string{"EOPNOTSUPP"}, refused...), outside: "root"},
		sys("chown to another", "root", unix.SYS_FCHOWNAT, atCWD, "s:.", "65534", "65534", "0"),
	}
	for i := range all {
		if all[i].name == "chown to another" {
			all[i].want = append([]string{"EINVAL"}, refused...)
		}
	}
	return all
}
