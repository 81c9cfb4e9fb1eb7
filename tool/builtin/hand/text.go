package hand

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"unicode/utf8"
)

// bom is the byte order mark of UTF-8.
const bom = "\xef\xbb\xbf"

// cut shortens a text to n bytes at most, at the beginning of a character.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// size is a number of bytes as people read it.
func size(n int64) string {
	switch {
	case n < 1<<10:
		return fmt.Sprintf("%d B", n)
	case n < 1<<20:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	case n < 1<<30:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
}

// count is "1 line", "2 lines".
func count(n int, noun string) string {
	switch {
	case n == 1:
		return "1 " + noun
	case strings.HasSuffix(noun, "y"):
		return fmt.Sprintf("%d %sies", n, noun[:len(noun)-1])
	case strings.HasSuffix(noun, "ch"):
		return fmt.Sprintf("%d %ses", n, noun)
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// binaryHead is how much of a file is looked at to tell text from other content;
// git looks at as much.
const binaryHead = 8000

// isBinary says whether a file that begins with head is no text: as git does, by a
// NUL byte.
func isBinary(head []byte) bool {
	return bytes.IndexByte(head[:min(len(head), binaryHead)], 0) >= 0
}

// magic are the first bytes of kinds of files that agents meet (the "magic"
// database of file(1) has them all).
var magic = []struct{ prefix, kind string }{
	{"\x89PNG\r\n\x1a\n", "PNG image"},
	{"\xff\xd8\xff", "JPEG image"},
	{"GIF8", "GIF image"},
	{"%PDF-", "PDF document"},
	{"PK\x03\x04", "ZIP archive (or a document made as one)"},
	{"\x1f\x8b", "gzip data"},
	{"\x28\xb5\x2f\xfd", "zstd data"},
	{"BZh", "bzip2 data"},
	{"\xfd7zXZ\x00", "xz data"},
	{"7z\xbc\xaf\x27\x1c", "7-Zip archive"},
	{"\x7fELF", "ELF program or library"},
	{"SQLite format 3\x00", "SQLite database"},
	{"\x00asm", "WebAssembly module"},
	{"OggS", "Ogg media"},
	{"ID3", "MP3 audio"},
	{"PAR1", "Parquet data"},
	{"\xff\xfe", "UTF-16 text (little endian); make it UTF-8 with iconv"},
	{"\xfe\xff", "UTF-16 text (big endian); make it UTF-8 with iconv"},
}

// describe says what kind of file begins with head.
func describe(head []byte) string {
	for _, m := range magic {
		if bytes.HasPrefix(head, []byte(m.prefix)) {
			switch {
			case m.kind == "PNG image" && len(head) >= 24:
				return fmt.Sprintf("%s, %d x %d", m.kind, binary.BigEndian.Uint32(head[16:]), binary.BigEndian.Uint32(head[20:]))
			case m.kind == "GIF image" && len(head) >= 10:
				return fmt.Sprintf("%s, %d x %d", m.kind, binary.LittleEndian.Uint16(head[6:]), binary.LittleEndian.Uint16(head[8:]))
			}
			return m.kind
		}
	}
	if len(head) >= 12 && string(head[:4]) == "RIFF" {
		switch string(head[8:12]) {
		case "WEBP":
			return "WebP image"
		case "WAVE":
			return "WAVE audio"
		}
	}
	return "binary data"
}

// knownBinary says whether head begins like a file that is no text though it may
// have no NUL byte early on.
func knownBinary(head []byte) bool {
	return isBinary(head) || describe(head) != "binary data"
}

// plain makes text of bytes: U+FFFD stands for what is no UTF-8, and for NUL, which not
// every reader of a result takes.
func plain(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}

// isPlain says whether plain leaves a text as it is.
func isPlain(s string) bool { return utf8.ValidString(s) && !strings.Contains(s, "\x00") }

// numbered writes one line as models know it from cat -n.
func numbered(b *strings.Builder, n int, text string) {
	fmt.Fprintf(b, "%6d\t%s\n", n, text)
}
