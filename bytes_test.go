package cairn_test

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/cairn-run/cairn"
)

// TestBytes: what is printed is read back, and what is no size is refused.
func TestBytes(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]cairn.Bytes{
		"0": 0, "65536": 64 << 10, "64Ki": 64 << 10, "512Mi": 512 << 20, "1Gi": 1 << 30, "8388607Ti": 8388607 << 40,
	} {
		var b cairn.Bytes
		if err := b.UnmarshalText([]byte(text)); err != nil || b != want {
			t.Errorf("%s is read as %d: %v", text, b, err)
		}
	}
	for _, text := range []string{"", "Mi", "-1", "+1", "1.5Gi", "1GB", "1 Gi", "8388608Ti", "9223372036854775808", "0x10"} {
		var b cairn.Bytes
		if err := b.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is read as %d", text, b)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		want := cairn.Bytes(rapid.Int64Min(0).Draw(t, "n"))
		var got cairn.Bytes
		if err := got.UnmarshalText([]byte(want.String())); err != nil || got != want {
			t.Fatalf("%d is printed as %s and read as %d: %v", want, want, got, err)
		}
	})
}
