package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/model/script"
)

// scriptsName is the directory in the data directory that holds the scripts of
// the agents that were run or applied from here. A copy is kept, so that whoever
// carries a session on, a server or a later command, finds the same replies.
const scriptsName = "scripts"

// maxScript bounds a script, in bytes.
const maxScript = script.MaxFile

// scriptEnds are the endings of script files, in the order in which they are found.
var scriptEnds = []string{".yaml", ".yml", ".json"}

// scriptFolders are the directories in which a node of this process looks for the
// replies of script models.
func (a *app) scriptFolders(first ...string) []string {
	return slices.Concat(first, filepath.SplitList(a.Getenv("CAIRN_SCRIPTS")), []string{filepath.Join(a.data, scriptsName)})
}

// keepScripts copies the scripts that an agent's models name into the data
// directory: from the directories given, else from that of the agent file and
// from scripts in it. A script that is not there may be known to the server.
func (a *app) keepScripts(file string, agent *cairn.Agent, dirs []string) error {
	if a.server != "" || a.data == "" {
		return nil
	}
	if len(dirs) == 0 {
		dirs = []string{filepath.Dir(file), filepath.Join(filepath.Dir(file), "scripts")}
	}
	for _, model := range append([]string{agent.Model}, agent.Fallback...) {
		name, ok := strings.CutPrefix(model, "script/")
		name, _, _ = strings.Cut(name, "/") // the model of a recording stands after it
		if !ok || !filepath.IsLocal(name) || strings.ContainsRune(name, '\\') {
			continue
		}
		found, err := a.keepScript(name, dirs)
		if err != nil {
			return fmt.Errorf("script %s: %w", name, err)
		}
		if a.unfound == nil {
			a.unfound = map[string]bool{}
		}
		a.unfound[model] = !found
	}
	return nil
}

// keepScript copies the first script of a name that lies in one of the directories.
func (a *app) keepScript(name string, dirs []string) (found bool, err error) {
	for _, dir := range dirs {
		for _, end := range scriptEnds {
			data, err := readScript(filepath.Join(dir, name+end))
			if errors.Is(err, os.ErrNotExist) {
				continue
			}
			if err != nil {
				return false, err
			}
			return true, a.unwritable(a.writeScript(name, end, data))
		}
	}
	return false, nil
}

func readScript(path string) ([]byte, error) {
	switch info, err := os.Stat(path); {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular(): // a pipe might never be written to
		return nil, usage(fmt.Errorf("%s is no regular file", path))
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // it is only read
	data, err := io.ReadAll(io.LimitReader(f, maxScript+1))
	if err == nil && len(data) > maxScript {
		err = fmt.Errorf("%s has more than %d bytes", path, maxScript)
	}
	return data, err
}

// writeScript makes the copy what is found under the name, as a whole or not at all.
func (a *app) writeScript(name, end string, data []byte) (err error) {
	folder := filepath.Join(a.data, scriptsName)
	path := filepath.Join(folder, name+end)
	if old, err := readScript(path); err != nil || !bytes.Equal(old, data) {
		if err := os.MkdirAll(folder, 0o700); err != nil {
			return err
		}
		tmp, err := os.CreateTemp(folder, ".new-*")
		if err != nil {
			return err
		}
		_, err = tmp.Write(data)
		if err = errors.Join(err, tmp.Sync(), tmp.Close()); err == nil {
			err = os.Rename(tmp.Name(), path)
		}
		if err != nil {
			return errors.Join(err, os.Remove(tmp.Name()))
		}
	}
	for _, other := range scriptEnds {
		if other == end {
			continue
		}
		stale := filepath.Join(folder, name+other)
		if _, err := os.Lstat(stale); errors.Is(err, os.ErrNotExist) {
			continue // a file system that cannot be written would refuse all the same
		}
		if err := os.Remove(stale); err != nil {
			return err
		}
	}
	return nil
}
