package sqlite

import (
	"bytes"
	"database/sql/driver"
	"encoding/json"
	"fmt"
	"time"

	"github.com/cairn-run/cairn"
)

// nanos is a time as it is stored; the zero time is 0.
func nanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

// moment is the time of stored nanoseconds.
func moment(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, n).UTC()
}

func flag(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// encode is JSON that leaves '<', '>' and '&' alone: arguments are shown and
// hashed as they are.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, fmt.Errorf("journal: encode: %w", err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte{'\n'}), nil
}

// listRow is a summary as columns, encoded before the writer sees it.
type listRow []driver.Value

// listRowOf returns the columns from status to summary.
func listRowOf(s *cairn.Summary) (listRow, error) {
	b, err := encode(s)
	if err != nil {
		return nil, err
	}
	u := s.Usage
	return listRow{
		string(s.Status), s.Agent, int64(s.Cost), int64(s.Reserved), u.Input, u.CacheRead,
		u.CacheWrite5m, u.CacheWrite1h, u.Output, u.Reasoning, b,
	}, nil
}

// integer is the value of an integer column; NULL is 0.
func integer(v driver.Value) int64 {
	n, _ := v.(int64)
	return n
}

// text is the value of a text column; NULL is empty.
func text(v driver.Value) string {
	s, _ := v.(string)
	return s
}

// blob is the value of a blob column.
func blob(v driver.Value) []byte {
	b, _ := v.([]byte)
	return b
}
