package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/internal/yamltree"
)

// skillFile is the file that makes a folder a skill.
const skillFile = "SKILL.md"

// Bounds of reading a skill's folder. How many bytes all skills of an agent may
// have is cairn.MaxSkillBytes.
const (
	maxSkillFiles   = 256 // as [cairn.Agent.Validate] has it
	maxSkillFolders = 256
	maxSkillDepth   = 16
	maxSkillPath    = 512 // bytes
)

// left out of a skill: what version control, the interpreter and the desktop put
// into any folder, and what would make another version of the same skill.
var leftOut = []string{".git", ".hg", ".svn", ".DS_Store", "Thumbs.db", "__pycache__"}

// spot is a place in a file that is not the agent file.
type spot struct {
	*source
	at place
}

// loadSkill reads the skill in a folder named relative to the agent file. The
// places of its fields are those in its SKILL.md.
func (d *decoder) loadSkill(at place, name, path string) (cairn.Skill, error) {
	var none cairn.Skill
	local := filepath.FromSlash(name)
	if !filepath.IsLocal(local) {
		return none, d.at(at, "%q is not below the directory of this file: a skill is a folder beside the agent file, or in one", short(name))
	}
	bad := func(err error) error {
		if e, ok := errors.AsType[*Error](err); ok {
			return e
		}
		return d.at(at, "skill %q: %s", short(name), cause(err))
	}
	dir := filepath.Dir(d.name)
	outer, err := os.OpenRoot(dir)
	if err != nil {
		return none, bad(err)
	}
	defer func() { _ = outer.Close() }() // it is only read
	root, err := outer.OpenRoot(local)
	if err != nil {
		return none, bad(err)
	}
	defer func() { _ = root.Close() }()
	r := &skillReader{root: root, left: cairn.MaxSkillBytes - d.skillBytes}
	if err := r.folder(".", 0); err != nil {
		return none, bad(err)
	}
	d.skillBytes = cairn.MaxSkillBytes - r.left
	i := slices.IndexFunc(r.files, func(f cairn.SkillFile) bool { return f.Path == skillFile })
	if i < 0 {
		return none, d.at(at, "skill %q: the folder has no %s", short(name), skillFile)
	}
	inner := &source{name: filepath.Join(dir, local, skillFile), what: "a skill"}
	skill, spots, err := inner.readSkill(r.files[i].Content)
	if err != nil {
		return none, err
	}
	for field, p := range spots {
		d.elsewhere[path+"."+field] = spot{inner, p}
	}
	if skill.Name == "" {
		skill.Name = filepath.Base(local)
	}
	if other, ok := d.skillNames[skill.Name]; ok {
		return none, d.at(at, "the skills in %q and %q are both called %q", short(other), short(name), short(skill.Name))
	}
	d.skillNames[skill.Name] = name
	skill.Files = r.files
	return skill, nil
}

// readSkill reads the name and the description in a SKILL.md. Its other fields
// belong to whoever wrote it (license, allowed-tools, metadata, compatibility and
// those of other programs): they stay in the file and mean nothing here.
func (s *source) readSkill(data []byte) (cairn.Skill, map[string]place, error) {
	var skill cairn.Skill
	if _, err := s.take(data); err != nil {
		return skill, nil, err
	}
	front, _, ok := s.split()
	if !ok {
		return skill, nil, s.at(place{Line: 1, Column: 1}, "%s begins with a line ---, the fields name and description, and another line ---", skillFile)
	}
	t, err := s.readYAML(front, 1)
	if err != nil {
		return skill, nil, err
	}
	if t.Kind != yamltree.Mapping {
		return skill, nil, s.at(t.At, "expected the fields name and description; found %s", t.Kind)
	}
	spots := map[string]place{"name": t.At}
	var others []string
	for _, f := range t.Fields {
		into := &skill.Name
		switch f.Name {
		case "name":
		case "description":
			into = &skill.Description
		default:
			others = append(others, f.Name)
			continue
		}
		spots[f.Name] = f.Value.At
		switch f.Value.Kind {
		case yamltree.Text, yamltree.Number, yamltree.Bool:
			*into = strings.TrimSpace(f.Value.Text)
		default:
			return skill, nil, s.at(f.Value.At, "%s: expected text; found %s", f.Name, f.Value.Kind)
		}
	}
	if skill.Description == "" {
		hint := ""
		for _, name := range others {
			if _, ok := near(name, []string{"description"}); ok {
				hint = fmt.Sprintf(" (%q is not known)", short(name))
			}
		}
		return skill, nil, s.at(t.At, "field \"description\" is missing%s: it is all the model sees until it reads the skill", hint)
	}
	return skill, spots, nil
}

// skillReader takes the files of a folder into memory. It stays in the folder
// whatever links are in it: root does not follow one out of it.
type skillReader struct {
	root    *os.Root
	files   []cairn.SkillFile
	folders int
	left    int // bytes that may still be read
}

// problem is what is wrong with a file of a skill.
func problem(name, format string, args ...any) error {
	return fmt.Errorf("%q %s", short(name), fmt.Sprintf(format, args...))
}

// folder reads what is in a folder below the skill's own.
func (r *skillReader) folder(dir string, depth int) error {
	if r.folders++; r.folders > maxSkillFolders || depth > maxSkillDepth {
		return problem(dir, "is one folder too many: at most %d, nested at most %d deep", maxSkillFolders, maxSkillDepth)
	}
	f, err := r.root.Open(dir)
	if err != nil {
		return err
	}
	// A folder with more entries than could be kept is not read to its end.
	most := maxSkillFiles + maxSkillFolders + len(leftOut)
	entries, err := f.ReadDir(most + 1)
	if err = errors.Join(ignoreEOF(err), f.Close()); err != nil {
		return err
	}
	if len(entries) > most {
		return fmt.Errorf("more than %d files", maxSkillFiles)
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	for _, e := range entries {
		if slices.Contains(leftOut, e.Name()) {
			continue
		}
		name := path.Join(dir, e.Name())
		if why := badName(name, e.Name()); why != "" {
			return problem(name, "%s", why)
		}
		if e.IsDir() {
			err = r.folder(name, depth+1)
		} else {
			err = r.file(name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// badName says what is wrong with a name; empty: nothing. The name has to be the same
// in JSON, on a terminal and in the sandbox.
func badName(whole, name string) string {
	switch {
	case !utf8.ValidString(name):
		return "has a name that is not UTF-8"
	case strings.ContainsFunc(name, func(c rune) bool {
		return unicode.IsControl(c) || c == '\\' || unicode.Is(unicode.Bidi_Control, c)
	}):
		return "has a control character or a backslash in its name"
	case len(whole) > maxSkillPath:
		return fmt.Sprintf("is a path of more than %d bytes", maxSkillPath)
	}
	return ""
}

func (r *skillReader) file(name string) error {
	if len(r.files) == maxSkillFiles {
		return fmt.Errorf("more than %d files", maxSkillFiles)
	}
	// Without waiting: opening a pipe waits for somebody who writes.
	f, err := r.root.OpenFile(name, os.O_RDONLY|noWait, 0)
	if err != nil {
		return problem(name, "cannot be read: %s", cause(err))
	}
	defer func() { _ = f.Close() }() // it is only read
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() { // a device, a pipe, or a link to a folder
		return problem(name, "is no regular file: take it out of the folder")
	}
	data, err := io.ReadAll(io.LimitReader(f, int64(r.left)+1))
	if err != nil {
		return problem(name, "cannot be read: %s", cause(err))
	}
	if r.left -= len(data); r.left < 0 {
		return fmt.Errorf("with %q the skills of the agent have more than %d bytes", short(name), cairn.MaxSkillBytes)
	}
	r.files = append(r.files, cairn.SkillFile{Path: name, Content: data, Executable: info.Mode()&0o100 != 0})
	return nil
}

func ignoreEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// take reads the lines of a text that has to be UTF-8. However its lines end, it
// is read the same.
func (s *source) take(data []byte) (string, error) {
	data = bytes.TrimPrefix(data, []byte("\uFEFF"))
	text := strings.ReplaceAll(string(data), "\r\n", "\n")
	s.lines = strings.Split(text, "\n")
	for i, line := range s.lines {
		if at := strings.IndexFunc(line, func(r rune) bool { return r == utf8.RuneError }); at >= 0 && !utf8.ValidString(line) {
			return "", s.at(place{Line: i + 1, Column: utf8.RuneCountInString(line[:at]) + 1}, "not UTF-8 text")
		}
		if at := strings.IndexByte(line, 0); at >= 0 {
			return "", s.at(place{Line: i + 1, Column: utf8.RuneCountInString(line[:at]) + 1}, "a NUL byte: this is no text")
		}
	}
	return text, nil
}
