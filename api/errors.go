package api

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/cairn-run/cairn"
	v1 "github.com/cairn-run/cairn/api/v1"
	"github.com/cairn-run/cairn/journal"
)

// responseError is a response that reports an error. It is what handlers return and
// what replaces huma's own error model.
type responseError struct {
	status int
	info   v1.ErrorInfo
}

func newError(status int, code cairn.Code, message string) *responseError {
	return &responseError{status, v1.ErrorInfo{Code: code, Message: message}}
}

// badField refuses a request for what one of its fields holds.
func badField(path, problem string) error {
	f := newError(http.StatusUnprocessableEntity, cairn.CodeInvalid, "the request is not valid")
	f.info.Fields = []v1.FieldProblem{{Path: path, Problem: problem}}
	return f
}

// Error implements error.
func (f *responseError) Error() string { return f.info.Error() }

// GetStatus is the HTTP status.
func (f *responseError) GetStatus() int { return f.status }

// GetHeaders says when to come back.
func (f *responseError) GetHeaders() http.Header {
	if f.info.RetryAfter <= 0 {
		return nil
	}
	seconds := int(math.Ceil(time.Duration(f.info.RetryAfter).Seconds()))
	return http.Header{"Retry-After": {strconv.Itoa(seconds)}}
}

// MarshalJSON writes the body.
func (f *responseError) MarshalJSON() ([]byte, error) {
	return json.Marshal(v1.ErrorBody{Error: f.info})
}

// sentinels maps the errors of the journal, once for the whole API.
var sentinels = []struct {
	err       error
	code      cairn.Code
	message   string
	retryable bool
}{
	{journal.ErrNotFound, cairn.CodeNotFound, "no such thing", false},
	{journal.ErrDecided, cairn.CodeConflict, "this was decided before", false},
	{journal.ErrMismatch, cairn.CodeConflict, "this Idempotency-Key was used before with another request: use a new key for a new request", false},
	{journal.ErrExists, cairn.CodeConflict, "this Idempotency-Key was used before with another request: use a new key for a new request", false},
	{journal.ErrConflict, cairn.CodeConflict, "the session has moved on meanwhile: try again", true},
	{journal.ErrBudget, cairn.CodeBudget, "the shared budget is exhausted", false},
	{journal.ErrFull, cairn.CodeFull, "the disk is full: nothing was written; free space and try again", true},
	{journal.ErrUnknown, cairn.CodeUnavailable, "it is not known whether this was stored: look before you do it again, or try again with the same Idempotency-Key", true},
	{journal.ErrFenced, cairn.CodeUnavailable, "the node has lost its lease: try again", true},
	{journal.ErrClosed, cairn.CodeUnavailable, "the node is shutting down: try again", true},
	{journal.ErrLocked, cairn.CodeUnavailable, "the data directory is in use by another process", false},
	{journal.ErrTooNew, cairn.CodeUnavailable, "the session was written by a newer version of cairn: upgrade this node", false},
	{context.DeadlineExceeded, cairn.CodeTimeout, "this took too long: look whether it was done before you do it again, or try again with the same Idempotency-Key", true},
	{context.Canceled, cairn.CodeUnavailable, "the request was given up", true},
}

// failure maps an error to its response, and logs it when it is the server's own.
func (a *API) failure(ctx context.Context, operation string, err error) *responseError {
	f := mapError(err)
	if f.status >= http.StatusInternalServerError && ctx.Err() == nil {
		a.Logger.Error("api: request failed", "operation", operation, "status", f.status, "error", err)
	}
	return f
}

func mapError(err error) *responseError {
	if f, ok := errors.AsType[*responseError](err); ok {
		return f
	}
	if fe, ok := errors.AsType[*cairn.FieldError](err); ok {
		f := newError(http.StatusUnprocessableEntity, cairn.CodeInvalid, "the definition is not valid")
		f.info.Fields = []v1.FieldProblem{{Path: "body." + fe.Path, Problem: fe.Problem}}
		return f
	}
	if e, ok := errors.AsType[*cairn.Error](err); ok {
		f := newError(v1.HTTPStatus(e.Code), e.Code, e.Message)
		f.info.RetryAfter, f.info.Retryable = e.RetryAfter, e.Retryable
		return f
	}
	for _, s := range sentinels {
		if errors.Is(err, s.err) {
			f := newError(v1.HTTPStatus(s.code), s.code, s.message)
			f.info.Retryable = s.retryable
			return f
		}
	}
	return newError(http.StatusInternalServerError, cairn.CodeInternal, "internal error; the log of the server says more")
}

// refuse writes the response for an error outside an operation.
func (a *API) refuse(w http.ResponseWriter, r *http.Request, err error) {
	a.write(w, r, mapError(err))
}

func (a *API) write(w http.ResponseWriter, r *http.Request, f *responseError) {
	body, err := json.Marshal(f)
	if err != nil {
		a.Logger.Error("api: encode error", "error", err)
		http.Error(w, "internal error", http.StatusInternalServerError)
		return
	}
	for name, values := range f.GetHeaders() {
		w.Header()[name] = values
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(f.status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(append(body, '\n')) // the client is gone: nothing to tell it
	}
}

// humaError turns huma's error model into the API's own. The values huma
// repeats are left out: they may be secrets.
func humaError(ctx huma.Context, _ string, v any) (any, error) {
	m, ok := v.(*huma.ErrorModel)
	if !ok {
		return v, nil
	}
	code := cairn.CodeInvalid
	switch {
	case m.Status == http.StatusRequestTimeout:
		code = cairn.CodeTimeout
	case m.Status >= http.StatusInternalServerError:
		code = cairn.CodeInternal
	}
	f := newError(m.Status, code, m.Detail)
	for _, e := range m.Errors {
		if e != nil && code == cairn.CodeInvalid {
			f.info.Fields = append(f.info.Fields, v1.FieldProblem{Path: e.Location, Problem: e.Message})
		}
	}
	if m.Status == http.StatusUnprocessableEntity || m.Status == http.StatusBadRequest {
		if len(f.info.Fields) > 0 {
			f.info.Message = "the request is not valid"
		}
	}
	ctx.SetHeader("Content-Type", "application/json")
	return f, nil
}
