package sandboxtest

import "golang.org/x/sys/unix"

// x32 marks a call of the x32 interface (x86/entry, __X32_SYSCALL_BIT).
const x32 = 0x40000000

// archProbes are calls that only this architecture has.
func archProbes() []probe {
	return []probe{
		sys("iopl", "root", unix.SYS_IOPL, "3"),
		sys("ioperm", "root", unix.SYS_IOPERM, "0x80", "1", "1"),
		{
			name: "modify_ldt", args: []string{"syscall", n(unix.SYS_MODIFY_LDT), "0", "p:64", "16"}, want: refused, outside: "any",
			allowed: "old programs use it; it has been a way into the kernel, so a driver had better refuse it",
		},
		sys("x32: getpid", "", x32|unix.SYS_GETPID),
		sys("x32: mount", "", x32|unix.SYS_MOUNT, "s:none", "s:/tmp", "s:tmpfs", "0", "0"),
		sys("x32: ptrace", "", x32|521, "0"),
		{name: "int 0x80", args: []string{"int80"}, want: refused, outside: "any"},
	}
}
