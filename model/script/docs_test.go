package script

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestDocs: the scripts in the documentation are scripts.
func TestDocs(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "script-model.md"))
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	var comment strings.Builder // the indented lines of the package's comment
	for line := range strings.Lines(string(source)) {
		if text, ok := strings.CutPrefix(line, "//\t"); ok {
			comment.WriteString(text)
		}
	}
	texts := map[string]string{"doc.go": comment.String()}
	for i, block := range strings.Split(string(page), "```yaml\n")[1:] {
		text, _, _ := strings.Cut(block, "```")
		texts[string(rune('a'+i))] = text
	}
	if len(texts) < 2 {
		t.Fatal("there is no example in the page")
	}
	for name, text := range texts {
		if _, err := Parse(name, []byte(text)); err != nil {
			t.Error(err)
		}
	}
}
