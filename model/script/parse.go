package script

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/internal/yamltree"
)

// Parse reads a script and validates it. An error begins with the name of the
// file, the line and the column, and says what was expected.
func Parse(file string, data []byte) (*Script, error) {
	r := &reader{file: file, places: map[string]yamltree.Place{}}
	if len(data) > MaxFile {
		return nil, &mistake{file: file, problem: fmt.Sprintf("larger than %d bytes", MaxFile)}
	}
	if !utf8.Valid(data) {
		return nil, &mistake{file: file, problem: "not UTF-8"}
	}
	root := r.parse(strings.TrimPrefix(string(data), "\ufeff"))
	if r.err != nil {
		return nil, r.err
	}
	var s Script
	r.script("", root, &s)
	if r.err != nil {
		return nil, r.err
	}
	if err := s.Validate(); err != nil {
		f, ok := errors.AsType[*cairn.FieldError](err)
		if !ok {
			return nil, &mistake{file: file, problem: err.Error()}
		}
		r.failPath(f.Path, f.Problem)
		return nil, r.err
	}
	return &s, nil
}

func (r *reader) script(path string, n *yamltree.Node, s *Script) {
	r.object(path, n,
		field{"model", r.text(&s.Model)},
		field{"window", integer(r, &s.Window)},
		field{"max_output", integer(r, &s.MaxOutput)},
		field{"rates", r.rates(&s.Rates)},
		field{"unpriced", r.boolean(&s.Unpriced)},
		field{"delay", r.duration(&s.Delay)},
		field{"stream", r.stream(&s.Stream)},
		field{"replies", func(path string, n *yamltree.Node) {
			r.list(path, n, func(path string, n *yamltree.Node) {
				var reply Reply
				r.reply(path, n, &reply)
				s.Replies = append(s.Replies, reply)
			})
		}},
		field{"cases", func(path string, n *yamltree.Node) {
			r.list(path, n, func(path string, n *yamltree.Node) {
				var c Case
				r.reply(path, n, &c.Reply, field{"when", r.when(&c.When)})
				s.Cases = append(s.Cases, c)
			})
		}},
		field{"default", optional(&s.Default, func(reply *Reply) into {
			return func(path string, n *yamltree.Node) { r.reply(path, n, reply) }
		})},
		field{"recording", optional(&s.Recording, r.recording)},
	)
}

func (r *reader) rates(to *cairn.Rates) into {
	return func(path string, n *yamltree.Node) {
		r.object(path, n,
			field{"input", r.money(&to.Input)},
			field{"cache_read", r.money(&to.CacheRead)},
			field{"cache_write_5m", r.money(&to.CacheWrite5m)},
			field{"cache_write_1h", r.money(&to.CacheWrite1h)},
			field{"output", r.money(&to.Output)},
			field{"input_audio", r.money(&to.InputAudio)},
			field{"output_audio", r.money(&to.OutputAudio)},
			field{"searches", r.money(&to.Searches)},
		)
	}
}

func (r *reader) stream(to *Stream) into {
	return func(path string, n *yamltree.Node) {
		r.object(path, n, field{"chunk", integer(r, &to.Chunk)}, field{"every", r.duration(&to.Every)})
	}
}

func (r *reader) usage(to *cairn.Usage) into {
	return func(path string, n *yamltree.Node) {
		r.object(path, n,
			field{"input", integer(r, &to.Input)},
			field{"cache_read", integer(r, &to.CacheRead)},
			field{"cache_write_5m", integer(r, &to.CacheWrite5m)},
			field{"cache_write_1h", integer(r, &to.CacheWrite1h)},
			field{"output", integer(r, &to.Output)},
			field{"reasoning", integer(r, &to.Reasoning)},
			field{"input_audio", integer(r, &to.InputAudio)},
			field{"output_audio", integer(r, &to.OutputAudio)},
			field{"searches", integer(r, &to.Searches)},
		)
	}
}

func (r *reader) reply(path string, n *yamltree.Node, to *Reply, more ...field) {
	var stop string
	r.object(path, n, append(more,
		field{"text", r.text(&to.Text)},
		field{"reasoning", r.text(&to.Reasoning)},
		field{"opaque", func(path string, n *yamltree.Node) {
			r.list(path, n, func(path string, n *yamltree.Node) {
				var o Opaque
				r.object(path, n, field{"provider", r.text(&o.Provider)}, field{"data", r.json(&o.Data)})
				to.Opaque = append(to.Opaque, o)
			})
		}},
		field{"calls", func(path string, n *yamltree.Node) {
			r.list(path, n, func(path string, n *yamltree.Node) {
				var c Call
				r.call(path, n, &c)
				to.Calls = append(to.Calls, c)
			})
		}},
		field{"stop", r.text(&stop)},
		field{"usage", optional(&to.Usage, r.usage)},
		field{"raw_usage", r.json(&to.RawUsage)},
		field{"delay", optional(&to.Delay, r.duration)},
		field{"stream", optional(&to.Stream, r.stream)},
		field{"fail", func(path string, n *yamltree.Node) {
			r.list(path, n, func(path string, n *yamltree.Node) {
				var f Fail
				r.failure(path, n, &f)
				to.Fail = append(to.Fail, f)
			})
		}},
		field{"verbatim", r.boolean(&to.Verbatim)},
	)...)
	to.Stop = cairn.StopReason(stop)
}

func (r *reader) call(path string, n *yamltree.Node, to *Call) {
	r.object(path, n,
		field{"id", r.text(&to.ID)},
		field{"tool", r.text(&to.Tool)},
		field{"args", func(path string, n *yamltree.Node) {
			switch n.Kind {
			case yamltree.Text:
				to.Args = n.Text
			case yamltree.Mapping:
				to.Args = r.value(path, n)
			default:
				r.fail(n, "expected a mapping, or text that is sent as it is, found %s", n.Kind)
			}
		}},
	)
}

func (r *reader) failure(path string, n *yamltree.Node, to *Fail) {
	var code string
	r.object(path, n,
		field{"code", r.text(&code)},
		field{"message", r.text(&to.Message)},
		field{"retry_after", r.duration(&to.RetryAfter)},
		field{"after_bytes", integer(r, &to.AfterBytes)},
		field{"hang", r.duration(&to.Hang)},
		field{"usage", optional(&to.Usage, r.usage)},
		field{"retryable", optional(&to.Retryable, r.boolean)},
		field{"not_done", optional(&to.NotDone, r.boolean)},
		field{"times", integer(r, &to.Times)},
	)
	to.Code = cairn.Code(code)
}

func (r *reader) when(to *When) into {
	return func(path string, n *yamltree.Node) {
		r.object(path, n,
			field{"turn", optional(&to.Turn, func(v *int) into { return integer(r, v) })},
			field{"no_tools", optional(&to.NoTools, r.boolean)},
			field{"system", optional(&to.System, r.condition)},
			field{"task", optional(&to.Task, r.condition)},
			field{"user", optional(&to.User, r.condition)},
			field{"result", optional(&to.Result, func(v *Result) into {
				return func(path string, n *yamltree.Node) {
					r.object(path, n, append(r.conditions(&v.Text),
						field{"tool", r.text(&v.Tool)},
						field{"is_error", optional(&v.IsError, r.boolean)},
					)...)
				}
			})},
		)
	}
}

func (r *reader) conditions(to *Text) []field {
	return []field{
		{"equals", r.text(&to.Equals)},
		{"contains", r.text(&to.Contains)},
		{"glob", r.text(&to.Glob)},
	}
}

func (r *reader) condition(to *Text) into {
	return func(path string, n *yamltree.Node) { r.object(path, n, r.conditions(to)...) }
}
