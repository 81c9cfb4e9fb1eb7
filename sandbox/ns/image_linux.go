//go:build linux && (amd64 || arm64)

package ns

import (
	"os"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/cairn-run/cairn/sandbox"
	"github.com/cairn-run/cairn/sandbox/ns/wire"
)

// hostTrees are shown of the host as they are; what is a symbolic link there
// is one in the instance.
var hostTrees = []string{"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"}

// hostFiles are shown of /etc: what programs need to start and to trust, and
// nothing that names users, hosts or keys.
var hostFiles = []string{
	"/etc/alternatives", "/etc/ca-certificates", "/etc/ca-certificates.conf", "/etc/crypto-policies",
	"/etc/debian_version", "/etc/fonts", "/etc/java-11-openjdk", "/etc/java-17-openjdk", "/etc/java-21-openjdk",
	"/etc/java-25-openjdk", "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/localtime",
	"/etc/lsb-release", "/etc/magic", "/etc/magic.mime", "/etc/mime.types", "/etc/os-release", "/etc/perl",
	"/etc/pki/ca-trust", "/etc/pki/tls/certs", "/etc/protocols", "/etc/python3", "/etc/redhat-release", "/etc/services",
	"/etc/ssl/certs", "/etc/ssl/openssl.cnf", "/etc/terminfo", "/etc/timezone",
}

// etc is what is written anew: the one user there is, and that there is no
// network.
var etc = []wire.Item{
	{Path: "/etc/passwd", Text: "root:x:0:0:root:/root:/usr/sbin/nologin\nagent:x:1000:1000:agent:" + sandbox.Home + ":/bin/bash\nnobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n"},
	{Path: "/etc/group", Text: "root:x:0:\nagent:x:1000:\nnogroup:x:65534:\n"},
	{Path: "/etc/hosts", Text: "127.0.0.1 localhost " + hostname + "\n::1 localhost ip6-localhost\n"},
	{Path: "/etc/hostname", Text: hostname + "\n"},
	{Path: "/etc/resolv.conf", Text: "# There is no network.\n"},
	{Path: "/etc/nsswitch.conf", Text: "passwd: files\ngroup: files\nhosts: files\nservices: files\nprotocols: files\n"},
}

const hostname = "sandbox"

// skeleton collects what is below all layers. A path is entered once.
type skeleton struct {
	items []wire.Item
	there map[string]bool
}

func newSkeleton() *skeleton { return &skeleton{there: map[string]bool{"/": true}} }

// add adds an item, and the directories above it.
func (s *skeleton) add(i wire.Item) {
	if s.there[i.Path] {
		return
	}
	if up := path.Dir(i.Path); !s.there[up] {
		s.add(wire.Item{Path: up, Mode: 0o755})
	}
	s.there[i.Path] = true
	s.items = append(s.items, i)
}

func (s *skeleton) dir(p string, mode uint32) { s.add(wire.Item{Path: p, Mode: mode}) }

// point adds what is mounted over: a file over a file, a directory over all else.
func (s *skeleton) point(p string, dir bool) {
	if dir {
		s.dir(p, 0o755)
	} else {
		s.add(wire.Item{Path: p, File: true, Mode: 0o644})
	}
}

// basic adds what every instance has.
func (s *skeleton) basic() {
	for _, d := range []string{"/dev", "/proc", "/etc", "/usr", "/var", "/run/cairn", sandbox.SkillsDir} {
		s.dir(d, 0o755)
	}
	s.dir("/tmp", 0o1777)
	s.dir("/var/tmp", 0o1777)
	s.dir(sandbox.Dir, 0o755)
	s.dir(path.Dir(sandbox.Home), 0o755)
	s.dir(sandbox.Home, 0o755)
	s.point(sandbox.HandPath, false)
}

// hostImage is what is shown of the host, as it was when it was first asked for:
// what goes away later is left out by init, what comes later is in one of the trees.
var hostImage = sync.OnceValues(func() ([]wire.Item, []wire.Bind) {
	var items []wire.Item
	for _, i := range etc {
		i.File, i.Mode = true, 0o644
		items = append(items, i)
	}
	var binds []wire.Bind
	for _, p := range slices.Concat(hostTrees, hostFiles) {
		info, err := os.Lstat(p)
		switch {
		case err != nil: // this system does not have it
		case info.Mode()&os.ModeSymlink != 0:
			if to, err := os.Readlink(p); err == nil && (strings.HasPrefix(to, "/usr/") || !strings.HasPrefix(to, "/")) {
				items = append(items, wire.Item{Path: p, Link: to})
			}
		case info.IsDir() || info.Mode().IsRegular():
			items = append(items, wire.Item{Path: p, File: !info.IsDir(), Mode: 0o755})
			binds = append(binds, wire.Bind{Host: []byte(p), Path: p, Tree: -1})
		}
	}
	return items, binds
})

// host adds the image of the host and returns what is bound.
func (s *skeleton) host() []wire.Bind {
	items, binds := hostImage()
	for _, i := range items {
		s.add(i)
	}
	return slices.Clone(binds)
}
