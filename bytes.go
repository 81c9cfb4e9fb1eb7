package cairn

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Bytes is a size. Its text form is a number with a unit of 1024: "512Mi", "1Gi";
// without a unit it is bytes.
type Bytes int64

var byteUnits = []struct {
	name string
	size int64
}{{"Ti", 1 << 40}, {"Gi", 1 << 30}, {"Mi", 1 << 20}, {"Ki", 1 << 10}, {"", 1}}

// String prints the largest unit that divides b.
func (b Bytes) String() string {
	for _, u := range byteUnits {
		if b != 0 && int64(b)%u.size == 0 {
			return strconv.FormatInt(int64(b)/u.size, 10) + u.name
		}
	}
	return strconv.FormatInt(int64(b), 10)
}

// MarshalText prints the text form.
func (b Bytes) MarshalText() ([]byte, error) { return []byte(b.String()), nil }

// UnmarshalText reads the text form.
func (b *Bytes) UnmarshalText(text []byte) error {
	s := string(text)
	size := int64(1)
	for _, u := range byteUnits {
		if u.name != "" && strings.HasSuffix(s, u.name) {
			s, size = strings.TrimSuffix(s, u.name), u.size
			break
		}
	}
	n, err := strconv.ParseUint(s, 10, 63)
	if err != nil || int64(n) > math.MaxInt64/size { // ParseUint: no sign, and at most 63 bits
		return fmt.Errorf("size %q: write it like 512Mi, 1Gi or 65536", text)
	}
	*b = Bytes(int64(n) * size)
	return nil
}
