package script

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/model"
)

// Provider is the name under which the driver is usually known.
const Provider = "script"

const (
	// MaxFile is the largest script, in bytes.
	MaxFile = 16 << 20
	// maxCached bounds the number of files kept in memory.
	maxCached = 256
	// maxListed bounds the names in a message.
	maxListed = 20
)

// extensions are tried in this order.
var extensions = []string{".yaml", ".yml", ".json"}

// scriptName may be a path within the folders, but not lead out of them.
var scriptName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*$`)

// Driver is a [model.Driver] that plays scripts.
type Driver struct {
	made map[string]made
	dirs []string

	mu    sync.Mutex
	files map[string]*file // by path
}

var _ model.Driver = (*Driver)(nil)

// made is a script that was made in code.
type made struct {
	script *Script
	err    error
}

// file is a script that was read, as it was at that time.
type file struct {
	size   int64
	mod    time.Time
	script *Script
	err    error
}

// Open returns a driver whose model NAME is the first NAME.yaml, NAME.yml or
// NAME.json in the folders, in their order. A folder may be missing. Files are
// read when they are needed, and again when they have changed.
func Open(dirs ...string) *Driver { return &Driver{dirs: dirs, files: map[string]*file{}} }

// New returns a driver over scripts that were made in code, by name. One that is
// not valid says so when it is used.
func New(scripts map[string]*Script) *Driver {
	d := &Driver{made: make(map[string]made, len(scripts))}
	for name, s := range scripts {
		d.made[name] = made{s, s.Validate()}
	}
	return d
}

// Info implements [model.Driver]. CodeNotFound: no such script; CodeInvalid: it
// has a mistake, and the message says where.
func (d *Driver) Info(ctx context.Context, name string) (cairn.ModelInfo, error) {
	if err := ctx.Err(); err != nil {
		return cairn.ModelInfo{}, err
	}
	s, of, err := d.script(name)
	if err != nil {
		return cairn.ModelInfo{}, err
	}
	if s.Recording != nil {
		info, ok := s.Recording.info(of)
		if !ok && of != "" {
			return info, notRecorded(name, of)
		}
		info.Name, info.Provider = name, Provider
		return info, nil
	}
	return cairn.ModelInfo{
		Name: name, Provider: Provider, Prices: cairn.Flat(s.Rates), Priced: !s.Unpriced, Window: s.Window, MaxOutput: s.MaxOutput,
	}, nil
}

// Call implements [model.Driver]. The model is the part of the request's model
// after the slash.
func (d *Driver) Call(ctx context.Context, c model.Call) iter.Seq2[model.Chunk, error] {
	return func(yield func(model.Chunk, error) bool) {
		fail := func(f *model.Failure) { yield(model.Chunk{}, f) }
		if err := ctx.Err(); err != nil {
			f := model.AsFailure(err)
			f.Err.NotDone = true
			fail(f)
			return
		}
		_, name := model.Split(c.Request.Model)
		s, of, err := d.script(name)
		if err != nil {
			fail(model.AsFailure(err))
			return
		}
		p, failed := s.plan(name, of, c.Request, c.Attempt)
		if failed != nil {
			fail(failed)
			return
		}
		p.play(ctx, yield)
	}
}

// play yields what was planned, in its time.
func (p *plan) play(ctx context.Context, yield func(model.Chunk, error) bool) {
	w := waiter{ctx: ctx}
	defer w.stop()
	if err := w.wait(p.delay); err != nil {
		yield(model.Chunk{}, model.AsFailure(err))
		return
	}
	if p.failed != nil {
		yield(model.Chunk{}, p.failed)
		return
	}
	left := -1 // bytes to stream, all of them
	if p.fail != nil {
		left = p.fail.AfterBytes
	}
	if left != 0 {
		first := true
		for delta := range p.deltas(left) {
			if !first {
				if err := w.wait(p.stream.Every); err != nil {
					yield(model.Chunk{}, model.AsFailure(err))
					return
				}
			}
			first = false
			if !yield(model.Chunk{Delta: &delta}, nil) {
				return
			}
		}
	}
	if p.fail == nil {
		yield(model.Chunk{Answer: p.answer}, nil)
		return
	}
	if err := w.wait(p.fail.Hang); err != nil {
		yield(model.Chunk{}, model.AsFailure(err))
		return
	}
	yield(model.Chunk{}, p.fail.failure())
}

// deltas yields the pieces of the answer, up to a number of bytes; negative: all.
func (p *plan) deltas(left int) iter.Seq[cairn.Delta] {
	return func(yield func(cairn.Delta) bool) {
		for i := range p.answer.Content {
			part := &p.answer.Content[i]
			text := part.Text
			switch part.Kind {
			case cairn.PartToolCall:
				text = part.Args
			case cairn.PartText, cairn.PartReasoning:
			default:
				continue // opaque: nothing to watch
			}
			for first := true; first || text != ""; first = false {
				n := len(text)
				if p.stream.Chunk > 0 {
					n = chunk(text, p.stream.Chunk)
				}
				if left >= 0 {
					n = min(n, runes(text, left))
				}
				if left == 0 || (n == 0 && text != "") {
					return
				}
				delta := cairn.Delta{Kind: part.Kind, Index: i, Text: text[:n], CallID: part.CallID, Tool: part.Tool}
				if !yield(delta) {
					return
				}
				text = text[n:]
				if left > 0 {
					left -= n
				}
			}
		}
	}
}

// chunk is the length of the next piece of s: n bytes, but at least one whole
// character.
func chunk(s string, n int) int {
	if k := runes(s, n); k > 0 {
		return k
	}
	for n < len(s) && runes(s, n) == 0 {
		n++
	}
	return min(n, len(s))
}

// waiter waits with one timer.
type waiter struct {
	ctx   context.Context
	timer *time.Timer
}

func (w *waiter) wait(d cairn.Duration) error {
	if err := w.ctx.Err(); err != nil || d <= 0 {
		return err
	}
	if w.timer == nil {
		w.timer = time.NewTimer(time.Duration(d))
	} else {
		w.timer.Reset(time.Duration(d))
	}
	select {
	case <-w.ctx.Done():
		return w.ctx.Err()
	case <-w.timer.C:
		return nil
	}
}

func (w *waiter) stop() {
	if w.timer != nil {
		w.timer.Stop()
	}
}

// script finds a script by name. After the name of a recording and a slash there
// may be the full name of a model: then it is what that model said.
func (d *Driver) script(name string) (_ *Script, of string, err error) {
	s, err := d.named(name)
	if !errors.Is(err, fs.ErrNotExist) {
		return s, "", err
	}
	for i := len(name) - 1; i > 0; i-- {
		if name[i] != '/' {
			continue
		}
		if s, err := d.named(name[:i]); err == nil && s.Recording != nil {
			return s, name[i+1:], nil
		}
	}
	return nil, "", d.notFound(name)
}

func notRecorded(name, of string) error {
	return &cairn.Error{
		Code: cairn.CodeNotFound, NotDone: true,
		Message: fmt.Sprintf("script %q: nothing of %s was recorded", strings.TrimSuffix(name, "/"+of), of),
	}
}

// named finds a script by exactly this name; fs.ErrNotExist: there is none.
func (d *Driver) named(name string) (*Script, error) {
	if m, ok := d.made[name]; ok {
		if m.err != nil {
			return nil, &cairn.Error{
				Code: cairn.CodeInvalid, Message: fmt.Sprintf("script %q: %v", name, m.err), NotDone: true,
			}
		}
		return m.script, nil
	}
	if scriptName.MatchString(name) {
		for _, dir := range d.dirs {
			for _, ext := range extensions {
				s, err := d.load(filepath.Join(dir, filepath.FromSlash(name)+ext))
				if err == nil || !errors.Is(err, fs.ErrNotExist) {
					return s, err
				}
			}
		}
	}
	return nil, fs.ErrNotExist
}

func (d *Driver) notFound(name string) error {
	names := d.names()
	there := "there are none"
	if len(names) > maxListed {
		names = append(names[:maxListed:maxListed], "…")
	}
	if len(names) > 0 {
		there = "there is: " + strings.Join(names, ", ")
	}
	if len(d.dirs) > 0 {
		there = fmt.Sprintf("put %s.yaml into %s; %s", filepath.Base(name), strings.Join(d.dirs, " or "), there)
	}
	return &cairn.Error{
		Code: cairn.CodeNotFound, NotDone: true, Message: fmt.Sprintf("no script is called %q; %s", name, there),
	}
}

// names lists the scripts there are, but not those in sub-folders.
func (d *Driver) names() []string {
	var names []string
	for name := range d.made {
		names = append(names, name)
	}
	for _, dir := range d.dirs {
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue // missing, or not ours to read: it is only for a message
		}
		for _, e := range entries {
			if ext := filepath.Ext(e.Name()); slices.Contains(extensions, ext) {
				names = append(names, strings.TrimSuffix(e.Name(), ext))
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// load reads a file, or takes it from memory if it has not changed since. An
// error of the script itself is kept too.
func (d *Driver) load(path string) (*Script, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, unreadable(path, err)
	}
	d.mu.Lock()
	f := d.files[path]
	d.mu.Unlock()
	if f != nil && f.size == info.Size() && f.mod.Equal(info.ModTime()) {
		return f.script, f.err
	}
	data, err := readFile(path)
	if err != nil {
		return nil, unreadable(path, err)
	}
	f = &file{size: info.Size(), mod: info.ModTime()}
	if f.script, err = Parse(filepath.Base(path), data); err != nil {
		f.err = &cairn.Error{Code: cairn.CodeInvalid, Message: err.Error(), NotDone: true}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.files) >= maxCached {
		clear(d.files)
	}
	d.files[path] = f
	return f.script, f.err
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read
	data, err := io.ReadAll(io.LimitReader(f, MaxFile+1))
	if err == nil && len(data) > MaxFile {
		err = fmt.Errorf("larger than %d bytes", MaxFile)
	}
	return data, err
}

func unreadable(path string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return &cairn.Error{
		Code: cairn.CodeInvalid, NotDone: true, Err: err,
		Message: fmt.Sprintf("script %s cannot be read", filepath.Base(path)),
	}
}
