package sqlite

import "golang.org/x/sys/unix"

// networkFS is the name of the network file system a directory is on; empty: none.
func networkFS(dir string) string {
	var s unix.Statfs_t
	if unix.Statfs(dir, &s) != nil || s.Flags&unix.MNT_LOCAL != 0 {
		return ""
	}
	return unix.ByteSliceToString(s.Fstypename[:])
}
