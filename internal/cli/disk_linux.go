package cli

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// fileSystems names the magic numbers of statfs(2) (linux/magic.h).
var fileSystems = map[uint32]struct {
	name    string
	network bool
}{
	0xef53:     {"ext4", false},
	0x58465342: {"xfs", false},
	0x9123683e: {"btrfs", false},
	0x2fc12fc1: {"zfs", false},
	0xf2f52010: {"f2fs", false},
	0x794c7630: {"overlayfs", false},
	0x01021994: {"tmpfs", false},
	0x6969:     {"NFS", true},
	0x517b:     {"SMB", true},
	0xff534d42: {"CIFS", true},
	0xfe534d42: {"SMB2", true},
	0x01021997: {"9P", true},
	0x00c36400: {"Ceph", true},
	0x5346414f: {"AFS", true},
	0x0bd00bd0: {"Lustre", true},
	0x65735546: {"FUSE", false},
}

// fileSystem names the file system of a directory and says whether it is reached
// over a network.
func fileSystem(dir string) (name string, network bool, err error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return "", false, err
	}
	magic := uint32(s.Type)
	if fs, ok := fileSystems[magic]; ok {
		return fs.name, fs.network, nil
	}
	return fmt.Sprintf("type %#x", magic), false, nil
}
