//go:build linux && (amd64 || arm64)

package ns

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/sandbox"
	"github.com/cairn-run/cairn/sandbox/ns/wire"
)

// MaxLayers is the most lower directories of an instance: overlayfs takes 500
// (OVL_MAX_STACK), of which two are the skeleton's and one an image's.
const MaxLayers = 480

var idPattern = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,47}$`)

// plan turns a specification into what init builds.
func plan(s sandbox.Spec, exe string) (*wire.Build, error) {
	if err := validate(s); err != nil {
		return nil, err
	}
	sk := newSkeleton()
	sk.basic()
	l := s.Limits
	b := &wire.Build{
		Upper: -1, Hostname: hostname, Tmp: l.Tmp, Processes: l.Processes, Files: l.Files, FileSize: l.Disk,
	}
	tree := func(t wire.Tree) int {
		b.Trees = append(b.Trees, t)
		return len(b.Trees) - 1
	}
	for _, p := range s.Root.Lower {
		b.Lower = append(b.Lower, tree(wire.Tree{Path: []byte(p)}))
	}
	if s.Image == "" || s.Image == sandbox.ImageHost {
		b.Binds = sk.host()
	} else {
		b.Lower = append(b.Lower, tree(wire.Tree{Path: []byte(s.Image)}))
	}
	if s.Root.Upper != "" {
		b.Upper = tree(wire.Tree{
			Path: []byte(filepath.Dir(s.Root.Upper)),
			Subs: wire.NewList([]string{filepath.Base(s.Root.Upper), filepath.Base(s.Root.Work)}),
		})
	} else {
		b.TmpOnTop = true
	}
	for _, m := range s.Mounts {
		sk.point(m.Path, true)
		n := tree(wire.Tree{Path: []byte(m.Host), Submade: true})
		b.Binds = append(b.Binds, wire.Bind{Host: []byte(m.Host), Path: m.Path, Tree: n})
	}
	n := tree(wire.Tree{Path: []byte(exe)})
	b.Binds = append(b.Binds, wire.Bind{Host: []byte(exe), Path: sandbox.HandPath, Tree: n})
	b.Skeleton = sk.items
	return b, nil
}

func validate(s sandbox.Spec) error {
	if !idPattern.MatchString(s.ID) {
		return invalid("the name %q of a sandbox is not of a-z, 0-9 and -, at most 48 of them", s.ID)
	}
	if len(s.Root.Lower) > MaxLayers {
		return invalid("%d layers; at most %d: squash some of them", len(s.Root.Lower), MaxLayers)
	}
	paths := append([]string{}, s.Root.Lower...)
	if (s.Root.Upper == "") != (s.Root.Work == "") {
		return invalid("the upper and the work directory come together")
	}
	if s.Root.Upper != "" {
		paths = append(paths, s.Root.Upper, s.Root.Work)
		if filepath.Dir(s.Root.Upper) != filepath.Dir(s.Root.Work) || s.Root.Upper == s.Root.Work {
			return invalid("the upper directory %s and the work directory %s must be beside each other", s.Root.Upper, s.Root.Work)
		}
	}
	if s.Image != "" && s.Image != sandbox.ImageHost {
		paths = append(paths, s.Image)
	}
	for _, m := range s.Mounts {
		paths = append(paths, m.Host)
		if !path.IsAbs(m.Path) || path.Clean(m.Path) != m.Path || m.Path == "/" || reserved(m.Path) {
			return invalid("a mount cannot be at %q", m.Path)
		}
	}
	for _, p := range paths {
		if !filepath.IsAbs(p) || filepath.Clean(p) != p || strings.ContainsRune(p, 0) || p == "/" {
			return invalid("the path %q of a sandbox is not absolute and clean", p)
		}
	}
	for _, p := range paths {
		info, err := os.Stat(p)
		if errors.Is(err, fs.ErrNotExist) {
			return cairn.Errorf(cairn.CodeNotFound, "the directory %s of a sandbox is not there", p)
		}
		if err != nil {
			return invalid("the directory %s of a sandbox cannot be used: %w", p, err)
		}
		if !info.IsDir() {
			return invalid("%s of a sandbox is no directory", p)
		}
	}
	l := s.Limits
	if l.CPU < 0 || l.Memory < 0 || l.Processes < 0 || l.Files < 0 || l.Disk < 0 || l.Inodes < 0 || l.Tmp < 0 || l.Wall < 0 {
		return invalid("a limit of a sandbox is negative")
	}
	return nil
}

// reserved are the paths that are the driver's own.
func reserved(p string) bool {
	for _, own := range []string{"/proc", "/dev", "/etc", "/usr", "/run/cairn", sandbox.Dir, sandbox.Home, "/tmp"} {
		if p == own || strings.HasPrefix(own, p+"/") {
			return true
		}
	}
	for _, own := range []string{"/proc/", "/dev/", "/run/cairn/"} {
		if strings.HasPrefix(p, own) {
			return true
		}
	}
	return false
}

func invalid(format string, args ...any) error {
	return cairn.Errorf(cairn.CodeInvalid, format, args...)
}
