package main

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// service is the operations API of the example: services, alerts and restarts, on
// a loopback address. It knows nothing of Cairn.
type service struct {
	addr   string
	server *http.Server

	mu       sync.Mutex
	muted    map[string]bool
	unmuted  int       // how often alerts were let through again
	restarts []restart // in order
}

// restart is a restart that was made.
type restart struct {
	Status   string `json:"status"` // "restarted"; of one that was not found: "not_found"
	Instance string `json:"instance,omitempty"`
	Reason   string `json:"reason,omitempty"`
	Key      string `json:"key"`
}

const maxBody = 1 << 16 // bytes of a request

// open serves the API. The answer to a restart is never sent: the connection breaks
// after it was made, as it does when a network fails.
func open(ctx context.Context) (*service, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &service{addr: l.Addr().String(), muted: map[string]bool{}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /services/{name}", func(w http.ResponseWriter, r *http.Request) { s.state(w, r.PathValue("name")) })
	mux.HandleFunc("POST /alerts/mute", s.alerts(true))
	mux.HandleFunc("POST /alerts/unmute", s.alerts(false))
	mux.HandleFunc("POST /restarts", s.restart)
	mux.HandleFunc("GET /restarts/by-key/{key}", func(w http.ResponseWriter, r *http.Request) { s.find(w, r.PathValue("key")) })
	s.server = &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = s.server.Serve(l) }() // it ends with close
	return s, nil
}

func (s *service) close() error {
	if err := s.server.Close(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// state answers how a service is: payments fails until payments-2 was restarted.
func (s *service) state(w http.ResponseWriter, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	repaired := false
	for _, r := range s.restarts {
		repaired = repaired || r.Instance == "payments-2"
	}
	out := map[string]any{"name": name, "state": "healthy"}
	switch {
	case name == "orders-db":
		out["connections"], out["active"] = 100, 1
	case !strings.HasPrefix(name, "payments"):
		reply(w, http.StatusNotFound, map[string]string{"error": "no such service"})
		return
	case !repaired && name != "payments-1":
		out["state"], out["failed_percent"] = "degraded", 50
	}
	reply(w, http.StatusOK, out)
}

func (s *service) alerts(mute bool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var in struct {
			Service string `json:"service"`
		}
		if !read(w, r, &in) {
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.muted[in.Service] = mute
		if !mute {
			s.unmuted++
		}
		reply(w, http.StatusOK, map[string]any{"service": in.Service, "muted": mute})
	}
}

// restart restarts, every time it is asked to, and breaks the connection off.
func (s *service) restart(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Instance string `json:"instance"`
		Reason   string `json:"reason"`
	}
	if !read(w, r, &in) {
		return
	}
	s.mu.Lock()
	s.restarts = append(s.restarts, restart{Status: "restarted", Instance: in.Instance, Reason: in.Reason, Key: r.Header.Get("Idempotency-Key")})
	s.mu.Unlock()
	panic(http.ErrAbortHandler)
}

func (s *service) find(w http.ResponseWriter, key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.restarts {
		if r.Key == key && key != "" {
			reply(w, http.StatusOK, r)
			return
		}
	}
	reply(w, http.StatusOK, restart{Status: "not_found", Key: key})
}

// seen is what was done: the restarts, whether the alerts of payments are muted,
// and how often they were let through again.
func (s *service) seen() (restarts []restart, muted bool, unmuted int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]restart{}, s.restarts...), s.muted["payments"], s.unmuted
}

func read(w http.ResponseWriter, r *http.Request, in any) bool {
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	d.DisallowUnknownFields()
	if err := d.Decode(in); err != nil {
		reply(w, http.StatusBadRequest, map[string]string{"error": err.Error()})
		return false
	}
	return true
}

func reply(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the caller has gone away: nothing to do
}
