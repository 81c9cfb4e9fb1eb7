package builtin

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/cairn-run/cairn"
)

// skillsName is the directory in each version of the skills that is shown as
// [sandbox.SkillsDir].
const skillsName = "skills"

// skills writes the skills of an agent once and returns the directory that holds
// them; empty: there are none. The directory is named by their content, and is there
// whole or not at all.
func (d *Driver) skills(list []cairn.Skill) (string, error) {
	if len(list) == 0 {
		return "", nil
	}
	if d.o.SkillDir == "" {
		return "", &cairn.Error{Code: cairn.CodeInternal, Message: "this node has no place for skills", NotDone: true}
	}
	b, err := json.Marshal(list)
	if err != nil {
		return "", err
	}
	_, name, _ := strings.Cut(string(cairn.DigestOf(b)), ":")
	dir := filepath.Join(d.o.SkillDir, name)
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	if err := writeSkills(d.o.SkillDir, dir, list); err != nil {
		return "", &cairn.Error{Code: cairn.CodeUnavailable, Message: "the skills of the agent could not be written", Retryable: true, NotDone: true, Err: err}
	}
	return dir, nil
}

func writeSkills(parent, dir string, list []cairn.Skill) error {
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return err
	}
	temp, err := os.MkdirTemp(parent, newSkills)
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(temp) }() // it is gone when all went well
	for _, s := range list {
		for _, f := range s.Files {
			// Agent.Validate has seen to it that the path stays below the folder.
			p := filepath.Join(temp, skillsName, s.Name, filepath.FromSlash(f.Path))
			if !filepath.IsLocal(s.Name) || !filepath.IsLocal(filepath.FromSlash(f.Path)) {
				return errors.New("a file of a skill is outside its folder")
			}
			if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
				return err
			}
			mode := fs.FileMode(0o644)
			if f.Executable {
				mode = 0o755
			}
			if err := writeSynced(p, f.Content, mode); err != nil {
				return err
			}
		}
	}
	err = filepath.WalkDir(temp, func(p string, e fs.DirEntry, err error) error {
		if err == nil && e.IsDir() {
			err = os.Chmod(p, 0o755) // another user reads it, in the sandbox
		}
		return err
	})
	if err != nil {
		return err
	}
	if err := os.Rename(temp, dir); err != nil {
		if _, there := os.Stat(dir); there == nil { // another call was faster
			return nil
		}
		return err
	}
	return nil
}

func writeSynced(p string, content []byte, mode fs.FileMode) error {
	f, err := os.OpenFile(p, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Chmod(mode) // whatever the umask
	}
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	return err
}
