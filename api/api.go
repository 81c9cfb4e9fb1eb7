// Package api serves the REST and SSE API over the journal: it authenticates,
// validates and delivers inputs, and reads what the journal holds. It decides
// nothing itself, and no run ever waits for a client.
package api

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/journal"
	"github.com/cairn-run/cairn/kernel"
	"github.com/cairn-run/cairn/model"
)

// Bounds in time. A handler is done before the body's deadline passes, because
// net/http cancels a request whose connection can no longer be read.
const (
	headerTimeout  = 10 * time.Second
	handlerTimeout = 30 * time.Second
	bodyTimeout    = time.Minute
	writeTimeout   = time.Minute
	idleTimeout    = 2 * time.Minute
	maxHeader      = 64 << 10 // bytes
)

// Agents takes agent definitions.
type Agents interface {
	// Apply validates a definition and makes it the current version of its name;
	// created is false when that version was there before. What is wrong with a
	// definition is a *cairn.FieldError.
	Apply(ctx context.Context, t cairn.TenantID, a *cairn.Agent) (v journal.AgentVersion, created bool, err error)
	// Check is Apply without its effect: created says that the version would be new.
	Check(ctx context.Context, t cairn.TenantID, a *cairn.Agent) (v journal.AgentVersion, created bool, err error)
}

// Config is what the API works with.
type Config struct {
	Journal *journal.Journal
	Live    *kernel.Live
	Agents  Agents
	// Files keeps the files of sessions; nil: the node keeps none.
	Files Files
	// Circuits says what is known of models whose last calls failed; nil: nothing is.
	Circuits func() []model.CircuitState
	// Auth says whom a bearer token belongs to.
	Auth Auth
	// Socket is whom a request without a token belongs to that came over a unix
	// socket, whose file mode is its guard. Nil: a token is needed there too.
	Socket *Identity
	// Now is the clock that inputs are stamped with; default time.Now.
	Now func() time.Time
	// NewID returns a new ULID.
	NewID func() string
	// Version of the program.
	Version string
	// Hosts are the names, besides localhost and addresses, under which the server
	// may be called. Another name is what a page sends whose domain was pointed at
	// this machine (DNS rebinding).
	Hosts []string
	// Origins are the web origins ("https://app.example.com") whose pages may call
	// the API; default only its own.
	Origins []string
	// Logger takes one line for a failed request; default slog.Default.
	Logger *slog.Logger
	// Streams is how many streams may be open at once; default 4096.
	Streams int
	// UploadBytes bounds an uploaded workspace; default 4 GiB.
	UploadBytes int64
}

// config hides the settings of an API from its callers.
type config = Config

// API is the handler of everything under /v1/.
type API struct {
	config
	mux     *http.ServeMux
	huma    huma.API
	spec    []byte
	hosts   map[string]bool
	origins map[string]bool
	slots   chan struct{}
	// transfers are the places for uploads and downloads.
	transfers chan struct{}
	// closing ends when Close is called; streams end with it.
	closing context.Context
	close   context.CancelFunc
}

// New returns the handler of the API.
func New(c Config) (*API, error) {
	switch {
	case c.Journal == nil || c.Live == nil || c.Agents == nil:
		return nil, fmt.Errorf("api: Journal, Live and Agents are required")
	case c.Auth == nil || c.NewID == nil:
		return nil, fmt.Errorf("api: Auth and NewID are required")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Streams <= 0 {
		c.Streams = 4096
	}
	if c.UploadBytes <= 0 {
		c.UploadBytes = 4 << 30
	}
	a := &API{config: c, slots: make(chan struct{}, c.Streams), transfers: make(chan struct{}, maxTransfers)}
	a.hosts, a.origins = hostSet(c.Hosts), originSet(c.Origins)
	a.closing, a.close = context.WithCancel(context.Background())
	a.routes()
	spec, err := json.Marshal(a.huma.OpenAPI())
	if err != nil {
		return nil, fmt.Errorf("api: %w", err)
	}
	a.spec = spec
	return a, nil
}

// Close ends every stream, telling its client to come back.
func (a *API) Close() { a.close() }

// Server returns a server for h (nil: the API itself) with time-outs set. It may
// serve TCP and unix listeners at once. Its Shutdown ends the streams.
func (a *API) Server(h http.Handler) *http.Server {
	if h == nil {
		h = a
	}
	s := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: headerTimeout,
		WriteTimeout:      writeTimeout, // a stream moves its own deadline on
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(a.Logger.Handler(), slog.LevelDebug),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			if _, ok := c.(*net.UnixConn); ok {
				return context.WithValue(ctx, socketKey{}, true)
			}
			return ctx
		},
	}
	s.RegisterOnShutdown(a.Close)
	return s
}

// routes registers every operation.
func (a *API) routes() {
	a.mux = http.NewServeMux()
	a.huma = humago.New(a.mux, humaConfig())
	a.sessionRoutes()
	a.moveRoute()
	a.runRoutes()
	a.exportRoute()
	a.workspaceRoutes()
	a.fileRoutes()
	a.eventRoutes()
	a.askRoutes()
	a.agentRoutes()
	a.circuitRoute()
	a.healthRoutes()
	finishSpec(a.huma.OpenAPI())
	a.mux.HandleFunc("GET /v1/openapi.json", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/openapi+json")
		_, _ = w.Write(a.spec) // the client is gone: nothing to tell it
	})
}

// operation registers a handler with a time-out and the error mapping.
func operation[I, O any](a *API, op huma.Operation, handle func(context.Context, *I) (*O, error)) {
	op.BodyReadTimeout = bodyTimeout
	if op.MaxBodyBytes > 0 {
		op.MaxBodyBytes++ // huma refuses a body that is exactly as large
	}
	huma.Register(a.huma, op, func(ctx context.Context, in *I) (*O, error) {
		bounded, cancel := context.WithTimeout(ctx, handlerTimeout)
		defer cancel()
		out, err := handle(bounded, in)
		if err != nil {
			return nil, a.failure(ctx, op.OperationID, err)
		}
		return out, nil
	})
}
