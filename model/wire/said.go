package wire

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"time"
)

// said is what providers put into the body of an error.
type said struct {
	Type, Code, Status, Message string
	RetryAfter                  time.Duration
}

// parse reads the forms {"error": {…}}, {"error": "…"}, {"message": …},
// {"detail": …}, [{"error": …}] and {"type": "error", "error": …}; of anything
// else the beginning is the message.
func parse(body []byte) said {
	body = bytes.TrimSpace(body)
	if !json.Valid(body) {
		return said{Message: string(body)}
	}
	if body[0] == '[' {
		var list []json.RawMessage
		if json.Unmarshal(body, &list) == nil && len(list) > 0 {
			body = list[0]
		}
	}
	if body[0] != '{' {
		return said{Message: plain(body)}
	}
	var doc struct {
		Error    json.RawMessage `json:"error"`
		Message  any             `json:"message"`
		Detail   json.RawMessage `json:"detail"`
		Type     any             `json:"type"`
		Code     any             `json:"code"`
		Response struct {
			Error json.RawMessage `json:"error"` // OpenAI's response.failed
		} `json:"response"`
	}
	_ = json.Unmarshal(body, &doc) // what is of another type than expected stays empty
	inner := doc.Error
	if empty(inner) {
		inner = doc.Response.Error
	}
	switch {
	case empty(inner):
		s := said{Message: text(doc.Message), Code: text(doc.Code), Type: text(doc.Type)}
		if s.Message == "" && !empty(doc.Detail) {
			s.Message = plain(doc.Detail)
		}
		if s.Type == "error" {
			s.Type = ""
		}
		return s
	case inner[0] != '{':
		return said{Message: plain(inner), Code: text(doc.Code)}
	}
	return parseInner(inner)
}

// parseInner reads the object that is the error.
func parseInner(inner json.RawMessage) said {
	var e struct {
		Type     any `json:"type"`
		Code     any `json:"code"`
		Status   any `json:"status"`
		Message  any `json:"message"`
		Metadata struct {
			Raw any `json:"raw"` // OpenRouter: what the provider behind it said
		} `json:"metadata"`
		Details json.RawMessage `json:"details"`
	}
	_ = json.Unmarshal(inner, &e) // as above
	s := said{Type: text(e.Type), Code: text(e.Code), Status: text(e.Status), Message: text(e.Message)}
	if raw := text(e.Metadata.Raw); raw != "" {
		s.Message = strings.TrimSpace(s.Message + " (" + raw + ")")
	}
	// Google (https://cloud.google.com/apis/design/errors#error_details).
	var details []struct {
		Reason     string `json:"reason"`
		RetryDelay string `json:"retryDelay"`
	}
	_ = json.Unmarshal(e.Details, &details)
	for _, d := range details {
		if wait, err := time.ParseDuration(d.RetryDelay); err == nil && wait > 0 {
			s.RetryAfter = wait
		}
		if d.Reason != "" && s.Type == "" {
			s.Type = d.Reason
		}
	}
	return s
}

func empty(raw json.RawMessage) bool { return len(raw) == 0 || string(raw) == "null" }

// text is a JSON scalar as text.
func text(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	return ""
}

// plain is a JSON string as text, and anything else as it is.
func plain(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s
	}
	return string(raw)
}
