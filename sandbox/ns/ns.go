// Package ns is the sandbox driver for Linux: namespaces, an overlay root, no
// network, no capabilities, a list of allowed system calls and Landlock, with
// limits by cgroups where they can be had. It needs Linux 5.12, and no rights: root
// only makes it stronger.
//
// Three processes stand behind an instance. The helper ("forkd", one for a driver)
// makes the namespaces, because making them costs a large process much more than a
// small one; the first process of the instance ("init") builds its root, starts
// commands and kills them; and the commands themselves. Helper and init are this
// same program under other names, see package boot. When the daemon dies, so
// do they, and with init everything in the instance.
package ns

import (
	"log/slog"
)

// SandboxID is the user and group that an instance is for the host when the
// runtime runs as root: user 1000 of the last block of 65,536 in the range that systemd
// leaves to containers, 524,288 to 1,879,048,191
// (https://systemd.io/UIDS-GIDS/). No account has it, so that root and all other users of
// the host do not even have a number in an instance.
const SandboxID = 0x6FFF0000 + 1000

// Options are what a driver can be told. The zero value works.
type Options struct {
	// Dir is where Probe tries an overlay, best on the file system of the workspaces;
	// default that of temporary files. Nothing stays there: what a killed process left is
	// only in cgroups, whose names tell whose they are.
	Dir string
	// Spare is how many first processes are kept ready, 5 MB each, so that Create
	// need not wait for one to start; default none. They are made after the first Create.
	Spare int
	// Logger; nil: nothing is logged.
	Logger *slog.Logger
}
