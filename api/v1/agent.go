package v1

import (
	"encoding/json"
	"time"

	"github.com/cairn-run/cairn"
)

// AgentVersion is one version of an agent's definition.
type AgentVersion struct {
	Name        string       `json:"name"`
	Digest      cairn.Digest `json:"digest" doc:"hash of the canonical definition: its version"`
	Created     time.Time    `json:"created"`
	Description string       `json:"description,omitzero"`
	Model       string       `json:"model"`
	// Definition is only there when one version is asked for.
	Definition json.RawMessage `json:"definition,omitempty" doc:"canonical JSON; absent in lists"`
}

// AgentVersionFrom shows a stored definition.
func AgentVersionFrom(name string, digest cairn.Digest, created time.Time, definition []byte, full bool) AgentVersion {
	v := AgentVersion{Name: name, Digest: digest, Created: created}
	var a struct {
		Description string `json:"description"`
		Model       string `json:"model"`
	}
	if json.Unmarshal(definition, &a) == nil {
		v.Description, v.Model = a.Description, a.Model
	}
	if full {
		v.Definition = definition
	}
	return v
}

// AgentList holds the current version of every agent.
type AgentList struct {
	Agents []AgentVersion `json:"agents"`
}

// AgentVersions are the versions of an agent, the newest first.
type AgentVersions struct {
	Current  cairn.Digest   `json:"current" doc:"the version that new sessions start with"`
	Versions []AgentVersion `json:"versions"`
}

// Applied says what applying a definition did.
type Applied struct {
	AgentVersion
	New    bool `json:"new" doc:"false: this version was there already"`
	DryRun bool `json:"dry_run,omitzero" doc:"it was only checked, and not stored"`
}

// Totals is what a tenant used.
type Totals struct {
	Agents []AgentTotal `json:"agents"`
	Total  Total        `json:"total"`
}

// AgentTotal is what the sessions of one agent used.
type AgentTotal struct {
	Agent string `json:"agent"`
	Total
}

// Total adds up sessions.
type Total struct {
	Sessions int         `json:"sessions"`
	Usage    cairn.Usage `json:"usage"`
	Cost     cairn.Money `json:"cost" doc:"settled"`
	Reserved cairn.Money `json:"reserved" doc:"held for calls in flight"`
}

// Add returns the sum of two totals.
func (t Total) Add(u Total) Total {
	t.Sessions += u.Sessions
	t.Usage = t.Usage.Add(u.Usage)
	t.Cost += u.Cost
	t.Reserved += u.Reserved
	return t
}

// Health says that the process is up, or ready to take requests.
type Health struct {
	Status string `json:"status" enum:"ok"`
}

// Version says what is running.
type Version struct {
	Version string `json:"version"`
	API     string `json:"api" enum:"v1"`
	Go      string `json:"go"`
}
