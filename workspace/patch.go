package workspace

import (
	"bufio"
	"bytes"
	"compress/zlib"
	"context"
	"crypto/sha1" //nolint:gosec // git names content by SHA-1
	"encoding/hex"
	"fmt"
	"io"
	"strings"

	"github.com/cairn-run/cairn"
)

// maxText is the largest file that is compared by lines; larger ones are written as
// binary patches. maxPatchFile is the largest that a patch holds at all.
const (
	maxText      = 4 << 20
	maxPatchFile = 64 << 20
)

// Patch writes what differs between two recorded states below a path ("" is [Prefix])
// as a patch in git's format, with names relative to that path: `git apply` on the one
// state gives the other. Text is compared by lines; binary files, and text over 4
// MiB, are git binary patches. Left out is what git cannot hold: empty directories,
// permission bits but "executable", and everything in a directory .git. A file over 64
// MiB is CodeInvalid: fetch it instead.
func (t *Tree) Patch(ctx context.Context, from, to cairn.Snapshot, under string, w io.Writer) error {
	return wrap(t.patch(ctx, from, to, under, w), "writing a patch")
}

func (t *Tree) patch(ctx context.Context, from, to cairn.Snapshot, under string, w io.Writer) error {
	a, b, scope, err := t.pair(ctx, from, to, under)
	if err != nil {
		return err
	}
	// A change that only one file has, named itself, is shown by its last name.
	strip := scope + "/"
	if scope == "" || !isDir(a) && !isDir(b) {
		strip = scope[:strings.LastIndexByte(scope, '/')+1]
	}
	p := &patcher{w: bufio.NewWriter(w), c: t.contents()}
	defer p.c.close()
	var failed error
	eachChange(scope, a, b, func(path string, x, y *node) {
		if failed == nil {
			if failed = ctx.Err(); failed == nil {
				failed = p.change(path, strings.TrimPrefix(path, strip), x, y)
			}
		}
	})
	if failed != nil {
		return failed
	}
	return p.w.Flush()
}

func isDir(n *node) bool { return n != nil && n.kind == kindDir }

type patcher struct {
	w *bufio.Writer
	c *contents
	z *zlib.Writer // used again: a new one is a megabyte
}

// side is one version of a file in a patch.
type side struct {
	mode string // git's; empty: there is no file
	data []byte
}

func (p *patcher) side(path string, n *node) (side, error) {
	switch {
	case n == nil || n.kind == kindDir:
		return side{}, nil
	case n.kind == kindLink:
		return side{"120000", []byte(n.link)}, nil
	}
	s := side{mode: "100644"}
	if n.mode&0o100 != 0 {
		s.mode = "100755"
	}
	if n.size > maxPatchFile {
		return side{}, cairn.Errorf(cairn.CodeInvalid, "%s has %d bytes, more than a patch holds: fetch the file instead", quoted(path), n.size)
	}
	fd, err := p.c.open(path, n)
	if err != nil {
		return side{}, err
	}
	defer closeFD(fd)
	s.data = make([]byte, n.size)
	if k, err := read(fd, s.data); err != nil || k < len(s.data) {
		return side{}, damaged("%s is shorter than was recorded", quoted(path))
	}
	return s, nil
}

func (p *patcher) change(path, name string, x, y *node) error {
	if !gitHolds(name) {
		return nil
	}
	a, err := p.side(path, x)
	if err != nil {
		return err
	}
	b, err := p.side(path, y)
	if err != nil {
		return err
	}
	// git shows a link that became a file, or the other way round, as two changes.
	if a.mode != "" && b.mode != "" && (a.mode == "120000") != (b.mode == "120000") {
		if err := p.file(name, a, side{}); err != nil {
			return err
		}
		a = side{}
	}
	return p.file(name, a, b)
}

func (p *patcher) file(name string, a, b side) error {
	differ := !bytes.Equal(a.data, b.data)
	if a.mode == b.mode && !differ {
		return nil // directories, and modes that git does not know
	}
	// In this line git looks for the end of a name at each space, and gives up at " /".
	form := gitName
	if strings.Contains(name, " /") {
		form = gitQuoted
	}
	fmt.Fprintf(p.w, "diff --git %s %s\n", form("a/"+name), form("b/"+name))
	switch {
	case a.mode == "":
		fmt.Fprintf(p.w, "new file mode %s\n", b.mode)
	case b.mode == "":
		fmt.Fprintf(p.w, "deleted file mode %s\n", a.mode)
	case a.mode != b.mode:
		fmt.Fprintf(p.w, "old mode %s\nnew mode %s\n", a.mode, b.mode)
	}
	index := fmt.Sprintf("index %s..%s", blobName(a), blobName(b))
	if a.mode == b.mode {
		index += " " + a.mode
	}
	if differ || a.mode == "" || b.mode == "" {
		fmt.Fprintln(p.w, index)
	}
	if !differ {
		return nil
	}
	if isBinary(a.data) || isBinary(b.data) {
		return p.binary(a.data, b.data)
	}
	old, now := "/dev/null", "/dev/null"
	if a.mode != "" {
		old = patchName("a/" + name)
	}
	if b.mode != "" {
		now = patchName("b/" + name)
	}
	fmt.Fprintf(p.w, "--- %s\n+++ %s\n", old, now)
	la, lb := splitLines(a.data), splitLines(b.data)
	return writeHunks(p.w, la, lb, compareLines(la, lb))
}

// isBinary says that a file is not compared by lines: by git's rule, a zero byte in its
// first 8000.
func isBinary(b []byte) bool {
	return len(b) > maxText || bytes.IndexByte(b[:min(len(b), 8000)], 0) >= 0
}

// blobName is git's name of a content; zeros: there is none.
func blobName(s side) string {
	if s.mode == "" {
		return strings.Repeat("0", 2*sha1.Size)
	}
	h := sha1.New() //nolint:gosec // git names content by SHA-1
	fmt.Fprintf(h, "blob %d\x00", len(s.data))
	h.Write(s.data)
	return hex.EncodeToString(h.Sum(nil))
}

// binary writes both directions, as git does, so that the patch can be reversed.
func (p *patcher) binary(a, b []byte) error {
	fmt.Fprintln(p.w, "GIT binary patch")
	for _, data := range [][]byte{b, a} {
		fmt.Fprintf(p.w, "literal %d\n", len(data))
		var z bytes.Buffer
		if p.z == nil {
			p.z = zlib.NewWriter(&z)
		} else {
			p.z.Reset(&z)
		}
		if _, err := p.z.Write(data); err != nil {
			return err
		}
		if err := p.z.Close(); err != nil {
			return err
		}
		for rest := z.Bytes(); len(rest) > 0; {
			n := min(52, len(rest))
			c := byte('A' + n - 1)
			if n > 26 {
				c = byte('a' + n - 27)
			}
			_ = p.w.WriteByte(c) // Flush tells
			_, _ = p.w.WriteString(base85(rest[:n]))
			_ = p.w.WriteByte('\n')
			rest = rest[n:]
		}
		if err := p.w.WriteByte('\n'); err != nil {
			return err
		}
	}
	return nil
}

// git85 is the alphabet of git's binary patches (base85.c), that of RFC 1924.
const git85 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;<=>?@^_`{|}~"

func base85(b []byte) string {
	var out []byte
	for len(b) > 0 {
		var v uint32
		for i := range 4 {
			v <<= 8
			if i < len(b) {
				v |= uint32(b[i])
			}
		}
		b = b[min(4, len(b)):]
		var five [5]byte
		for i := 4; i >= 0; i-- {
			five[i] = git85[v%85]
			v /= 85
		}
		out = append(out, five[:]...)
	}
	return string(out)
}

// gitName writes a name as git does: quoted, when it holds anything but printable
// ASCII.
func gitName(name string) string {
	plain := true
	for i := range len(name) {
		if c := name[i]; c < 0x20 || c >= 0x7f || c == '"' || c == '\\' {
			plain = false
		}
	}
	if plain {
		return name
	}
	return gitQuoted(name)
}

// gitQuoted is a name in quotes.
func gitQuoted(name string) string {
	var b strings.Builder
	b.WriteByte('"')
	for i := range len(name) {
		switch c := name[i]; {
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c < 0x20 || c >= 0x7f:
			fmt.Fprintf(&b, "\\%03o", c)
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// patchName is gitName in a line of ---  or +++: after a name with a space a tab says
// where it ends.
func patchName(name string) string {
	q := gitName(name)
	if q == name && strings.Contains(name, " ") {
		return q + "\t"
	}
	return q
}
