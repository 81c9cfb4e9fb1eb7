package google

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/model"
	"github.com/cairn-run/cairn/model/wire"
)

// Stream puts an answer together from its chunks; an answer in one piece is a
// stream of one chunk. It is not safe for concurrent use.
type Stream struct {
	provider string
	parts    []*builder
	open     *builder // the call whose arguments are still coming
	ids      map[string]bool
	calls    int
	size     int

	modelVersion, responseID string
	finish, finishMessage    string
	blocked                  *PromptFeedback
	usage                    json.RawMessage
	grounding                grounding
	failed                   error

	deltas []cairn.Delta // of the chunk that is being taken

	// classify types an error that is reported within the stream.
	classify func(body []byte) *cairn.Error
}

// NewStream begins an answer. Provider is the name that its parts carry.
func NewStream(provider string) *Stream {
	return &Stream{
		provider: provider,
		ids:      map[string]bool{},
		classify: func(body []byte) *cairn.Error { return wire.Classify(provider, 0, nil, body) },
	}
}

// DecodeResponse reads an answer in one piece: a GenerateContentResponse, or the
// list of them that a stream is without server-sent events. The errors are those
// of [Stream]. Model is empty if the answer does not name it.
func DecodeResponse(provider string, body []byte) (*cairn.ModelAnswer, error) {
	s := NewStream(provider)
	if _, err := s.Add(body); err != nil {
		return nil, err
	}
	return s.Done()
}

// Add takes the next chunk, and says what it adds to which part of the answer. An
// error is a *[model.Failure] and ends the stream: CodeCut for what is not a chunk,
// or the error that the chunk reports.
func (s *Stream) Add(data []byte) ([]cairn.Delta, error) {
	if s.failed != nil {
		return nil, s.failed
	}
	s.deltas = nil
	chunks := []json.RawMessage{data}
	if t := bytes.TrimLeft(data, " \t\r\n"); len(t) > 0 && t[0] == '[' {
		if err := json.Unmarshal(t, &chunks); err != nil {
			return nil, s.fail(wire.Malformed(s.provider, "a chunk that is not JSON"))
		}
	}
	for _, c := range chunks {
		if err := s.chunk(c); err != nil {
			return s.deltas, s.fail(err)
		}
	}
	return s.deltas, nil
}

func (s *Stream) chunk(data []byte) error {
	if s.size += len(data); s.size > wire.MaxBody {
		return &cairn.Error{Code: cairn.CodeCut, Message: "the answer of " + s.provider + " is too large"}
	}
	var r Response
	if err := json.Unmarshal(data, &r); err != nil {
		return wire.Malformed(s.provider, "a chunk that is not a response")
	}
	if counts(r.UsageMetadata) {
		s.usage = wire.Compact(r.UsageMetadata)
	}
	if len(r.Error) > 0 && string(r.Error) != "null" {
		return s.classify(data)
	}
	if r.ModelVersion != "" {
		s.modelVersion = r.ModelVersion
	}
	if s.responseID == "" {
		s.responseID = r.ResponseID
	}
	if r.PromptFeedback != nil && r.PromptFeedback.BlockReason != "" {
		s.blocked = r.PromptFeedback
	}
	for i := range r.Candidates {
		if c := &r.Candidates[i]; c.Index == 0 {
			return s.candidate(c)
		}
	}
	return nil
}

func (s *Stream) candidate(c *Candidate) error {
	if c.Content != nil {
		for _, raw := range c.Content.Parts {
			if err := s.part(wire.Compact(raw)); err != nil {
				return err
			}
		}
	}
	s.grounding.add(c.GroundingMetadata)
	if c.FinishReason != "" {
		s.finish, s.finishMessage = c.FinishReason, c.FinishMessage
		s.cutCall()
	}
	return nil
}

// Done returns the answer. An error is a *[model.Failure] with the usage that was
// reported: CodeCut if the stream ended before Google said why it stopped or with
// a call that is malformed, CodeRefused if the prompt was blocked.
func (s *Stream) Done() (*cairn.ModelAnswer, error) {
	if s.failed != nil {
		return nil, s.failed
	}
	if s.finish == "" {
		if s.blocked != nil {
			return nil, s.fail(&cairn.Error{Code: cairn.CodeRefused, Message: reason(s.provider+" blocked the prompt", s.blocked.BlockReason, s.blocked.BlockReasonMessage)})
		}
		return nil, s.fail(&cairn.Error{Code: cairn.CodeCut, Message: "the answer of " + s.provider + " broke off", Retryable: true})
	}
	stop, err := stopReason(s.provider, s.finish, s.finishMessage, s.calls > 0)
	if err != nil {
		return nil, s.fail(err)
	}
	a := &cairn.ModelAnswer{
		Model:    s.modelVersion,
		Content:  make([]cairn.Part, len(s.parts)),
		Stop:     stop,
		Finish:   s.finish,
		RawUsage: s.usage,
	}
	for i, b := range s.parts {
		a.Content[i] = b.part(s.provider)
	}
	a.Usage, a.Service, a.Beside = s.account()
	return a, nil
}

// Failure types an error that ended the stream from outside, with the usage that
// was reported until then.
func (s *Stream) Failure(err error) *model.Failure {
	f := model.AsFailure(err)
	if f.Usage == nil && len(s.usage) > 0 {
		u, _, _ := s.account()
		f.Usage, f.RawUsage = &u, s.usage
	}
	return f
}

func (s *Stream) fail(err error) error {
	s.failed = s.Failure(err)
	return s.failed
}

// account reads the usage and what else may be billed.
func (s *Stream) account() (u cairn.Usage, service string, beside []string) {
	if len(s.usage) > 0 {
		u, service, beside = ReadUsage(s.usage)
	}
	searches, more := s.grounding.billed(s.modelVersion)
	u.Searches = searches
	return u, service, append(beside, more...)
}

// stopReason reads a finish reason
// (https://ai.google.dev/api/generate-content#FinishReason, and for Vertex AI
// https://cloud.google.com/vertex-ai/generative-ai/docs/reference/rest/v1/GenerateContentResponse#FinishReason).
// One that is not known is taken for a refusal: new ones have been names of
// filters, and an answer must not pass for complete that is not.
func stopReason(provider, finish, message string, calls bool) (cairn.StopReason, error) {
	switch finish {
	case "STOP":
		if calls {
			return cairn.StopToolUse, nil
		}
		return cairn.StopEnd, nil
	case "MAX_TOKENS", "CONTINUATION": // the latter is a limit of the request
		return cairn.StopMaxOutput, nil
	case "MALFORMED_FUNCTION_CALL", "MALFORMED_RESPONSE", "UNEXPECTED_TOOL_CALL", "TOO_MANY_TOOL_CALLS":
		return "", wire.Malformed(provider, reason("the model made a call that cannot be", finish, message))
	case "OTHER", "FINISH_REASON_UNSPECIFIED", "IMAGE_OTHER", "NO_IMAGE":
		return "", wire.Malformed(provider, reason("it stopped for a reason that it does not say", finish, message))
	case "MISSING_THOUGHT_SIGNATURE":
		return "", &cairn.Error{Code: cairn.CodeInvalid, Message: reason(provider+" misses a signature of its own", finish, message)}
	default: // SAFETY, RECITATION, BLOCKLIST, PROHIBITED_CONTENT, SPII, LANGUAGE, IMAGE_SAFETY, MODEL_ARMOR …
		return cairn.StopRefusal, nil
	}
}

func reason(what, word, message string) string {
	what += " (" + clip(word, 80) + ")"
	if message != "" {
		what += ": " + clip(message, 300)
	}
	return what
}

func clip(s string, n int) string {
	if len(s) > n {
		s = s[:n] + "…"
	}
	return string(bytes.ToValidUTF8([]byte(s), []byte("\uFFFD")))
}

// callID is Google's own id of a call, if it gave one that is the only one of its
// kind in the answer, else one that is derived: the same for the same answer,
// whether it was streamed or not.
func (s *Stream) callID(own string) string {
	n := s.calls
	s.calls++
	id := own
	if id == "" {
		id = "call_"
		if s.responseID != "" {
			id += plain(s.responseID) + "_"
		}
		id += strconv.Itoa(n)
	}
	for base, i := id, n; s.ids[id]; i++ {
		id = fmt.Sprintf("%s_%d", base, i)
	}
	s.ids[id] = true
	return id
}

// plain keeps of an id what every provider allows in one, and no more than fits.
func plain(id string) string {
	b := make([]byte, 0, 24)
	for i := 0; i < len(id) && len(b) < cap(b); i++ {
		c := id[i]
		if c == '-' || c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' {
			b = append(b, c)
		}
	}
	return string(b)
}
