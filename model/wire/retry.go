package wire

import (
	"net/http"
	"strconv"
	"time"
)

// maxRetryAfter bounds how long a provider can ask to wait.
const maxRetryAfter = time.Hour

// retryAfter reads Retry-After-Ms (OpenAI, Azure) and Retry-After in seconds or
// as a date (RFC 9110, 10.2.3), the latter against the answer's own Date.
func retryAfter(h http.Header) time.Duration {
	if ms, err := strconv.ParseFloat(h.Get("Retry-After-Ms"), 64); err == nil && ms > 0 && ms < 1e12 {
		return min(time.Duration(ms*float64(time.Millisecond)), maxRetryAfter)
	}
	v := h.Get("Retry-After")
	if s, err := strconv.ParseFloat(v, 64); err == nil && s > 0 && s < 1e9 {
		return min(time.Duration(s*float64(time.Second)), maxRetryAfter)
	}
	until, err := http.ParseTime(v)
	if err != nil {
		return 0
	}
	now, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		now = time.Now()
	}
	return max(0, min(until.Sub(now), maxRetryAfter))
}
