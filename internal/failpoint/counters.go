package failpoint

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"os"
)

// The file of counts is a header and one record for each point, all numbers
// 64-bit in the byte order of the machine. Records carry their names, so that a
// reader of another version finds what it knows.
const (
	magic      = "cairnfp1"
	headerSize = 64
	recordSize = 64
	nameSize   = 40

	offCount    = 8  // number of records
	offInFlight = 16 // effects in flight in the process that runs now or ran last
	offKills    = 24 // kills by failpoints
	offStruck   = 32 // those of them with an effect in flight
	offStarts   = 40 // processes that mapped the file

	offHits       = nameSize     // in a record: hits of all processes
	offPointKills = nameSize + 8 // in a record: kills at this point
)

// Counters is what a file of counts held when it was read.
type Counters struct {
	hits, kills map[Point]uint64
	inFlight    int64
	killed      uint64
	struck      uint64
	starts      uint64
}

// Read reads a file of counts as it is now. Processes may be counting in it; an
// empty or missing file has no counts yet.
func Read(path string) (*Counters, error) {
	c := &Counters{hits: map[Point]uint64{}, kills: map[Point]uint64{}}
	f, err := os.Open(path)
	if os.IsNotExist(err) {
		return c, nil
	}
	if err != nil {
		return nil, fmt.Errorf("failpoint: %w", err)
	}
	defer func() { _ = f.Close() }()
	// Far more than any list of points needs: the bound is against a wrong file.
	b, err := io.ReadAll(io.LimitReader(f, 1<<20))
	if err != nil {
		return nil, fmt.Errorf("failpoint: %w", err)
	}
	return c, c.parse(b, path)
}

func (c *Counters) parse(b []byte, path string) error {
	if len(b) == 0 || bytes.Equal(b[:min(8, len(b))], make([]byte, min(8, len(b)))) {
		return nil // made, and no process has set it up yet
	}
	if len(b) < headerSize || string(b[:len(magic)]) != magic {
		return fmt.Errorf("failpoint: %s is not a file of counts", path)
	}
	number := func(off int) uint64 { return binary.NativeEndian.Uint64(b[off:]) }
	n := number(offCount)
	if n > uint64(len(b)-headerSize)/recordSize {
		return fmt.Errorf("failpoint: %s says it has %d points and is %d bytes long", path, n, len(b))
	}
	c.inFlight = int64(number(offInFlight)) // written as an int64
	c.killed, c.struck, c.starts = number(offKills), number(offStruck), number(offStarts)
	for i := range int(n) { // bounded by the length of the file
		at := headerSize + i*recordSize
		name, _, _ := bytes.Cut(b[at:at+nameSize], []byte{0})
		c.hits[Point(name)] += number(at + offHits)
		c.kills[Point(name)] += number(at + offPointKills)
	}
	return nil
}

// Hits is how often a point was passed, over all processes.
func (c *Counters) Hits(p Point) uint64 { return c.hits[p] }

// Kills is how often a process was killed at a point.
func (c *Counters) Kills(p Point) uint64 { return c.kills[p] }

// Killed is how often a process was killed at any point.
func (c *Counters) Killed() uint64 { return c.killed }

// KilledInFlight is how many of those kills struck with an effect in flight.
func (c *Counters) KilledInFlight() uint64 { return c.struck }

// InFlight is the number of effects in flight in the process that runs now, or
// that were when the last one died.
func (c *Counters) InFlight() int64 { return c.inFlight }

// Starts is the number of processes that counted in the file.
func (c *Counters) Starts() uint64 { return c.starts }

// Missed returns the points that were never hit, in the order they are listed.
func (c *Counters) Missed() []Point {
	var missed []Point
	for _, p := range points {
		if c.hits[p] == 0 {
			missed = append(missed, p)
		}
	}
	return missed
}
