package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/internal/config"
	"github.com/cairn-run/cairn/policy"
	"github.com/cairn-run/cairn/tool"
	"github.com/cairn-run/cairn/tool/builtin"
	toolhttp "github.com/cairn-run/cairn/tool/http"
	"github.com/cairn-run/cairn/tool/mcp"
)

// Bounds of what is applied at once.
const (
	maxAgentFiles = 1000
	maxEntries    = 50_000 // of a directory that agent files are looked for in
	maxProblems   = 20     // that are shown of the files
)

// agentFile is an agent file with the path under which it was found.
type agentFile struct {
	*config.File
	path string
}

// found is what paths stand for.
type found struct {
	files  []*agentFile
	almost []string // files that somebody may take for agents
	// whole says that a directory was named: what is not in it can be told.
	whole bool
}

// findAgents reads all agent files that paths stand for. If one is wrong, the error
// says of each what and where.
func (a *app) findAgents(paths []string) (*found, error) {
	tools := mcp.New(mcp.Options{Log: a.quietLogger()})
	defer func() { _ = tools.Close() }() // it has no connection: nothing is called
	catalog := tool.New(tool.Options{HTTP: toolhttp.New(), MCP: tools, Builtin: builtin.Tools(), Log: a.quietLogger()})
	all := &found{}
	var problems []error
	byName, byPath := map[string]string{}, map[string]bool{}
	for _, path := range paths {
		names, err := all.look(path)
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			if clean := filepath.Clean(name); byPath[clean] {
				continue
			} else if byPath[clean] = true; len(byPath) > maxAgentFiles {
				return nil, usage(fmt.Errorf("more than %d agent files: apply them in parts", maxAgentFiles))
			}
			f, err := readAgent(name)
			if err == nil {
				err = f.Locate(catalog.Validate(f.Agent))
			}
			if err == nil && byName[f.Agent.Name] != "" {
				err = f.Locate(&cairn.FieldError{Path: "name", Problem: fmt.Sprintf("agent %q stands in %s, too", f.Agent.Name, byName[f.Agent.Name])})
			}
			if err != nil {
				if os.IsNotExist(err) || os.IsPermission(err) { // codes of their own
					return nil, err
				}
				problems = append(problems, err)
				continue
			}
			byName[f.Agent.Name] = name
			all.files = append(all.files, &agentFile{f, name})
		}
	}
	if n := len(problems); n > maxProblems {
		problems = append(problems[:maxProblems], fmt.Errorf("… and %s more are wrong", plural(n-maxProblems, "file")))
	}
	if len(problems) > 0 {
		return nil, usage(errors.Join(problems...))
	}
	if len(all.files) == 0 {
		return nil, noFiles(paths)
	}
	return all, nil
}

// readAgent reads an agent file and checks what can be checked without a node.
func readAgent(path string) (*config.File, error) {
	f, err := config.ReadAgent(path)
	if err != nil {
		return nil, err
	}
	if _, err := policy.Compile(f.Agent.Policy); err != nil {
		return nil, f.Locate(err)
	}
	return f, nil
}

// look lists the agent files a path stands for: itself, or those in the directory,
// sorted by name.
func (f *found) look(path string) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return []string{path}, nil
	}
	f.whole = true
	dir, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	entries, err := dir.ReadDir(maxEntries + 1)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	if err = errors.Join(err, dir.Close()); err != nil {
		return nil, err
	}
	if len(entries) > maxEntries {
		return nil, usage(fmt.Errorf("%s has more than %d files: name the agent files", path, maxEntries))
	}
	var names []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") || e.IsDir() {
			continue
		}
		name := filepath.Join(path, e.Name())
		sort, err := config.Look(name)
		if errors.Is(err, fs.ErrNotExist) && e.Type()&fs.ModeSymlink != 0 { // it leads nowhere
			continue
		}
		if err != nil {
			return nil, err
		}
		switch sort {
		case config.Agent:
			names = append(names, name)
		case config.Almost:
			f.almost = append(f.almost, name)
		case config.Other:
		}
	}
	slices.Sort(names)
	slices.Sort(f.almost)
	return names, nil
}
