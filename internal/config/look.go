package config

import (
	"bytes"
	"encoding/json"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cairn-run/cairn/internal/yamltree"
)

// Sort says what a file that lies in a directory of agent files is.
type Sort int

// Sorts of files.
const (
	// Other is anything else: text, a schema, the script of a model, a skill.
	Other Sort = iota
	// Almost has a name and other fields of an agent, and no model: it is none, and
	// who wrote it may think that it is.
	Almost
	// Agent has the form of an agent, right or wrong.
	Agent
)

// Look says what the file at a path is, by its fields: an agent has a model and
// no replies, as the script of a model has. A file that cannot be read to its
// end counts as what it is up to there, so that a broken agent file is reported
// and a broken data file is not. SKILL.md is never an agent.
func Look(path string) (Sort, error) {
	ext := strings.ToLower(filepath.Ext(path))
	switch ext {
	case ".md", ".markdown", ".yaml", ".yml", ".json":
	default:
		return Other, nil
	}
	if strings.EqualFold(filepath.Base(path), skillFile) {
		return Other, nil
	}
	f, err := openWithoutWaiting(path)
	if err != nil {
		return Other, err
	}
	defer func() { _ = f.Close() }() // it is only read
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return Other, err
	}
	data, err := io.ReadAll(io.LimitReader(f, MaxSize))
	if err != nil {
		return Other, err
	}
	if ext == ".json" {
		return sortOf(jsonFields(data)), nil
	}
	text := strings.ReplaceAll(string(bytes.TrimPrefix(data, []byte("\uFEFF"))), "\r\n", "\n")
	s := &source{name: path, lines: strings.Split(text, "\n")}
	if ext == ".md" || ext == ".markdown" {
		if !s.fence(1) {
			return Other, nil // Markdown without fields is just text
		}
		front, _, ok := s.split()
		if !ok {
			front = strings.Join(s.lines[1:min(len(s.lines), maxFront)], "\n")
		}
		text = front
	}
	return sortOf(yamlFields(text)), nil
}

// maxFront is how many lines are taken for front matter whose end is missing.
const maxFront = 100

// sortOf decides by the names of the fields at the top.
func sortOf(fields []string) Sort {
	has := func(names ...string) bool {
		return slices.ContainsFunc(names, func(n string) bool { return slices.Contains(fields, n) })
	}
	switch {
	case has("replies", "cases", "default"):
		return Other
	case has("model"):
		return Agent
	case !has("name"):
		return Other
	}
	for _, f := range fields {
		// One letter is wrong, and it is not a word that other files have.
		if distance(strings.ToLower(f), "model") == 1 && !slices.Contains([]string{"models", "mode", "modes", "modal"}, f) {
			return Agent
		}
	}
	if has("tools", "instructions", "policy", "budget", "effects", "fallback", "skills") {
		return Almost
	}
	return Other
}

// yamlFields are the names of the fields at the top of a YAML text. Of one that
// cannot be parsed, they are what stands before a colon at the beginning of a line.
func yamlFields(text string) []string {
	var names []string
	if docs, bad := yamltree.Parse(text, yamltree.Options{Depth: maxDepth}); bad == nil {
		if len(docs) > 0 {
			for _, f := range docs[0].Root.Fields {
				names = append(names, f.Name)
			}
		}
		return names
	}
	for line := range strings.Lines(text) {
		name, _, ok := strings.Cut(line, ":")
		name = strings.Trim(strings.TrimRight(name, " "), `"'`)
		if ok && name != "" && !strings.ContainsAny(name, " \t#-{[") {
			names = append(names, name)
		}
	}
	return names
}

// jsonFields are the names of the fields at the top of a JSON text, up to where
// it ends or is broken.
func jsonFields(data []byte) []string {
	d := json.NewDecoder(bytes.NewReader(bytes.TrimPrefix(data, []byte("\uFEFF"))))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil
	}
	var names []string
	for d.More() {
		t, err := d.Token()
		name, ok := t.(string)
		if ok {
			names = append(names, name)
			err = skipJSON(d)
		}
		if err != nil || !ok {
			if len(data) < MaxSize && bytes.Contains(data, []byte(`"name"`)) && bytes.Contains(data, []byte(`"model"`)) {
				names = append(names, "name", "model") // somewhere behind the mistake
			}
			break
		}
	}
	return names
}

// skipJSON reads over one value, however deep it is.
func skipJSON(d *json.Decoder) error {
	for depth := 0; ; {
		t, err := d.Token()
		if err != nil {
			return err
		}
		switch t {
		case json.Delim('{'), json.Delim('['):
			depth++
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
		if depth == 0 {
			return nil
		}
	}
}
