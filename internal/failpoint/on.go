//go:build failpoint && unix

package failpoint

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"
)

// Enabled says whether this build has failpoints.
const Enabled = true

// state is what this process counts in. It is made at the first use and lives
// as long as the process.
type state struct {
	index   map[Point]int
	mem     []byte // the mapped file; nil: counts are not kept
	here    []atomic.Uint64
	flight  atomic.Int64
	victim  int    // index of the point that kills; -1: none
	victimN uint64 // at which hit
}

// get returns the state. A wrong setting ends the process: a torture test that
// goes on without its failpoints would prove nothing.
var get = sync.OnceValue(func() *state {
	s, err := newState(os.Getenv("CAIRN_FAILPOINT"), os.Getenv("CAIRN_FAILPOINT_FILE"))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	return s
})

func newState(setting, file string) (*state, error) {
	s := &state{index: make(map[Point]int, len(points)), here: make([]atomic.Uint64, len(points)), victim: -1}
	for i, p := range points {
		if len(p) > nameSize {
			return nil, fmt.Errorf("failpoint: the name %q is longer than %d bytes", p, nameSize)
		}
		s.index[p] = i
	}
	if setting != "" {
		name, count, _ := strings.Cut(setting, ":")
		n, err := strconv.ParseUint(count, 10, 64)
		i, known := s.index[Point(name)]
		if err != nil || n == 0 || !known {
			return nil, fmt.Errorf("failpoint: CAIRN_FAILPOINT is %q: write name:N with the name of a point and N of 1 or more", setting)
		}
		s.victim, s.victimN = i, n
	}
	if file == "" {
		return s, nil
	}
	if err := s.open(file); err != nil {
		return nil, fmt.Errorf("failpoint: CAIRN_FAILPOINT_FILE: %w", err)
	}
	return s, nil
}

// open maps the file, which has the same layout whoever makes it, so that two
// processes may do so at once.
func (s *state) open(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // the mapping outlives the descriptor
	size := headerSize + len(points)*recordSize
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Size() != 0 && info.Size() != int64(size) {
		return fmt.Errorf("%s is %d bytes long instead of %d: it is of another build, or no file of counts", path, info.Size(), size)
	}
	if err := f.Truncate(int64(size)); err != nil {
		return err
	}
	mem, err := syscall.Mmap(int(f.Fd()), 0, size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("map %s: %w", path, err)
	}
	for i, p := range points {
		copy(mem[headerSize+i*recordSize:], p)
	}
	s.mem = mem
	s.number(offCount).Store(uint64(len(points)))
	s.number(offInFlight).Store(0) // what the process before left in flight died with it
	s.number(offStarts).Add(1)
	copy(mem, magic)
	return nil
}

// number is a number of the mapped file. Offsets are multiples of eight and a
// mapping starts at a page, so it is aligned.
func (s *state) number(off int) *atomic.Uint64 {
	return (*atomic.Uint64)(unsafe.Pointer(&s.mem[off]))
}

// Hit passes a point: it counts, and kills the process if this is the hit that
// CAIRN_FAILPOINT names.
func Hit(p Point) {
	s := get()
	i, ok := s.index[p]
	if !ok {
		panic("failpoint: " + string(p) + " is not listed")
	}
	record := headerSize + i*recordSize
	if s.mem != nil {
		s.number(record + offHits).Add(1)
	}
	if s.here[i].Add(1) != s.victimN || i != s.victim {
		return
	}
	if s.mem != nil {
		s.number(offKills).Add(1)
		s.number(record + offPointKills).Add(1)
		if s.flight.Load() > 0 {
			s.number(offStruck).Add(1)
		}
	}
	_ = syscall.Kill(syscall.Getpid(), syscall.SIGKILL)
	select {} // nothing after the point may happen while the signal is on its way
}

// Begin says that an effect is in flight from now on.
func Begin() { get().inFlight(1) }

// End says that an effect is no longer in flight.
func End() { get().inFlight(-1) }

func (s *state) inFlight(by int64) {
	s.flight.Add(by)
	if s.mem != nil {
		s.number(offInFlight).Add(uint64(by)) // two's complement: adding -1 subtracts
	}
}
