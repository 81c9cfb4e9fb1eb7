//go:build linux

package wire

import (
	"errors"
	"unsafe"
)

// The encoding is made by hand: numbers of eight bytes, little-endian, and byte
// strings after their length. The usual packages need reflection, and what they
// import is initialised after most of a program, which a process that is started
// for every instance cannot wait for: 1.2 ms of the 2.5 ms until its first line.

// Sendable can be sent.
type Sendable interface{ put(w *writer) }

// Receivable can be received into.
type Receivable interface{ get(r *reader) }

// errMalformed is a message that is cut, too long, or not of this version.
var errMalformed = errors.New("a malformed message")

type writer struct{ b []byte }

func (w *writer) num(v uint64) {
	w.b = append(w.b, byte(v), byte(v>>8), byte(v>>16), byte(v>>24), byte(v>>32), byte(v>>40), byte(v>>48), byte(v>>56))
}

func (w *writer) flag(v bool) {
	if v {
		w.b = append(w.b, 1)
	} else {
		w.b = append(w.b, 0)
	}
}

func (w *writer) bytes(v []byte) {
	w.num(uint64(len(v)))
	w.b = append(w.b, v...)
}

func (w *writer) text(v string) {
	w.num(uint64(len(v)))
	w.b = append(w.b, v...)
}

type reader struct {
	b   []byte
	bad bool
}

func (r *reader) take(n uint64) []byte {
	if r.bad || n > uint64(len(r.b)) {
		r.bad, r.b = true, nil
		return nil
	}
	v := r.b[:n:n]
	r.b = r.b[n:]
	return v
}

func (r *reader) num() uint64 {
	b := r.take(8)
	if b == nil {
		return 0
	}
	return uint64(b[0]) | uint64(b[1])<<8 | uint64(b[2])<<16 | uint64(b[3])<<24 |
		uint64(b[4])<<32 | uint64(b[5])<<40 | uint64(b[6])<<48 | uint64(b[7])<<56
}

func (r *reader) int() int { return int(int64(r.num())) }

func (r *reader) flag() bool {
	b := r.take(1)
	if b != nil && b[0] > 1 {
		r.bad = true
	}
	return b != nil && b[0] == 1
}

func (r *reader) bytes() []byte {
	b := r.take(r.num())
	if len(b) == 0 {
		return nil
	}
	return b
}

func (r *reader) text() string { return string(r.bytes()) }

// count reads how many things of at least size bytes follow: more than fit are a
// mistake, and must not be made room for.
func (r *reader) count(size uint64) int {
	n := r.num()
	if r.bad || n > uint64(len(r.b))/size {
		r.bad, r.b = true, nil
		return 0
	}
	return int(n)
}

// encode makes a packet of a message.
func encode(m Sendable) []byte {
	w := &writer{b: make([]byte, 0, 512)}
	m.put(w)
	return w.b
}

// decode reads a packet, all of it.
func decode(b []byte, m Receivable) error {
	r := &reader{b: b}
	m.get(r)
	if r.bad || len(r.b) > 0 {
		return errMalformed
	}
	return nil
}

// slice writes a list of things.
func slice[T any](w *writer, all []T, put func(*writer, *T)) {
	w.num(uint64(len(all)))
	for i := range all {
		put(w, &all[i])
	}
}

// list reads a list of things; each takes at least a byte for its size in a
// packet, and no more room in memory than its type.
func list[T any](r *reader, size uint64, get func(*reader, *T)) []T {
	n := r.count(size)
	if n == 0 {
		return nil
	}
	var zero T
	if uint64(n)*uint64(unsafe.Sizeof(zero)) > 64*MaxMessage {
		r.bad, r.b = true, nil
		return nil
	}
	all := make([]T, n)
	for i := range all {
		get(r, &all[i])
	}
	return all
}

// option writes what may be absent.
func option[T any](w *writer, v *T, put func(*writer, *T)) {
	w.flag(v != nil)
	if v != nil {
		put(w, v)
	}
}

// optional reads what may be absent.
func optional[T any](r *reader, get func(*reader, *T)) *T {
	if !r.flag() {
		return nil
	}
	v := new(T)
	get(r, v)
	return v
}
