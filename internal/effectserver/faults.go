package effectserver

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"time"
)

// Faults are dealt out by chance that depends on the seed, the class, the key and the number
// of the request among those of its key, so that they do not depend on the order
// in which sessions come. The zero value has none.
type Faults struct {
	Seed uint64
	// Refuse is the chance of a 429 that did nothing, Fail that of a 503 that did
	// nothing, Lose that of an effect that is done and whose connection is dropped
	// instead of an answer. At most one of them strikes.
	Refuse, Fail, Lose float64
	// Delay is the longest an effect takes before it is applied.
	Delay time.Duration
}

type fault struct {
	refuse, fail, lose bool
	delay              time.Duration
}

func (f Faults) validate() error {
	for _, p := range []float64{f.Refuse, f.Fail, f.Lose, f.Refuse + f.Fail + f.Lose} {
		if !(p >= 0 && p <= 1) {
			return fmt.Errorf("effectserver: chances must be from 0 to 1, together too: refuse %v, fail %v, lose %v", f.Refuse, f.Fail, f.Lose)
		}
	}
	if f.Delay < 0 {
		return fmt.Errorf("effectserver: the delay %v is negative", f.Delay)
	}
	return nil
}

func (f Faults) deal(class, key string, request int) fault {
	h := fnv.New64a()
	_, _ = h.Write([]byte(class + "\x00" + key + "\x00"))
	_, _ = h.Write(binary.LittleEndian.AppendUint64(nil, uint64(request))) // a count
	r := rand.New(rand.NewPCG(f.Seed, h.Sum64()))                          // repeatable on purpose
	p := r.Float64()
	out := fault{
		refuse: p < f.Refuse,
		fail:   p >= f.Refuse && p < f.Refuse+f.Fail,
		lose:   p >= f.Refuse+f.Fail && p < f.Refuse+f.Fail+f.Lose,
	}
	if f.Delay > 0 {
		out.delay = time.Duration(r.Int64N(int64(f.Delay) + 1))
	}
	return out
}
