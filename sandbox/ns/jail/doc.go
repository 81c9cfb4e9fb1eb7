// Package jail confines a process and starts a command in it: no capabilities, no
// new privileges, Landlock, an allow-list of system calls, limits, and no
// descriptor but those of stdio.
package jail
