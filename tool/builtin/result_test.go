package builtin_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/tool"
	"github.com/cairn-run/cairn/tool/builtin"
)

// TestReadResultPieces reads a text piece by piece: every piece is valid text, and
// together they are the whole, wherever the pieces end.
func TestReadResultPieces(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		whole := rapid.StringOfN(rapid.RuneFrom([]rune("aé€🙂\n")), 1, 200, -1).Draw(t, "text")
		d := builtin.New(builtin.Options{Results: func(_ context.Context, _ cairn.SessionKey, n cairn.Seq) (*cairn.ToolResult, error) {
			if n != 7 {
				return nil, cairn.Errorf(cairn.CodeNotFound, "no")
			}
			return &cairn.ToolResult{Content: []cairn.Part{cairn.Text(whole)}}, nil
		}})
		defer func() { _ = d.Close() }() // it holds nothing
		var read strings.Builder
		for read.Len() < len(whole) {
			args, err := json.Marshal(map[string]int{"result": 7, "offset": read.Len(), "limit": rapid.IntRange(1, 50).Draw(t, "limit")})
			if err != nil {
				t.Fatal(err)
			}
			r, err := d.Call(t.Context(), tool.Call{Tool: builtin.ReadResult, Args: args})
			if err != nil || r.IsError {
				t.Fatalf("%v: %v", r, err)
			}
			_, piece, _ := strings.Cut(cairn.TextOf(r.Content), "\n")
			if !utf8.ValidString(piece) || piece == "" {
				t.Fatalf("a piece is %q", piece)
			}
			read.WriteString(piece)
		}
		if read.String() != whole {
			t.Fatalf("read %q of %q", read.String(), whole)
		}
	})
}
