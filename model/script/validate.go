package script

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/cairn-run/cairn"
)

// Validate reports the first thing wrong with a script, as a *[cairn.FieldError].
func (s *Script) Validate() error {
	bad := func(path, format string, args ...any) error {
		return &cairn.FieldError{Path: path, Problem: fmt.Sprintf(format, args...)}
	}
	switch {
	case s.Window < 0:
		return bad("window", "negative")
	case s.MaxOutput < 0:
		return bad("max_output", "negative")
	case s.Delay < 0:
		return bad("delay", "negative")
	case min(s.Rates.Input, s.Rates.Output, s.Rates.CacheRead, s.Rates.CacheWrite5m, s.Rates.CacheWrite1h,
		s.Rates.InputAudio, s.Rates.OutputAudio, s.Rates.Searches) < 0:
		return bad("rates", "an amount is negative")
	case s.Recording != nil && s.says():
		return bad("recording", "it stands alone: leave out model, window, max_output, rates, unpriced, replies, cases and default")
	case s.Recording != nil:
		if err := s.Stream.validate("stream"); err != nil {
			return err
		}
		return s.Recording.validate("recording")
	case len(s.Cases) == 0 && len(s.Replies) == 0 && s.Default == nil:
		return bad("replies", "the script says nothing: give replies, cases, a default or a recording")
	}
	if err := s.Stream.validate("stream"); err != nil {
		return err
	}
	for i := range s.Replies {
		if err := s.Replies[i].validate(fmt.Sprintf("replies[%d]", i)); err != nil {
			return err
		}
	}
	for i := range s.Cases {
		path := fmt.Sprintf("cases[%d]", i)
		if err := s.Cases[i].When.validate(path + ".when"); err != nil {
			return err
		}
		if err := s.Cases[i].validate(path); err != nil {
			return err
		}
	}
	if s.Default != nil {
		return s.Default.validate("default")
	}
	return nil
}

// says reports whether the script has something that a recording has instead.
func (s *Script) says() bool {
	return s.Model != "" || s.Window != 0 || s.MaxOutput != 0 || s.Rates != (cairn.Rates{}) || s.Unpriced ||
		len(s.Cases) > 0 || len(s.Replies) > 0 || s.Default != nil
}

func (s *Stream) validate(path string) error {
	if s != nil && (s.Chunk < 0 || s.Every < 0) {
		return &cairn.FieldError{Path: path, Problem: "negative"}
	}
	return nil
}

// says reports whether the reply is more than failures.
func (r *Reply) says() bool {
	return r.Text != "" || r.Reasoning != "" || len(r.Opaque) > 0 || len(r.Calls) > 0 || r.Stop != ""
}

func (r *Reply) validate(path string) error {
	bad := func(field, format string, args ...any) error {
		return &cairn.FieldError{Path: path + field, Problem: fmt.Sprintf(format, args...)}
	}
	if !r.says() && len(r.Fail) == 0 {
		return bad("", "an empty reply: give text, reasoning, opaque, calls, stop or fail")
	}
	switch r.Stop {
	case "", cairn.StopEnd, cairn.StopToolUse, cairn.StopMaxOutput, cairn.StopRefusal, cairn.StopSequence:
	default:
		return bad(".stop", "%q is no reason: use end, tool_use, max_output, refusal or stop_sequence", r.Stop)
	}
	if !usageFits(r.Usage) {
		return bad(".usage", "a negative number, or more reasoning than output")
	}
	if len(r.RawUsage) > 0 && !json.Valid(r.RawUsage) {
		return bad(".raw_usage", "not JSON")
	}
	if r.Delay != nil && *r.Delay < 0 {
		return bad(".delay", "negative")
	}
	if err := r.Stream.validate(path + ".stream"); err != nil {
		return err
	}
	for i, o := range r.Opaque {
		if !json.Valid(o.Data) {
			return bad(fmt.Sprintf(".opaque[%d].data", i), "not JSON")
		}
	}
	for i := range r.Fail {
		if err := r.Fail[i].validate(fmt.Sprintf("%s.fail[%d]", path, i)); err != nil {
			return err
		}
	}
	check := checkTemplates
	if r.Verbatim {
		check = func(string) error { return nil }
	}
	if err := check(r.Text); err != nil {
		return bad(".text", "%v", err)
	}
	if err := check(r.Reasoning); err != nil {
		return bad(".reasoning", "%v", err)
	}
	for i, c := range r.Calls {
		field := fmt.Sprintf(".calls[%d]", i)
		if c.Tool == "" {
			return bad(field+".tool", "missing")
		}
		if _, raw := c.Args.(string); raw {
			continue
		}
		if _, err := marshal(c.Args); err != nil {
			return bad(field+".args", "cannot be written as JSON: %v", err)
		}
		if err := eachString(c.Args, check); err != nil {
			return bad(field+".args", "%v", err)
		}
	}
	return nil
}

func usageFits(u *cairn.Usage) bool {
	return u == nil || min(u.Input, u.CacheRead, u.CacheWrite5m, u.CacheWrite1h, u.Output, u.Reasoning,
		u.InputAudio, u.OutputAudio, u.Searches) >= 0 && u.Reasoning <= u.Output
}

func (f *Fail) validate(path string) error {
	bad := func(field, problem string) error {
		return &cairn.FieldError{Path: path + field, Problem: problem}
	}
	switch {
	case f.AfterBytes < 0:
		return bad(".after_bytes", "negative")
	case f.Times < 0:
		return bad(".times", "negative")
	case f.Hang < 0 || f.RetryAfter < 0:
		return bad("", "a negative time")
	case !usageFits(f.Usage):
		return bad(".usage", "a negative number, or more reasoning than output")
	}
	switch f.code() {
	case "":
		return bad(".code", "missing")
	case cairn.CodeRateLimited, cairn.CodeOverloaded, cairn.CodeUnavailable, cairn.CodeCut, cairn.CodeTimeout,
		cairn.CodeAuth, cairn.CodeInvalid, cairn.CodeNotFound, cairn.CodeOverflow, cairn.CodeRefused,
		cairn.CodeDenied, cairn.CodeInternal:
		return nil
	}
	return bad(".code", fmt.Sprintf("%q is not what a model call fails with: use rate_limited, overloaded, "+
		"unavailable, cut_stream, timeout, auth, invalid, not_found, context_overflow, refused, denied or internal", f.Code))
}

func (w *When) validate(path string) error {
	for i, t := range []*Text{w.System, w.Task, w.User} {
		if t != nil && *t == (Text{}) {
			field := []string{".system", ".task", ".user"}[i]
			return &cairn.FieldError{Path: path + field, Problem: "empty: give equals, contains or glob"}
		}
	}
	if w.Result != nil && *w.Result == (Result{}) {
		return &cairn.FieldError{Path: path + ".result", Problem: "empty: give tool, is_error, equals, contains or glob"}
	}
	if w.Turn != nil && *w.Turn < 0 {
		return &cairn.FieldError{Path: path + ".turn", Problem: "negative"}
	}
	return nil
}

// maxArgsDepth bounds the nesting of arguments.
const maxArgsDepth = 100

// eachString visits the strings in the value of a JSON text; keys are not visited.
func eachString(v any, visit func(string) error) error {
	_, err := mapStrings(v, 0, func(s string) (any, error) { return s, visit(s) })
	return err
}

// mapStrings copies a JSON value and puts what f makes of them in the place of
// its strings.
func mapStrings(v any, depth int, f func(string) (any, error)) (any, error) {
	if depth > maxArgsDepth {
		return nil, errors.New("nested too deep")
	}
	switch v := v.(type) {
	case string:
		return f(v)
	case []any:
		list := make([]any, len(v))
		for i := range v {
			var err error
			if list[i], err = mapStrings(v[i], depth+1, f); err != nil {
				return nil, err
			}
		}
		return list, nil
	case map[string]any:
		object := make(map[string]any, len(v))
		for _, k := range slices.Sorted(maps.Keys(v)) { // of several errors always the same one
			var err error
			if object[k], err = mapStrings(v[k], depth+1, f); err != nil {
				return nil, err
			}
		}
		return object, nil
	}
	return v, nil
}
