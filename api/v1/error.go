package v1

import "github.com/cairn-run/cairn"

// ErrorBody is the body of every response that is not a success.
type ErrorBody struct {
	Error ErrorInfo `json:"error"`
}

// ErrorInfo says what went wrong: Code to a program, Message to a person.
type ErrorInfo struct {
	Code    cairn.Code `json:"code" doc:"class of the error; each has one HTTP status"`
	Message string     `json:"message" doc:"what went wrong and what to do next"`
	// RetryAfter is how long to wait before the next try.
	RetryAfter cairn.Duration `json:"retry_after,omitzero"`
	// Retryable says that the same request, with the same Idempotency-Key, may
	// succeed later.
	Retryable bool `json:"retryable,omitzero"`
	// Fields are the parts of the request that are wrong.
	Fields []FieldProblem `json:"fields,omitempty"`
	// Ask is the ask as it was decided before, when a decision came second.
	Ask *Ask `json:"ask,omitempty"`
}

// FieldProblem is one thing wrong with a request. Its value is never repeated:
// it may be a secret.
type FieldProblem struct {
	Path    string `json:"path" doc:"where, for example body.input or query.limit"`
	Problem string `json:"problem"`
}

// Error implements error.
func (e *ErrorInfo) Error() string {
	s := string(e.Code) + ": " + e.Message
	for _, f := range e.Fields {
		s += "; " + f.Path + ": " + f.Problem
	}
	return s
}

// Cairn returns the error in the runtime's own form; e is its cause, so that
// errors.As finds the fields and the decided ask.
func (e *ErrorInfo) Cairn() *cairn.Error {
	message := e.Message
	for _, f := range e.Fields {
		message += "; " + f.Path + ": " + f.Problem
	}
	return &cairn.Error{
		Code: e.Code, Message: message, RetryAfter: e.RetryAfter, Retryable: e.Retryable,
		Err: &causeError{e},
	}
}

// causeError hides the text of an ErrorInfo that stands as the cause of an error
// which says the same.
type causeError struct{ *ErrorInfo }

// Error is short, because the error above has said it all.
func (d *causeError) Error() string { return "reported by the server" }

// Unwrap gives the ErrorInfo.
func (d *causeError) Unwrap() error { return d.ErrorInfo }

// HTTPStatus is the status of a response that reports code. The numbers stand
// here as they are because this package does not import net/http.
func HTTPStatus(code cairn.Code) int {
	switch code {
	case cairn.CodeInvalid, cairn.CodeInvalidArgs:
		return 400
	case cairn.CodeAuth:
		return 401
	case cairn.CodeDenied:
		return 403
	case cairn.CodeNotFound:
		return 404
	case cairn.CodeConflict, cairn.CodeExpired, cairn.CodePinMismatch, cairn.CodeBudget:
		return 409
	case cairn.CodeRateLimited:
		return 429
	case cairn.CodeUnavailable, cairn.CodeOverloaded:
		return 503
	case cairn.CodeTimeout:
		return 504
	case cairn.CodeFull:
		return 507
	default:
		return 500
	}
}
