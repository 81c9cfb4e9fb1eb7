package builtin

import (
	"html"
	"strings"
)

// silent are elements whose content is not shown.
var silent = map[string]bool{"script": true, "style": true, "noscript": true, "template": true, "svg": true, "head": true}

// blocks are elements that stand on lines of their own.
var blocks = map[string]bool{
	"p": true, "div": true, "br": true, "li": true, "ul": true, "ol": true, "tr": true, "table": true, "section": true, "article": true,
	"header": true, "footer": true, "nav": true, "main": true, "aside": true, "pre": true, "blockquote": true, "hr": true, "title": true,
	"h1": true, "h2": true, "h3": true, "h4": true, "h5": true, "h6": true, "dl": true, "dt": true, "dd": true, "form": true, "option": true,
}

// htmlText is the text of a page: no tags, scripts or styles, white space drawn
// together, one line for each block. It is for reading only: nothing safe is made of it.
func htmlText(page string) string {
	var out strings.Builder
	quiet := "" // the silent element that is open
	for len(page) > 0 {
		at := strings.IndexByte(page, '<')
		if at < 0 {
			at = len(page)
		}
		if quiet == "" {
			out.WriteString(html.UnescapeString(page[:at]))
		}
		page = page[at:]
		if page == "" {
			break
		}
		if strings.HasPrefix(page, "<!--") {
			_, rest, ok := strings.Cut(page[4:], "-->")
			if !ok {
				break
			}
			page = rest
			continue
		}
		name, closing, rest, ok := tag(page)
		if !ok { // a "<" that begins no tag
			if quiet == "" {
				out.WriteByte('<')
			}
			page = page[1:]
			continue
		}
		page = rest
		switch {
		case quiet != "":
			if closing && name == quiet {
				quiet = ""
			}
		case silent[name] && !closing:
			quiet = name
		case blocks[name]:
			out.WriteByte('\n')
			if name == "li" && !closing {
				out.WriteString("- ")
			}
		case name == "td" || name == "th":
			out.WriteByte('\t')
		}
	}
	var lines []string
	for line := range strings.Lines(out.String()) {
		if line = strings.Join(strings.Fields(line), " "); line != "" && line != "-" {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "\n")
}

// tag reads a tag at the beginning of a text; quoted values may hold ">". One that
// does not end takes all there is.
func tag(s string) (name string, closing bool, rest string, ok bool) {
	i := 1
	if i < len(s) && s[i] == '/' {
		closing = true
		i++
	}
	start := i
	for i < len(s) && (s[i] >= 'a' && s[i] <= 'z' || s[i] >= 'A' && s[i] <= 'Z' || i > start && s[i] >= '0' && s[i] <= '9') {
		i++
	}
	name = strings.ToLower(s[start:i])
	if name == "" && (start >= len(s) || s[start] != '!' && s[start] != '?') {
		return "", false, "", false
	}
	var quote byte
	for ; i < len(s); i++ {
		switch c := s[i]; {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '"' || c == '\'':
			quote = c
		case c == '>':
			return name, closing, s[i+1:], true
		}
	}
	return name, closing, "", true
}
