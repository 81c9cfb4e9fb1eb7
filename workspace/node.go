package workspace

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"slices"
	"strings"

	"github.com/cairn-run/cairn"
)

// kind is what an entry of a tree is.
type kind uint8

const (
	kindDir      kind = 1
	kindFile     kind = 2
	kindLink     kind = 3
	kindWhiteout kind = 4 // only in layers: there is nothing here
	kindOther    kind = 5 // only on disk: FIFOs, sockets, devices
)

// hash is a SHA-256.
type hash [sha256.Size]byte

// node is one entry of a tree, or of a layer. Trees share the nodes that they have
// in common; a node is never changed once it is part of a tree.
//
// In a tree the hash of a directory covers everything below it. In a layer it is
// unset, whiteouts occur, and opaque directories hide what is below them.
type node struct {
	kind   kind
	opaque bool
	mode   uint16
	layer  int64 // of a file: in which layer its content is
	size   int64
	hash   hash   // of a file's content, a link's target, a directory's entries
	link   string // target
	kids   []kid  // sorted by name
}

// kid is a named entry of a directory.
type kid struct {
	name string
	n    *node
}

// modeOf keeps the bits of a mode that are recorded: permissions, and the sticky bit
// of directories. Set-uid, set-gid and the rest are dropped.
func modeOf(k kind, mode uint16) uint16 {
	switch k {
	case kindDir:
		return mode & 0o1777
	case kindFile:
		return mode & 0o777
	default:
		return 0
	}
}

func linkNode(target string, layer int64) *node {
	return &node{kind: kindLink, link: target, size: int64(len(target)), hash: sha256.Sum256([]byte(target)), layer: layer}
}

func (n *node) find(name string) (*node, int, bool) {
	i, ok := slices.BinarySearchFunc(n.kids, name, func(k kid, s string) int { return cmp.Compare(k.name, s) })
	if !ok {
		return nil, i, false
	}
	return n.kids[i].n, i, true
}

// lookup finds the entry at a clean path ("" is the directory itself).
func (n *node) lookup(path string) *node {
	for path != "" && n != nil {
		name, rest, _ := strings.Cut(path, "/")
		if n.kind != kindDir {
			return nil
		}
		n, _, _ = n.find(name)
		path = rest
	}
	return n
}

// set puts an entry into a directory under construction.
func (n *node) set(name string, k *node) {
	_, i, ok := n.find(name)
	if ok {
		n.kids[i].n = k
		return
	}
	n.kids = slices.Insert(n.kids, i, kid{name, k})
}

// domain separates the hashes of directories from those of files.
const domain = "cairn directory 1\n"

// seal computes the hash of a directory whose entries have theirs.
func (n *node) seal() {
	h := sha256.New()
	h.Write([]byte(domain))
	var b []byte
	for _, k := range n.kids {
		b = append(b[:0], byte(k.n.kind))
		b = binary.BigEndian.AppendUint16(b, k.n.mode)
		b = binary.AppendUvarint(b, uint64(len(k.name)))
		b = append(b, k.name...)
		b = append(b, k.n.hash[:]...)
		h.Write(b)
	}
	h.Sum(n.hash[:0])
}

// digest is the name of a whole tree.
func (n *node) digest() cairn.Digest { return digestOf(n.hash) }

func digestOf(h hash) cairn.Digest { return cairn.Digest("sha256:" + hex.EncodeToString(h[:])) }

// same says that two entries are the same for a tree: times, inodes and layers are
// no part of it.
func same(a, b *node) bool {
	if a == b {
		return true
	}
	return a != nil && b != nil && a.kind == b.kind && a.mode == b.mode && a.hash == b.hash
}

// merge lays a layer's entry over what is visible below it, as overlayfs shows the
// two. was is what the tree had there before: where nothing really changed, its
// nodes are used again, so that unchanged content keeps its layer and comparing
// two trees is quick.
func merge(was, below, over *node, layer int64) *node {
	switch over.kind {
	case kindFile, kindLink:
		if same(was, over) {
			return was
		}
		n := *over
		n.layer = layer
		return &n
	case kindDir:
	default:
		return nil
	}
	if below == nil || below.kind != kindDir || over.opaque {
		below = nil
	}
	if was != nil && was.kind != kindDir {
		was = nil
	}
	n := &node{kind: kindDir, mode: over.mode}
	var low []kid
	if below != nil {
		low = below.kids
	}
	n.kids = make([]kid, 0, len(low)+len(over.kids))
	changed := was == nil || below != was || was.mode != over.mode
	i := 0
	for _, k := range over.kids {
		for i < len(low) && low[i].name < k.name {
			n.kids = append(n.kids, low[i])
			i++
		}
		var under, before *node
		if i < len(low) && low[i].name == k.name {
			under = low[i].n
			i++
		}
		if was == below {
			before = under
		} else if was != nil {
			before, _, _ = was.find(k.name)
		}
		m := merge(before, under, k.n, layer)
		if m != nil {
			n.kids = append(n.kids, kid{k.name, m})
		}
		changed = changed || m != under
	}
	n.kids = append(n.kids, low[i:]...)
	if !changed {
		return was
	}
	n.kids = slices.Clip(n.kids)
	n.seal()
	if same(was, n) {
		return was
	}
	return n
}

// delta is the layer that, laid over from, gives to; nil: they are the same. Both are
// directories.
func delta(from, to *node) *node {
	if same(from, to) {
		return nil
	}
	d := &node{kind: kindDir, mode: to.mode}
	if from == nil || from.kind != kindDir {
		// Opaque also where there was nothing: what lies below may have a directory
		// of this name that is hidden so far.
		d.opaque = true
		from = &node{kind: kindDir}
	}
	eachPair(from, to, func(name string, a, b *node) {
		switch {
		case same(a, b):
		case b == nil:
			d.kids = append(d.kids, kid{name, &node{kind: kindWhiteout}})
		case b.kind == kindDir:
			d.kids = append(d.kids, kid{name, delta(a, b)})
		default:
			d.kids = append(d.kids, kid{name, b})
		}
	})
	return d
}

// eachPair goes through the names of two directories in order; what is not there is
// nil.
func eachPair(a, b *node, fn func(name string, a, b *node)) {
	i, j := 0, 0
	for i < len(a.kids) || j < len(b.kids) {
		var c int
		switch {
		case i == len(a.kids):
			c = 1
		case j == len(b.kids):
			c = -1
		default:
			c = cmp.Compare(a.kids[i].name, b.kids[j].name)
		}
		switch {
		case c < 0:
			fn(a.kids[i].name, a.kids[i].n, nil)
			i++
		case c > 0:
			fn(b.kids[j].name, nil, b.kids[j].n)
			j++
		default:
			fn(a.kids[i].name, a.kids[i].n, b.kids[j].n)
			i++
			j++
		}
	}
}

// count says how many entries a tree or layer has, itself included.
func (n *node) count() int {
	total := 1
	for _, k := range n.kids {
		total += k.n.count()
	}
	return total
}

// nodeBytes is what a node costs in memory, about: the struct, its place in the
// directory and a name.
const nodeBytes = 176
