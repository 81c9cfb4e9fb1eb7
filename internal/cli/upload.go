package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"time"

	"github.com/cairn-run/cairn"
	v1 "github.com/cairn-run/cairn/api/v1"
)

// Bounds of what is told of an upload.
const (
	progressAfter = 500 * time.Millisecond // a short one needs no progress
	maxLeftNamed  = 5                      // entries that were left out, by name
)

// upload stores a directory as a tree that the session begins with.
func (a *app) upload(ctx context.Context, l *link, p *packing, quiet bool) (tree cairn.Digest, err error) {
	defer func() { err = errors.Join(err, p.close()) }()
	if len(p.left) > 0 {
		named := p.left[:min(len(p.left), maxLeftNamed)]
		more := ""
		if n := len(p.left) - len(named); n > 0 {
			more = fmt.Sprintf(" and %s more", count(int64(n)))
		}
		a.note("left out of the workspace: %s%s", oneLine(strings.Join(named, ", "), 0), more)
	}
	var done atomic.Int64
	stop := a.progress(p, &done, quiet)
	ws, err := l.send(ctx, p, &done)
	stop()
	if err != nil {
		return "", err
	}
	if !quiet {
		a.note("workspace %s: %s, %s bytes", digest(ws.Tree), plural(ws.Files, "file"), count(ws.Bytes))
	}
	return ws.Tree, nil
}

// send streams the tar while it is made.
func (l *link) send(ctx context.Context, p *packing, done *atomic.Int64) (v1.Workspace, error) {
	r, w := io.Pipe()
	packed := make(chan error, 1)
	go func() {
		err := p.write(ctx, w, func(n int64) { done.Add(n) })
		_ = w.CloseWithError(err) // always nil; without an error it is the end
		packed <- err
	}()
	ws, err := l.UploadWorkspace(ctx, r)
	_ = r.CloseWithError(errUploadOver) // always nil; what is still being packed is not wanted
	if perr := <-packed; perr != nil && !errors.Is(perr, errUploadOver) && err != nil {
		return ws, perr // it says more than the request that it broke
	}
	return ws, err
}

var errUploadOver = errors.New("cli: the upload is over")

// progress shows how far an upload has come, if it takes a while, and returns what
// takes that away.
func (a *app) progress(p *packing, done *atomic.Int64, quiet bool) (stop func()) {
	if !a.err.color || quiet {
		return func() {}
	}
	s := &screen{w: a.Stderr, live: true, width: a.Terminal.Width}
	g := glyphsOf(a.Getenv)
	ended, over := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(over)
		defer s.show(nil)
		wait := time.NewTimer(progressAfter)
		defer wait.Stop()
		select {
		case <-ended:
			return
		case <-wait.C:
		}
		tick := time.NewTicker(spinPause)
		defer tick.Stop()
		for {
			line := uploadLine(p, done.Load(), s.width())
			s.show([]string{a.err.cyan(g.spinner(a.Now())) + " " + a.err.dim(line)})
			select {
			case <-ended:
				return
			case <-tick.C:
			}
		}
	}()
	return func() { close(ended); <-over }
}

// uploadLine is the progress in words.
func uploadLine(p *packing, done int64, width int) string {
	text := fmt.Sprintf("workspace: storing %s, %s bytes", plural(p.files, "file"), count(p.bytes))
	if done < p.bytes {
		text = fmt.Sprintf("workspace: %s of %s bytes, %d%%, %s", count(done), count(p.bytes), done*100/p.bytes, plural(p.files, "file"))
	}
	return fit(text, width-4)
}
