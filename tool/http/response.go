package http

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/tool"
)

const (
	// maxRead is where reading a response stops, in bytes: it is said that there is more.
	maxRead = 64 << 20
	// maxRetryAfter bounds how long a target can ask to wait.
	maxRetryAfter = time.Hour
	// maxBinary bounds a response that is not text, in bytes; a larger one is left out.
	maxBinary = 16 << 20
)

// bare takes the URL out of an error: its query may hold a credential.
func bare(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}

// outcome turns a response into a result or an error. Statuses 4xx that say
// something of the call itself are results that a model can read and react to.
func outcome(ctx context.Context, resp *http.Response, c tool.Call) (*cairn.ToolResult, error) {
	status := fmt.Sprintf("HTTP %d %s", resp.StatusCode, http.StatusText(resp.StatusCode))
	status = strings.TrimSpace(status)
	host := resp.Request.URL.Host
	if m := method(c.Entry.HTTP); resp.Request.Response != nil && m != http.MethodGet && m != http.MethodHead && resp.StatusCode >= 300 {
		// The write was answered with "look there"; what was found there says nothing of the write.
		return nil, &cairn.Error{Code: cairn.CodeCut, Message: host + " answered with a redirect, and then with " + status}
	}
	switch code := resp.StatusCode; {
	case code == http.StatusTooManyRequests:
		// RFC 6585: the request was not let through.
		return nil, &cairn.Error{
			Code: cairn.CodeRateLimited, Message: host + " answered " + status, Retryable: true, NotDone: true,
			RetryAfter: retryAfter(resp.Header.Get("Retry-After"), resp.Header.Get("Date")),
		}
	case code == http.StatusUnauthorized, code == http.StatusProxyAuthRequired:
		return nil, &cairn.Error{Code: cairn.CodeAuth, Message: host + " answered " + status + ": its credential was refused"}
	case code == http.StatusRequestTimeout:
		return nil, &cairn.Error{Code: cairn.CodeTimeout, Message: host + " answered " + status, Retryable: true}
	case code == http.StatusNotImplemented:
		return nil, &cairn.Error{Code: cairn.CodeToolFailed, Message: host + " answered " + status}
	case code >= 500:
		return nil, &cairn.Error{
			Code: cairn.CodeOverloaded, Message: host + " answered " + status, Retryable: true,
			RetryAfter: retryAfter(resp.Header.Get("Retry-After"), resp.Header.Get("Date")),
		}
	case code == http.StatusFound, code == http.StatusSeeOther:
		// The answer to a write is often "look there": it may have been done.
		return nil, &cairn.Error{Code: cairn.CodeCut, Message: host + " answered " + status + " to another place, which is not followed"}
	case code >= 300 && code < 400 && code != http.StatusNotModified:
		return nil, &cairn.Error{Code: cairn.CodeToolFailed, Message: host + " answered " + status + ": it is somewhere else; put the final address into the tool's url"}
	}
	result, err := read(resp, c.MaxOutput)
	if err != nil {
		return nil, broken(ctx, err, host, true)
	}
	switch {
	case len(result.Content) == 0:
		result.Content = []cairn.Part{cairn.Text(status)}
	case resp.StatusCode >= 400:
		result.Content = append([]cairn.Part{cairn.Text(status + "\n")}, result.Content...)
	}
	result.IsError = resp.StatusCode >= 400
	return result, nil
}

// read takes the body in, as far as it is worth keeping.
func read(resp *http.Response, maximum int64) (*cairn.ToolResult, error) {
	media, params, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if err != nil {
		media = ""
	}
	limited := &io.LimitedReader{R: resp.Body, N: maxRead}
	result := &cairn.ToolResult{Content: []cairn.Part{}}
	if media != "" && !isText(media) {
		data, err := io.ReadAll(io.LimitReader(limited, maxBinary+1))
		if err != nil {
			return nil, err
		}
		if len(data) > maxBinary {
			result.Content = append(result.Content, cairn.Text(fmt.Sprintf("[%s, more than %d bytes, left out]", media, maxBinary)))
			result.Truncated = int64(len(data))
			return result, nil
		}
		if len(data) == 0 {
			return result, nil
		}
		p := cairn.Part{Kind: cairn.PartFile, MediaType: media, Data: data}
		if strings.HasPrefix(media, "image/") {
			p.Kind = cairn.PartImage
		}
		result.Content = append(result.Content, p)
		return result, nil
	}
	kept := tool.NewCapture(maximum)
	if _, err := io.Copy(kept, limited); err != nil {
		return nil, err
	}
	longer := false
	if limited.N <= 0 {
		n, err := io.ReadFull(resp.Body, make([]byte, 1))
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		longer = n > 0
	}
	body, cut := kept.Bytes()
	result.Truncated = cut
	if len(body) == 0 {
		return result, nil
	}
	text := string(body)
	if charset := strings.ToLower(params["charset"]); charset == "iso-8859-1" || charset == "latin1" {
		text = latin1(body)
	}
	if cut == 0 && (isJSON(media) || media == "") && json.Valid(body) && utf8.Valid(body) {
		result.Structured = json.RawMessage(body)
	}
	if longer { // first, or the cap would leave it out
		result.Content = append(result.Content, cairn.Text(fmt.Sprintf("[the answer goes on after %d bytes, which is where reading stopped: its end is not below]\n", maxRead)))
	}
	result.Content = append(result.Content, cairn.Text(text))
	return result, nil
}

func isJSON(media string) bool {
	return media == "application/json" || strings.HasSuffix(media, "+json")
}

func isText(media string) bool {
	switch media {
	case "application/xml", "application/javascript", "application/x-www-form-urlencoded",
		"application/yaml", "application/x-ndjson", "application/graphql":
		return true
	}
	return isJSON(media) || strings.HasPrefix(media, "text/") || strings.HasSuffix(media, "+xml") || strings.HasSuffix(media, "+yaml")
}

// latin1 decodes ISO-8859-1, whose bytes are the first characters of Unicode.
func latin1(b []byte) string {
	runes := make([]rune, len(b))
	for i, c := range b {
		runes[i] = rune(c)
	}
	return string(runes)
}

// retryAfter reads the header of this name: seconds, or a date, which is compared
// with the answer's own so that no two clocks are.
func retryAfter(s, date string) cairn.Duration {
	s = strings.TrimSpace(s)
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		if n <= 0 {
			return 0
		}
		return cairn.Duration(min(time.Duration(min(n, int64(maxRetryAfter/time.Second)))*time.Second, maxRetryAfter))
	}
	at, err := http.ParseTime(s)
	if err != nil {
		return 0
	}
	now, err := http.ParseTime(date)
	if err != nil || !at.After(now) {
		return 0
	}
	return cairn.Duration(min(at.Sub(now), maxRetryAfter))
}
