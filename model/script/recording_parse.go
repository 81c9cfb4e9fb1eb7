package script

import (
	"encoding/base64"
	"encoding/json"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/internal/yamltree"
	"github.com/cairn-run/cairn/model"
)

func (r *reader) recording(to *Recording) into {
	return func(path string, n *yamltree.Node) {
		r.object(path, n,
			field{"models", func(path string, n *yamltree.Node) {
				r.list(path, n, func(path string, n *yamltree.Node) {
					var m cairn.ModelInfo
					r.recordedModel(path, n, &m)
					to.Models = append(to.Models, m)
				})
			}},
			field{"calls", func(path string, n *yamltree.Node) {
				r.list(path, n, func(path string, n *yamltree.Node) {
					var c Recorded
					r.recordedCall(path, n, &c)
					to.Calls = append(to.Calls, c)
				})
			}},
		)
	}
}

func (r *reader) recordedModel(path string, n *yamltree.Node, to *cairn.ModelInfo) {
	var prices json.RawMessage
	r.object(path, n,
		field{"name", r.text(&to.Name)},
		field{"window", integer(r, &to.Window)},
		field{"max_output", integer(r, &to.MaxOutput)},
		field{"priced", r.boolean(&to.Priced)},
		field{"table", r.text(&to.Table)},
		field{"prices", func(path string, n *yamltree.Node) {
			r.verbatim(&prices)(path, n)
			if r.err == nil && json.Unmarshal(prices, &to.Prices) != nil {
				r.fail(n, "expected the JSON of a list of prices")
			}
		}},
	)
	to.Provider, _ = model.Split(to.Name)
}

func (r *reader) recordedCall(path string, n *yamltree.Node, to *Recorded) {
	r.object(path, n,
		field{"model", r.text(&to.Model)},
		field{"call", integer(r, &to.Call)},
		field{"attempt", integer(r, &to.Attempt)},
		field{"request", func(path string, n *yamltree.Node) {
			r.object(path, n,
				field{"turn", integer(r, &to.Request.Turn)},
				field{"setup", r.text(&to.Request.Setup)},
				field{"messages", r.text(&to.Request.Messages)},
			)
		}},
		field{"answer", optional(&to.Answer, r.recordedAnswer)},
		field{"fail", optional(&to.Failure, r.recordedFailure)},
	)
}

func (r *reader) recordedAnswer(to *cairn.ModelAnswer) into {
	return func(path string, n *yamltree.Node) {
		var stop string
		r.object(path, n,
			field{"model", r.text(&to.Model)},
			field{"content", func(path string, n *yamltree.Node) {
				r.list(path, n, func(path string, n *yamltree.Node) {
					var p cairn.Part
					r.recordedPart(path, n, &p)
					to.Content = append(to.Content, p)
				})
			}},
			field{"stop", r.text(&stop)},
			field{"finish", r.text(&to.Finish)},
			field{"usage", r.usage(&to.Usage)},
			field{"raw_usage", r.verbatim(&to.RawUsage)},
			field{"service", r.text(&to.Service)},
			field{"charged", func(path string, n *yamltree.Node) {
				var s string
				r.text(&s)(path, n)
				m, err := cairn.ParseMoney(s)
				if err != nil {
					r.fail(n, "charged: %v", err)
				}
				to.Charged = &m
			}},
			field{"beside", func(path string, n *yamltree.Node) {
				r.list(path, n, func(path string, n *yamltree.Node) {
					var s string
					r.text(&s)(path, n)
					to.Beside = append(to.Beside, s)
				})
			}},
		)
		to.Stop = cairn.StopReason(stop)
	}
}

func (r *reader) recordedPart(path string, n *yamltree.Node, to *cairn.Part) {
	var kind string
	r.object(path, n,
		field{"kind", r.text(&kind)},
		field{"text", r.text(&to.Text)},
		field{"call_id", r.text(&to.CallID)},
		field{"tool", r.text(&to.Tool)},
		field{"args", r.text(&to.Args)},
		field{"media_type", r.text(&to.MediaType)},
		field{"data", func(_ string, n *yamltree.Node) {
			data, err := base64.StdEncoding.DecodeString(n.Text)
			if n.Kind != yamltree.Text || err != nil {
				r.fail(n, "expected base64")
				return
			}
			to.Data = data
		}},
		field{"provider", r.text(&to.Provider)},
		field{"opaque", r.verbatim(&to.Opaque)},
	)
	to.Kind = cairn.PartKind(kind)
}

func (r *reader) recordedFailure(to *model.Failure) into {
	return func(path string, n *yamltree.Node) {
		to.Err = &cairn.Error{}
		var code string
		r.object(path, n,
			field{"code", r.text(&code)},
			field{"message", r.text(&to.Err.Message)},
			field{"retry_after", r.duration(&to.Err.RetryAfter)},
			field{"retryable", r.boolean(&to.Err.Retryable)},
			field{"not_done", r.boolean(&to.Err.NotDone)},
			field{"usage", optional(&to.Usage, r.usage)},
			field{"raw_usage", r.verbatim(&to.RawUsage)},
		)
		to.Err.Code = cairn.Code(code)
	}
}

// verbatim reads the text of a JSON document as it stands: a provider's own
// words, whose every byte may matter.
func (r *reader) verbatim(to *json.RawMessage) into {
	return func(_ string, n *yamltree.Node) {
		if n.Kind != yamltree.Text || !json.Valid([]byte(n.Text)) {
			r.fail(n, "expected JSON as text, in quotes")
			return
		}
		*to = json.RawMessage(n.Text)
	}
}
