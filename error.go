package cairn

import (
	"errors"
	"fmt"
	"time"
)

// Code classifies an error for a program; Message says to a person what to do
// next. There are few codes: each has one HTTP status and one exit code.
type Code string

// Codes of errors that a caller of Cairn sees.
const (
	CodeInvalid     Code = "invalid"      // the request is malformed
	CodeNotFound    Code = "not_found"    // no such thing, or not the caller's
	CodeConflict    Code = "conflict"     // it was decided or changed already
	CodeDenied      Code = "denied"       // not allowed
	CodeUnavailable Code = "unavailable"  // try again later
	CodeFull        Code = "storage_full" // the disk is full: reads go on
	CodeInternal    Code = "internal"     // a defect of Cairn
)

// Codes of outcomes inside a run.
const (
	CodeRateLimited   Code = "rate_limited"      // the other side said: slower
	CodeOverloaded    Code = "overloaded"        // the other side cannot now
	CodeCircuitOpen   Code = "circuit_open"      // it failed too often: it is not tried for a while
	CodeOverflow      Code = "context_overflow"  // the request is larger than the model's window
	CodeAuth          Code = "auth"              // the credential was refused
	CodeRefused       Code = "refused"           // the model refused
	CodeCut           Code = "cut_stream"        // the answer broke off
	CodeTimeout       Code = "timeout"           // no answer in time
	CodeLost          Code = "lost"              // the process died while the call was in flight
	CodeCancelled     Code = "cancelled"         // stopped on request
	CodeInterrupted   Code = "interrupted"       // stopped by an interrupting message
	CodeUnknownTool   Code = "unknown_tool"      // the model called a tool it does not have
	CodeInvalidArgs   Code = "invalid_arguments" // the arguments do not fit the schema
	CodeToolFailed    Code = "tool_failed"       // the tool reported an error
	CodeNotPerformed  Code = "not_performed"     // it is certain that the effect did not take place
	CodeUnknown       Code = "unknown_outcome"   // it is not known whether the effect took place
	CodePinMismatch   Code = "definition_changed"
	CodeBudget        Code = "budget_exceeded"
	CodeStepLimit     Code = "step_limit"
	CodeWallLimit     Code = "wall_limit"
	CodeTokenLimit    Code = "token_limit"
	CodeInvalidOutput Code = "invalid_output" // the final answer does not fit the schema, repairs spent
	CodeInvalidCalls  Code = "invalid_calls"  // too many calls in a row that could not be made
	CodeExpired       Code = "ask_expired"
)

// Error is the one error type that crosses a boundary.
type Error struct {
	Code    Code   `json:"code"`
	Message string `json:"message"`
	// RetryAfter is how long the other side asked to wait; zero: it did not say.
	RetryAfter Duration `json:"retry_after,omitzero"`
	// Retryable says that the same call may succeed later.
	Retryable bool `json:"retryable,omitzero"`
	// NotDone says that the effect certainly did not take place.
	NotDone bool `json:"not_done,omitzero"`
	// Err is the cause: for logs and errors.Is, never for users.
	Err error `json:"-"`
}

// Error implements error.
func (e *Error) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("%s: %s: %v", e.Code, e.Message, e.Err)
	}
	return string(e.Code) + ": " + e.Message
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Errorf makes an error with a code.
func Errorf(code Code, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Code: code, Message: err.Error(), Err: errors.Unwrap(err)}
}

// CodeOf is the code of err, CodeInternal if it has none, "" if err is nil.
func CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return CodeInternal
}

// AsError returns err as an *Error; what has no code becomes CodeInternal, and
// its text stays out of the message.
func AsError(err error) *Error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return &Error{Code: CodeInternal, Message: "internal error", Err: err}
}

// Duration is a time.Duration that reads and prints as "30m" in JSON.
type Duration time.Duration

// MarshalText prints Go's form of a duration.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText reads Go's form of a duration.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	if err != nil || v < 0 {
		return fmt.Errorf("duration %q: write it like 30s, 5m or 2h", b)
	}
	*d = Duration(v)
	return nil
}

// String prints Go's form of a duration.
func (d Duration) String() string { return time.Duration(d).String() }
