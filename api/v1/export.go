package v1

import (
	"encoding/json"
	"time"

	"github.com/cairn-run/cairn"
)

// ExportFormat names the portable form of a session: JSON, one object a line. The
// first line is an [ExportHead], then come the definitions of the agents it ran
// under ([ExportAgent]) and all its events ([Event]) in order, and the last line is
// an [ExportEnd]. A reader knows a line by its type; a file without the last line
// is not whole.
const ExportFormat = "cairn.session/1"

// Types of the lines of an export that are not events.
const (
	ExportHeadType  = "export"
	ExportAgentType = "agent"
	ExportEndType   = "end"
)

// MediaNDJSON is the media type of an export.
const MediaNDJSON = "application/x-ndjson"

// ExportHead is the first line of an export.
type ExportHead struct {
	Type     string    `json:"type" enum:"export"`
	Format   string    `json:"format" enum:"cairn.session/1"`
	Version  string    `json:"version" doc:"of the program that wrote it"`
	Exported time.Time `json:"exported"`
	Session  Session   `json:"session" doc:"as it was when the export began"`
}

// ExportAgent is a definition that the session ran under.
type ExportAgent struct {
	Type       string          `json:"type" enum:"agent"`
	Name       string          `json:"name"`
	Digest     cairn.Digest    `json:"digest" doc:"SHA-256 of the definition as it stands here"`
	Definition json.RawMessage `json:"definition" doc:"canonical JSON"`
}

// ExportEnd is the last line of an export.
type ExportEnd struct {
	Type   string    `json:"type" enum:"end"`
	Events int       `json:"events"`
	Last   cairn.Seq `json:"last" doc:"sequence number of the last event"`
	// Digest is that of all bytes before this line.
	Digest cairn.Digest `json:"digest" doc:"SHA-256 of all bytes before this line"`
}
