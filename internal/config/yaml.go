package config

import (
	"strings"

	"github.com/cairn-run/cairn/internal/yamltree"
)

// readYAML reads a YAML text that starts after `skip` lines of the file.
func (s *source) readYAML(text string, skip int) (*tree, error) {
	docs, bad := yamltree.Parse(text, yamltree.Options{Depth: maxDepth, Before: skip})
	switch {
	case bad != nil:
		return nil, s.malformed(bad)
	case len(docs) == 0:
		return &tree{At: place{Line: skip + 1, Column: 1}}, nil
	case len(docs) > 1:
		return nil, s.at(docs[1].Start, "a second YAML document: %s holds one", s.what)
	}
	root := docs[0].Root
	refused := root.Find(func(n *tree) bool { return n.Kind == yamltree.NoNumber || n.Kind >= yamltree.Anchor })
	if refused == nil {
		return root, nil
	}
	switch refused.Kind {
	case yamltree.NoNumber:
		return nil, s.at(refused.At, "%s is not a number that can be used", refused.Text)
	case yamltree.Anchor, yamltree.Alias:
		return nil, s.at(refused.At, "anchors and aliases cannot be used in %s: write the value out, or put text that starts with & or * in quotes", s.what)
	case yamltree.Tag:
		return nil, s.at(refused.At, "tags cannot be used in %s: put text that starts with ! in quotes", s.what)
	}
	return nil, s.at(refused.At, "%s cannot be used in %s", refused.Kind, s.what)
}

func (s *source) malformed(bad *yamltree.Error) error {
	if bad.Repeated != "" {
		return s.at(bad.At, "field %q is given twice", bad.Repeated)
	}
	hint := ""
	if line := s.lines[max(bad.At.Line, 1)-1]; bad.Syntax && strings.Contains(line[:len(line)-len(strings.TrimLeft(line, " \t"))], "\t") {
		hint = " (indent with spaces, not with tabs)"
	} else if bad.Syntax && strings.Count(line, ": ") > 1 && !strings.ContainsAny(line, `{"'`) {
		hint = " (text that holds a colon and a space has to stand in quotes)"
	}
	return s.at(bad.At, "%v%s", bad, hint)
}
