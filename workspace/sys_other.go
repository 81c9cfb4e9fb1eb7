//go:build !linux

package workspace

import "os"

// Trees are kept on Linux only: layers are those of overlayfs. Elsewhere [Open] says
// so, and nothing of this is ever called.

const (
	cwd       = -1
	supported = false
)

// stat is what is looked at of an entry.
type stat struct {
	kind         kind
	mode         uint16
	size         int64
	blocks       int64
	ino          uint64
	mtime, ctime int64
}

func openDir(int, string) (int, error) { return -1, errUnsupported }

func openFile(int, string) (int, error) { return -1, errUnsupported }

func create(int, string) (int, error) { return -1, errUnsupported }

func openBeneath(int, string, bool) (int, error) { return -1, errUnsupported }

func closeFD(int) {}

func file(int, string) *os.File { return nil }

func lstat(int, string) (stat, error) { return stat{}, errUnsupported }

func fstat(int) (stat, error) { return stat{}, errUnsupported }

func read(int, []byte) (int, error) { return 0, errUnsupported }

func write(int, []byte) error { return errUnsupported }

func mkdir(int, string, uint16) error { return errUnsupported }

func unlink(int, string) error { return errUnsupported }

func rmdir(int, string) error { return errUnsupported }

func symlink(string, int, string) error { return errUnsupported }

func link(int, string, int, string) error { return errUnsupported }

func linkFD(int, int, string) error { return errUnsupported }

func renameNew(int, string, int, string) error { return errUnsupported }

func whiteout(int, string) error { return errUnsupported }

func readlink(int, string) (string, error) { return "", errUnsupported }

func fchmod(int, uint16) error { return errUnsupported }

func chmod(int, string, uint16) error { return errUnsupported }

func chown(int, string, int, int) error { return errUnsupported }

func setTime(int, int64) error { return errUnsupported }

func names(int, func(string) error) error { return errUnsupported }

func opaque(int) (bool, error) { return false, errUnsupported }

func setOpaque(int) error { return errUnsupported }

func strip(int, bool, uint16) error { return errUnsupported }

func startSync(int) {}

func cleanPages(int) error { return errUnsupported }

func fsync(int) error { return errUnsupported }

func syncFS(int) error { return errUnsupported }

func dirty() (int64, error) { return 0, errUnsupported }

func timesTell(int) (bool, error) { return false, errUnsupported }

func isFull(error) bool { return false }

func isLoop(error) bool { return false }

func isDenied(error) bool { return false }

func isCross(error) bool { return false }

func now() int64 { return 0 }

func privileged() bool { return false }

func notEmpty(error) bool { return false }
