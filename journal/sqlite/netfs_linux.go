package sqlite

import "golang.org/x/sys/unix"

// networkFileSystems are the magic numbers of statfs(2) for which memory shared
// by mmap or locks cannot be trusted (linux/magic.h, statfs(2)).
var networkFileSystems = map[uint32]string{
	0x6969:     "NFS",
	0x517b:     "SMB",
	0xff534d42: "CIFS",
	0xfe534d42: "SMB2",
	0x01021997: "9P",
	0x00c36400: "Ceph",
	0x5346414f: "AFS",
	0x0bd00bd0: "Lustre",
}

// networkFS is the name of the network file system a directory is on; empty: none.
func networkFS(dir string) string {
	var s unix.Statfs_t
	if unix.Statfs(dir, &s) != nil {
		return ""
	}
	return networkFileSystems[uint32(s.Type)] // the number is of 32 bits on every architecture
}
