package cli

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// scriptsName is a file of the data directory that lists, one a line, where the
// replies of script models were found: whoever carries a session on after a
// crash finds them again.
const scriptsName = "scripts"

// maxScripts bounds the list; the oldest are forgotten.
const maxScripts = 64

// scripts are the directories of script models: $CAIRN_SCRIPTS, then those that
// were remembered.
func (a *app) scripts() []string {
	dirs := filepath.SplitList(a.Getenv("CAIRN_SCRIPTS"))
	f, err := os.Open(filepath.Join(a.data, scriptsName))
	if err != nil {
		return dirs
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() && len(dirs) < 2*maxScripts {
		if dir := strings.TrimSpace(lines.Text()); dir != "" && !slices.Contains(dirs, dir) {
			dirs = append(dirs, dir)
		}
	}
	return dirs
}

// scriptDirs are the directories where an agent file's scripts may lie: its own,
// and scripts in it.
func scriptDirs(file string) []string {
	dirs := []string{filepath.Dir(file)}
	sub := filepath.Join(filepath.Dir(file), "scripts")
	if info, err := os.Stat(sub); err == nil && info.IsDir() {
		dirs = append(dirs, sub)
	}
	return dirs
}

// rememberScripts puts directories at the head of the list.
func (a *app) rememberScripts(dirs ...string) error {
	if a.server != "" || a.data == "" {
		return nil
	}
	var list []string
	known := a.scripts()
	for _, dir := range append(slices.Clone(dirs), known...) {
		abs, err := filepath.Abs(dir)
		if err != nil {
			return fmt.Errorf("directory of scripts: %w", err)
		}
		if !slices.Contains(list, abs) && !strings.Contains(abs, "\n") {
			list = append(list, abs)
		}
	}
	list = list[:min(len(list), maxScripts)]
	if slices.Equal(list, known) {
		return nil
	}
	if err := os.MkdirAll(a.data, 0o700); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(a.data, scriptsName+".*")
	if err != nil {
		return err
	}
	_, err = tmp.WriteString(strings.Join(list, "\n") + "\n")
	err = errors.Join(err, tmp.Sync(), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), filepath.Join(a.data, scriptsName))
	}
	if err != nil {
		_ = os.Remove(tmp.Name())
	}
	return err
}
