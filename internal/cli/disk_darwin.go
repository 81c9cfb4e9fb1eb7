package cli

import "golang.org/x/sys/unix"

// fileSystem names the file system of a directory and says whether it is reached
// over a network.
func fileSystem(dir string) (name string, network bool, err error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return "", false, err
	}
	return unix.ByteSliceToString(s.Fstypename[:]), s.Flags&unix.MNT_LOCAL == 0, nil
}
