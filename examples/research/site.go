package main

import (
	"context"
	"embed"
	"errors"
	"net"
	"net/http"
	"path"
	"strings"
	"sync"
	"time"
)

//go:embed pages/*.md
var pages embed.FS

// together are the pages that are answered only when all of them have been asked
// for: whoever fetches one after the other waits in vain.
var together = []string{"alder", "birch", "cedar", "dogwood"}

// site serves the pages of the example on a loopback address.
type site struct {
	addr   string
	server *http.Server

	mu     sync.Mutex
	asked  map[string]int
	all    chan struct{} // closed when all of together have been asked for
	closed bool
}

// open serves pages; with none it is the collector, which only counts.
func open(ctx context.Context, files *embed.FS) (*site, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &site{addr: l.Addr().String(), asked: map[string]int{}, all: make(chan struct{})}
	s.server = &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := strings.TrimPrefix(path.Clean(r.URL.Path), "/")
		if !s.meet(r.Context(), name) {
			http.Error(w, "the other pages were not asked for", http.StatusServiceUnavailable)
			return
		}
		if files == nil {
			return
		}
		text, err := files.ReadFile("pages/" + name + ".md")
		if err != nil {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "text/markdown; charset=utf-8")
		_, _ = w.Write(text) // the reader has gone away: nothing to do
	})}
	go func() { _ = s.server.Serve(l) }() // it ends with close
	return s, nil
}

func (s *site) close() error {
	err := s.server.Close()
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// meet counts a request and, for the pages that belong together, waits for the
// others.
func (s *site) meet(ctx context.Context, name string) bool {
	s.mu.Lock()
	s.asked[name]++
	waits, have := false, 0
	for _, t := range together {
		waits = waits || t == name
		if s.asked[t] > 0 {
			have++
		}
	}
	if have == len(together) && !s.closed {
		close(s.all)
		s.closed = true
	}
	s.mu.Unlock()
	if !waits {
		return true
	}
	late := time.NewTimer(20 * time.Second) // far more than four requests need
	defer late.Stop()
	select {
	case <-s.all:
		return true
	case <-late.C:
	case <-ctx.Done():
	}
	return false
}

// requests is how often a page was asked for; "" is all of them.
func (s *site) requests(name string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if name != "" {
		return s.asked[name]
	}
	n := 0
	for _, k := range s.asked {
		n += k
	}
	return n
}
