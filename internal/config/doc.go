// Package config reads agent files: Markdown with YAML front matter, YAML or
// JSON. Reading is strict: an unknown field is an error, and every error points
// at a line and says what was expected.
//
// The JSON Schema of the file is generated from the same Go types
// ([Schema], committed as spec/agent.schema.json).
package config
