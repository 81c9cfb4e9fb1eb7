package anthropic

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/cairn-run/cairn"
)

// Stand-ins where the API takes no empty text.
const (
	noText  = "(no text)"
	noError = "(failed without a message)"
)

// history writes messages. Turns of one role that follow each other become one:
// servers that copy the API want the roles to take turns.
type history struct {
	provider string
	out      []Message
	taken    map[string]int // ids of calls, and how often they were wanted
	open     []string       // ids of the last turn's calls, in order
	called   []string       // names of tools, each once
}

func (h *history) encode(messages []cairn.Message) error {
	for i := range messages {
		m := &messages[i]
		var blocks Blocks
		var err error
		role := "user"
		switch m.Role {
		case cairn.RoleAssistant:
			role = "assistant"
			h.open = nil
			blocks = h.assistant(m.Content)
		case cairn.RoleTool:
			blocks = h.results(m.Content)
		default:
			blocks, err = h.user(m.Content)
		}
		if err != nil {
			return err
		}
		if last := len(h.out) - 1; last >= 0 && h.out[last].Role == role {
			h.out[last].Content = append(h.out[last].Content, blocks...)
		} else if len(blocks) > 0 {
			h.out = append(h.out, Message{Role: role, Content: blocks})
		}
	}
	return nil
}

// assistant writes an answer. What another provider alone understands is left out.
func (h *history) assistant(parts []cairn.Part) Blocks {
	var out Blocks
	for i := range parts {
		p := &parts[i]
		own := p.Provider == h.provider
		var raw json.RawMessage
		if own && json.Valid(p.Opaque) {
			raw = p.Opaque
		}
		switch p.Kind {
		case cairn.PartText:
			if strings.TrimSpace(p.Text) == "" {
				continue // the API does not take back what it sent; see the package's doc
			}
			out = append(out, Block{Type: BlockText, Text: p.Text, Raw: raw})
		case cairn.PartReasoning:
			if own {
				b := blockOf(p)
				b.Raw = raw
				out = append(out, b)
			}
		case cairn.PartOpaque:
			if raw != nil {
				out = append(out, Block{Raw: raw})
			}
		case cairn.PartToolCall:
			out = append(out, h.call(p, raw))
		case cairn.PartImage, cairn.PartFile:
			// Another model made it: this API has no place for it in an answer.
			out = append(out, Block{Type: BlockText, Text: unseen(p)})
		}
	}
	// "The final block in an assistant message cannot be `thinking`": of an answer that
	// was cut within its thoughts, which has no signature either.
	for len(out) > 0 && thinks(&out[len(out)-1]) {
		out = out[:len(out)-1]
	}
	return out
}

// thinks says whether a block is thought, readable or not.
func thinks(b *Block) bool {
	kind := b.Type
	if b.Raw != nil {
		o, _ := parseObject(b.Raw) // none: it has no type
		kind = o.text("type")
	}
	return kind == BlockThinking || kind == "redacted_thinking"
}

// unseen stands where something is that the API has no place for.
func unseen(p *cairn.Part) string {
	return fmt.Sprintf("(%s: %s, %d bytes)", p.Kind, p.MediaType, len(p.Data))
}

// call writes a call of a tool. The API wants an object for its arguments, and an
// id that no other call has and that is made of letters, digits, "_" and "-".
// Models and other providers keep to neither: broken arguments become {} (the
// result says that they were broken), ids are replaced.
func (h *history) call(p *cairn.Part, raw json.RawMessage) Block {
	id := h.id(p.CallID)
	name := clean(p.Tool, 128)
	if !slices.Contains(h.called, name) {
		h.called = append(h.called, name)
	}
	h.open = append(h.open, id)
	if o, ok := parseObject(raw); ok {
		changed := false
		if id != p.CallID {
			o.setText("id", id)
			changed = true
		}
		if name != p.Tool { // models call tools that cannot be
			o.setText("name", name)
			changed = true
		}
		if !isObject(o.get("input")) {
			o.set("input", json.RawMessage(`{}`))
			changed = true
		}
		if changed {
			raw = o.encode()
		}
		return Block{Type: BlockToolUse, Raw: raw}
	}
	input := json.RawMessage(p.Args)
	if !isObject(input) {
		input = json.RawMessage(`{}`)
	}
	return Block{Type: BlockToolUse, ID: id, Name: name, Input: input}
}

// id is a call's own id if the API takes it, else one made of it and of how often
// it was there before: it depends on nothing that comes later.
func (h *history) id(own string) string {
	base := clean(own, 0)
	id := base
	for n := h.taken[base] + 1; h.taken[id] > 0; n++ {
		id = base + "_" + strconv.Itoa(n)
		h.taken[base] = n
	}
	h.taken[id] = max(1, h.taken[id])
	return id
}

// clean replaces what is no letter, digit, "_" or "-", and cuts at most bytes; 0:
// any length.
func clean(s string, most int) string {
	s = strings.Map(func(r rune) rune {
		if r == '_' || r == '-' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			return r
		}
		return '_'
	}, s)
	if s == "" {
		return "_"
	}
	if most > 0 && len(s) > most {
		return s[:most]
	}
	return s
}

// results writes the results of the calls before them, in their order.
func (h *history) results(parts []cairn.Part) Blocks {
	var out Blocks
	for i := range parts {
		p := &parts[i]
		b := Block{Type: BlockToolResult, ToolUseID: clean(p.CallID, 0), IsError: p.IsError}
		if i < len(h.open) {
			b.ToolUseID = h.open[i]
		}
		if strings.TrimSpace(p.Text) != "" {
			b.Content = Blocks{{Type: BlockText, Text: p.Text}}
		}
		for j := range p.Parts {
			inner, err := h.content(&p.Parts[j])
			if err != nil { // no reason to refuse every later request of the session
				inner = Blocks{{Type: BlockText, Text: unseen(&p.Parts[j])}}
			}
			b.Content = append(b.Content, inner...)
		}
		if len(b.Content) == 0 && p.IsError { // "content cannot be empty if `is_error` is true"
			b.Content = Blocks{{Type: BlockText, Text: noError}}
		}
		out = append(out, b)
	}
	return out
}

func (h *history) user(parts []cairn.Part) (Blocks, error) {
	var out Blocks
	for i := range parts {
		blocks, err := h.content(&parts[i])
		if err != nil {
			return nil, err
		}
		out = append(out, blocks...)
	}
	if len(out) == 0 {
		out = Blocks{{Type: BlockText, Text: noText}}
	}
	return out, nil
}

// content writes what a person or a tool may say: text, images
// (https://platform.claude.com/docs/en/build-with-claude/vision) and documents
// (https://platform.claude.com/docs/en/build-with-claude/pdf-support). Blank text
// is nothing.
func (h *history) content(p *cairn.Part) (Blocks, error) {
	if p.Kind == cairn.PartText {
		if strings.TrimSpace(p.Text) == "" {
			return nil, nil
		}
		return Blocks{{Type: BlockText, Text: p.Text}}, nil
	}
	if p.Kind != cairn.PartImage && p.Kind != cairn.PartFile {
		return nil, invalid("a message to %s cannot hold a %s", h.provider, p.Kind)
	}
	if len(p.Data) == 0 {
		return nil, invalid("a message to %s holds an empty %s", h.provider, p.Kind)
	}
	media, _, err := mime.ParseMediaType(p.MediaType)
	if err != nil {
		return nil, invalid("a message to %s holds a %s of the type %q, which is no media type", h.provider, p.Kind, p.MediaType)
	}
	if real := http.DetectContentType(p.Data); p.Kind == cairn.PartImage && images[real] {
		media = real // "Image does not match the provided media type": tools name it wrong
	}
	switch media {
	case "image/jpg":
		return Blocks{{Type: BlockImage, Source: inline("image/jpeg", p.Data)}}, nil
	case "image/jpeg", "image/png", "image/gif", "image/webp":
		return Blocks{{Type: BlockImage, Source: inline(media, p.Data)}}, nil
	case "application/pdf":
		return Blocks{{Type: BlockDocument, Source: inline(media, p.Data)}}, nil
	}
	if (strings.HasPrefix(media, "text/") || media == "application/json") && utf8.Valid(p.Data) {
		if strings.TrimSpace(string(p.Data)) == "" {
			return Blocks{{Type: BlockText, Text: noText}}, nil
		}
		return Blocks{{Type: BlockDocument, Source: &Source{Type: "text", MediaType: "text/plain", Data: string(p.Data)}}}, nil
	}
	return nil, invalid("%s takes JPEG, PNG, GIF and WebP images, PDF and text in UTF-8, not %s", h.provider, media)
}

// images are the types that the API takes.
var images = map[string]bool{"image/jpeg": true, "image/png": true, "image/gif": true, "image/webp": true}

func inline(media string, data []byte) *Source {
	return &Source{Type: "base64", MediaType: media, Data: base64.StdEncoding.EncodeToString(data)}
}
