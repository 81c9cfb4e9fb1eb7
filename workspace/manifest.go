package workspace

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/cairn-run/cairn"
)

// A manifest says what a layer is, in bytes:
//
//	magic, version
//	layer number, digest of the tree below it, digest of the tree with it
//	the entries in order, each: kind and flags, mode, shared length and rest of the path,
//	  for a file: size and SHA-256; for a link: its target
//	a zero byte, and the SHA-256 of everything before
//
// Numbers are unsigned varints. The path of an entry repeats the first bytes of the
// one before it.
type manifest struct {
	layer  int64
	parent hash // of the tree that the layer is laid over; zero for a base
	tree   hash
	root   *node // the layer
}

const (
	manifestMagic   = "cairn layer"
	manifestVersion = 1
	// maxManifest bounds what is read into memory: MaxFiles of an import at the
	// longest usual paths is a quarter of it.
	maxManifest = 1 << 30
	flagOpaque  = 0x10
)

// Bounds of paths, in layers and imports. What is deeper or longer could not be named in
// one system call, and is refused.
const (
	maxPath  = 4000 // bytes, of PATH_MAX 4096
	maxDepth = 200
	maxName  = 255 // NAME_MAX
	// maxListed bounds the names and the targets of links of one import or snapshot
	// together, in bytes: they are kept in memory, and a manifest with them stays below
	// maxManifest.
	maxListed = 128 << 20
)

func tooMuchText() error {
	return cairn.Errorf(cairn.CodeInvalid, "the names and the targets of links come to more than %s: leave out what is not needed", cairn.Bytes(maxListed))
}

func (m *manifest) encode() []byte {
	b := make([]byte, 0, 256+64*m.root.count())
	b = append(b, manifestMagic...)
	b = append(b, manifestVersion)
	b = binary.AppendUvarint(b, uint64(m.layer))
	b = append(b, m.parent[:]...)
	b = append(b, m.tree[:]...)
	var path, last []byte
	var entry func(n *node)
	entry = func(n *node) {
		head := byte(n.kind)
		if n.opaque {
			head |= flagOpaque
		}
		b = append(b, head)
		b = binary.AppendUvarint(b, uint64(n.mode))
		shared := 0
		for shared < len(path) && shared < len(last) && path[shared] == last[shared] {
			shared++
		}
		b = binary.AppendUvarint(b, uint64(shared))
		b = binary.AppendUvarint(b, uint64(len(path)-shared))
		b = append(b, path[shared:]...)
		last = append(last[:0], path...)
		switch n.kind {
		case kindFile:
			b = binary.AppendUvarint(b, uint64(n.size))
			b = append(b, n.hash[:]...)
		case kindLink:
			b = binary.AppendUvarint(b, uint64(len(n.link)))
			b = append(b, n.link...)
		}
		for _, k := range n.kids {
			was := len(path)
			if was > 0 {
				path = append(path, '/')
			}
			path = append(path, k.name...)
			entry(k.n)
			path = path[:was]
		}
	}
	entry(m.root)
	b = append(b, 0)
	sum := sha256.Sum256(b)
	return append(b, sum[:]...)
}

var errManifest = errors.New("the manifest is damaged")

// decodeManifest reads what encode wrote. It never panics, and what it accepts is a
// tree whose names are all usable.
func decodeManifest(b []byte) (*manifest, error) {
	bad := func(what string) (*manifest, error) { return nil, fmt.Errorf("%w: %s", errManifest, what) }
	if len(b) < len(manifestMagic)+1+sha256.Size || string(b[:len(manifestMagic)]) != manifestMagic {
		return bad("it does not begin like one")
	}
	if v := b[len(manifestMagic)]; v != manifestVersion {
		return bad(fmt.Sprintf("version %d; this program reads %d", v, manifestVersion))
	}
	body, sum := b[:len(b)-sha256.Size], b[len(b)-sha256.Size:]
	if got := sha256.Sum256(body); !bytes.Equal(got[:], sum) {
		return bad("its checksum is wrong")
	}
	r := &reader{b: body[len(manifestMagic)+1:]}
	m := &manifest{layer: int64(r.number(math.MaxInt64))}
	r.bytes(m.parent[:])
	r.bytes(m.tree[:])
	var stack []*node // the directories that lead to the entry
	var path []byte
	for !r.failed {
		head := r.byte()
		if head == 0 {
			break
		}
		n := &node{kind: kind(head &^ flagOpaque), opaque: head&flagOpaque != 0, layer: m.layer}
		n.mode = uint16(r.number(0o1777))
		shared := int(r.number(uint64(len(path))))
		rest := r.take(r.number(maxPath))
		if r.failed || shared+len(rest) > maxPath {
			break
		}
		path = append(path[:shared:shared], rest...)
		switch n.kind {
		case kindFile:
			n.size = int64(r.number(math.MaxInt64))
			r.bytes(n.hash[:])
		case kindLink:
			t := linkNode(string(r.take(r.number(maxPath))), m.layer)
			t.mode = n.mode
			n = t
		case kindDir, kindWhiteout:
		default:
			return bad("an entry of unknown kind")
		}
		if m.root == nil {
			if len(path) != 0 || n.kind != kindDir {
				return bad("it does not begin with a directory")
			}
			m.root = n
			stack = append(stack, n)
			continue
		}
		parts := strings.Split(string(path), "/")
		if len(parts) > len(stack) || len(parts) > maxDepth {
			return bad("an entry before its directory")
		}
		stack = stack[:len(parts)]
		dir, name := stack[len(parts)-1], parts[len(parts)-1]
		if !usable(name) || len(dir.kids) > 0 && dir.kids[len(dir.kids)-1].name >= name {
			return bad("names out of order")
		}
		// The directories on the way must be the ones on the stack.
		for i, p := range parts[:len(parts)-1] {
			if k := stack[i].kids; len(k) == 0 || k[len(k)-1].name != p || k[len(k)-1].n != stack[i+1] {
				return bad("an entry outside its directory")
			}
		}
		dir.kids = append(dir.kids, kid{name, n})
		if n.kind == kindDir {
			stack = append(stack, n)
		}
	}
	if r.failed || len(r.b) != 0 || m.root == nil {
		return bad("it is cut off, or too long")
	}
	return m, nil
}

// usable says that a name can be an entry of a directory.
func usable(name string) bool {
	return name != "" && name != "." && name != ".." && len(name) <= maxName && !strings.ContainsAny(name, "/\x00")
}

// reader takes parts off a byte slice and remembers that one was missing.
type reader struct {
	b      []byte
	failed bool
}

func (r *reader) byte() byte {
	if len(r.b) == 0 {
		r.failed = true
		return 0
	}
	c := r.b[0]
	r.b = r.b[1:]
	return c
}

func (r *reader) number(max uint64) uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 || v > max {
		r.failed = true
		r.b = nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) take(n uint64) []byte {
	if n > uint64(len(r.b)) {
		r.failed = true
		return nil
	}
	t := r.b[:n]
	r.b = r.b[n:]
	return t
}

func (r *reader) bytes(dst []byte) { copy(dst, r.take(uint64(len(dst)))) }
