// Package effectserver is the outside world of the crash tests: a server, in a
// process of its own and with a durable file of its own, that is asked to do
// effects and counts what it was really asked to do. It knows nothing of Cairn.
//
//	POST /effect/idempotent      applied once for each Idempotency-Key; a repeat gets the first answer
//	POST /effect/{other class}   every request is applied and counted ("irreversible", "reversible")
//	GET  /effect/by-key/{key}    {"status":"done"|"not_found","key":…,"count":…}: the reconcile query
//	GET  /read/{name}            a value that depends on the name alone
//	POST /model                  {"effect":…,"attempt":…,"session":…}: counts a model call
//	GET  /report                 every key and count: [Report]
//
// An effect is on the disk before it is answered. Faults are dealt out by seeded
// chance: [Faults].
package effectserver

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/cairn-run/cairn/internal/effectserver/ledger"
)

// ClassIdempotent is the class whose effects are applied once for each key. The
// effects of every other class are applied as often as they are asked for.
const ClassIdempotent = "idempotent"

// maxBody bounds the body of a request, in bytes.
const maxBody = 1 << 20

// Options are the settings of a server; the zero value works.
type Options struct {
	Faults Faults
	// Settle is how long the reconcile query waits for a key it does not know:
	// the request of a client that was killed may still lie in the socket's
	// buffer. Default 100ms.
	Settle time.Duration
	// Logger takes what goes wrong; default: nothing is logged.
	Logger *slog.Logger
}

// Server is the effect server: an [http.Handler] over its file.
type Server struct {
	opt Options
	log *ledger.Ledger
	mux *http.ServeMux

	mu      sync.Mutex
	book    book
	pending map[string]int // requests of a key that are being applied
	changed chan struct{}  // closed and made anew when pending or book changes
}

// Open opens the server's file, or makes it, and counts what is in it.
func Open(ctx context.Context, file string, opt Options) (*Server, error) {
	if err := opt.Faults.validate(); err != nil {
		return nil, err
	}
	if opt.Settle == 0 {
		opt.Settle = 100 * time.Millisecond
	}
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Server{opt: opt, book: newBook(), pending: map[string]int{}, changed: make(chan struct{})}
	var err error
	s.log, err = ledger.Open(ctx, file, func(line json.RawMessage) error {
		var r record
		if err := json.Unmarshal(line, &r); err != nil {
			return err
		}
		s.book.add(r)
		if r.Kind != kindModel {
			s.book.arrive(r.Class, r.Key)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	s.mux = http.NewServeMux()
	s.mux.HandleFunc("POST /effect/{class}", s.effect)
	s.mux.HandleFunc("GET /effect/by-key/{key}", s.byKey)
	s.mux.HandleFunc("GET /read/{name}", s.read)
	s.mux.HandleFunc("POST /model", s.model)
	s.mux.HandleFunc("GET /report", s.report)
	return s, nil
}

// Close closes the file. Requests that are being served fail.
func (s *Server) Close() error { return s.log.Close() }

// ServeHTTP implements [http.Handler].
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	s.mux.ServeHTTP(w, r)
}

// answer is what an effect gives; it depends on the key's first application
// alone, so that a repeat of an idempotent effect gets the same bytes.
type answer struct {
	Status string `json:"status"`
	ID     string `json:"id"`
	Key    string `json:"key,omitempty"`
}

func (r record) answer() answer {
	return answer{Status: "done", ID: r.Class + "-" + strconv.Itoa(r.N), Key: r.Key}
}

func (s *Server) effect(w http.ResponseWriter, r *http.Request) {
	class, key := r.PathValue("class"), r.Header.Get("Idempotency-Key")
	body, err := io.ReadAll(r.Body)
	if err != nil {
		s.fail(w, http.StatusBadRequest, err)
		return
	}
	if class == ClassIdempotent && key == "" {
		s.fail(w, http.StatusBadRequest, errors.New("an idempotent effect needs an Idempotency-Key"))
		return
	}
	request := s.begin(class, key)
	fault := s.opt.Faults.deal(class, key, request)
	a, known, err := s.apply(r.Context(), class, key, body, fault)
	s.end(key)
	switch {
	case errors.Is(err, errRefused):
		w.Header().Set("Retry-After", "0")
		s.fail(w, http.StatusTooManyRequests, err)
	case errors.Is(err, errFailed):
		s.fail(w, http.StatusServiceUnavailable, err)
	case errors.Is(err, errConflict):
		s.fail(w, http.StatusUnprocessableEntity, err)
	case err != nil:
		s.opt.Logger.Error("effect", "class", class, "key", key, "err", err)
		s.fail(w, http.StatusInternalServerError, err)
	case fault.lose && !known:
		panic(http.ErrAbortHandler) // done, and the caller will not learn of it
	default:
		s.reply(w, a)
	}
}

var (
	errRefused  = errors.New("too many requests: nothing was done")
	errFailed   = errors.New("unavailable: nothing was done")
	errConflict = errors.New("the Idempotency-Key was used for another request")
)

// apply does the effect, unless the fault or the key says otherwise. It is not
// stopped by the caller's going away: a request that has arrived is carried out.
func (s *Server) apply(ctx context.Context, class, key string, body []byte, f fault) (a answer, repeat bool, err error) {
	ctx = context.WithoutCancel(ctx)
	kind := ""
	switch {
	case f.refuse:
		kind, err = kindRefused, errRefused
	case f.fail:
		kind, err = kindFailed, errFailed
	}
	if kind != "" {
		return answer{}, false, errors.Join(err, s.write(ctx, record{Kind: kind, Class: class, Key: key}))
	}
	if f.delay > 0 {
		timer := time.NewTimer(f.delay)
		defer timer.Stop()
		<-timer.C
	}
	sum := sha256.Sum256(body)
	rec := record{Kind: kindApplied, Class: class, Key: key, Body: hex.EncodeToString(sum[:8]), Lost: f.lose}
	if class == ClassIdempotent {
		first, done, err := s.once(ctx, rec)
		if err != nil || done {
			return first.answer(), done, err
		}
	}
	s.mu.Lock()
	s.book.last++
	rec.N = s.book.last
	s.mu.Unlock()
	if err := s.write(ctx, rec); err != nil {
		s.release(rec)
		return answer{}, false, err
	}
	return rec.answer(), false, nil
}

// once waits until no other request of the key is being applied. It returns the
// first record if the key is done, else it takes the key for rec.
func (s *Server) once(ctx context.Context, rec record) (record, bool, error) {
	for {
		s.mu.Lock()
		e := s.book.effects[rec.Key]
		switch {
		case e == nil || e.first.Kind == "" && !e.taken:
			s.book.effect(rec.Key).taken = true
			s.mu.Unlock()
			return record{}, false, nil
		case e.first.Kind != "":
			first := e.first
			s.mu.Unlock()
			if first.Body != rec.Body || first.Class != rec.Class {
				return record{}, false, errConflict
			}
			return first, true, s.write(ctx, record{Kind: kindRepeat, Class: rec.Class, Key: rec.Key})
		}
		wait := s.changed
		s.mu.Unlock()
		<-wait
	}
}

// release gives up a key that was taken and not applied.
func (s *Server) release(rec record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.book.effect(rec.Key).taken = false
	s.wake()
}

// write makes a record durable and then counts it.
func (s *Server) write(ctx context.Context, r record) error {
	if err := s.log.Append(ctx, r); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.book.add(r)
	s.wake()
	return nil
}

// begin notes that a request of a key has arrived and returns its number among
// the requests of that key, from 0: chance is dealt by it.
func (s *Server) begin(class, key string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pending[key]++
	return s.book.arrive(class, key)
}

func (s *Server) end(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pending[key]--; s.pending[key] == 0 {
		delete(s.pending, key)
	}
	s.wake()
}

// wake tells those who wait that something changed; mu is held.
func (s *Server) wake() {
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *Server) byKey(w http.ResponseWriter, r *http.Request) {
	key := r.PathValue("key")
	settle := time.NewTimer(s.opt.Settle)
	defer settle.Stop()
	settled := false
	for {
		s.mu.Lock()
		count, pending, wait := s.book.count(key), s.pending[key], s.changed
		s.mu.Unlock()
		if pending == 0 && (count > 0 || settled) {
			status := "done"
			if count == 0 {
				status = "not_found"
			}
			s.reply(w, map[string]any{"status": status, "key": key, "count": count})
			return
		}
		select {
		case <-wait:
		case <-settle.C:
			settled = true
		case <-r.Context().Done():
			return
		}
	}
}

func (s *Server) read(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	s.mu.Lock()
	s.book.reads++
	s.mu.Unlock()
	sum := sha256.Sum256([]byte(name))
	s.reply(w, map[string]any{"name": name, "value": hex.EncodeToString(sum[:6])})
}

// ModelCall is one attempt at a model call, as a model driver reports it.
type ModelCall struct {
	Effect  string `json:"effect"`
	Attempt int    `json:"attempt"`
	Session string `json:"session"`
}

func (s *Server) model(w http.ResponseWriter, r *http.Request) {
	var c ModelCall
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	err := d.Decode(&c)
	if err == nil && c.Effect == "" {
		err = errors.New("a model call needs its effect")
	}
	if err != nil {
		s.fail(w, http.StatusBadRequest, err)
		return
	}
	rec := record{Kind: kindModel, Key: c.Effect, Attempt: c.Attempt, Session: c.Session}
	if err := s.write(context.WithoutCancel(r.Context()), rec); err != nil {
		s.fail(w, http.StatusInternalServerError, err)
		return
	}
	s.reply(w, map[string]any{"status": "counted"})
}

func (s *Server) report(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	rep := s.book.report()
	s.mu.Unlock()
	s.reply(w, rep)
}

func (s *Server) reply(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(v); err != nil {
		s.opt.Logger.Debug("answer not sent", "err", err)
	}
}

func (s *Server) fail(w http.ResponseWriter, status int, err error) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	s.reply(w, map[string]any{"error": err.Error()})
}
