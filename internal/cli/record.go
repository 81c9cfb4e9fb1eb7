package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cairn-run/cairn/model/record"
	"github.com/cairn-run/cairn/model/script"
)

// record begins to record the calls that the node of this process makes. The
// returned function ends that, once the node is closed: it takes the error that
// the command ends with, and returns it, or the recording's own.
func (a *app) record(path string) (end func(error) error, err error) {
	if !slices.Contains([]string{".yaml", ".yml"}, filepath.Ext(path)) {
		return nil, usage(fmt.Errorf("--record %s: give it the ending .yaml, so that script models find it", path))
	}
	r, err := record.Create(path, &script.Tape{})
	if errors.Is(err, fs.ErrExist) {
		return nil, usage(fmt.Errorf("--record %s: there is such a file, and nothing is recorded over: remove it, or choose another name", path))
	}
	if err != nil {
		return nil, fmt.Errorf("--record: %w", err)
	}
	a.wrap = r.Wrap
	return func(err error) error {
		calls, failed := r.Close()
		if calls > 0 {
			name := strings.TrimSuffix(filepath.Base(path), filepath.Ext(path))
			a.note("recorded %s in %s: model: script/%s plays them", plural(calls, "model call"), path, name)
		} else {
			a.note("no model call was recorded: there is no %s", path)
		}
		switch {
		case failed == nil:
		case err == nil:
			err = &exit{ExitStorage, fmt.Errorf("--record %s: %w", path, failed)}
		default:
			a.report(fmt.Errorf("--record %s: %w", path, failed), ExitStorage)
		}
		return err
	}, nil
}

// recordable says why a run with these flags cannot be recorded.
func (a *app) recordable(f runFlags) error {
	switch {
	case f.record == "":
	case a.server != "":
		return usage(fmt.Errorf("--record: the models are called by the server %s, and not by this process: leave out --server and $CAIRN_SERVER", a.server))
	case f.detach:
		return usage(errors.New("--record and --detach: a run that goes on without this process cannot be recorded by it"))
	}
	return nil
}

// errServed: another process performs what is to be recorded.
func (a *app) errServed() error {
	return &exit{ExitInUse, fmt.Errorf("--record: a server is running for %s and calls the models itself: stop it, or give another directory with --data", a.data)}
}
