package airline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// KeyMeta is the field of a call's _meta that holds its idempotency key.
const KeyMeta = "cairn.run/idempotency-key"

// ServerOptions are the settings of an MCP server; the zero value works.
type ServerOptions struct {
	// Delay is waited between the moment a write is durable and its answer, so
	// that a caller can be killed in between. Default: none.
	Delay time.Duration
}

// Server makes an MCP server of the desk: the recorded definitions, annotated
// with what a repeat would do.
func (d *Desk) Server(opt ServerOptions) *mcp.Server {
	s := mcp.NewServer(&mcp.Implementation{Name: "airline-desk", Version: "1.0.0"}, nil)
	no := false
	for _, def := range d.db.tools {
		t := tools[def.Name]
		s.AddTool(&mcp.Tool{
			Name: def.Name, Description: def.Description, InputSchema: def.Parameters,
			Annotations: &mcp.ToolAnnotations{
				ReadOnlyHint: !t.keyed, IdempotentHint: t.keyed, DestructiveHint: &t.destructive, OpenWorldHint: &no,
			},
		}, func(ctx context.Context, r *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
			key, _ := r.Params.Meta[KeyMeta].(string)
			text, err := d.Call(ctx, def.Name, r.Params.Arguments, key)
			if err != nil && !errors.Is(err, ErrArguments) && !errors.Is(err, ErrKeyReused) {
				return nil, err
			}
			if err != nil {
				text = "Error: " + err.Error()
			}
			if t.keyed && opt.Delay > 0 {
				timer := time.NewTimer(opt.Delay)
				defer timer.Stop()
				select {
				case <-timer.C:
				case <-ctx.Done():
				}
			}
			return &mcp.CallToolResult{
				Content: []mcp.Content{&mcp.TextContent{Text: text}},
				IsError: strings.HasPrefix(text, "Error"),
			}, nil
		})
	}
	return s
}

// maxDesks bounds how many desks one HTTP server keeps open.
const maxDesks = 4096

// Desks serves many desks over streamable HTTP. Each has a directory of its
// own, so that sessions do not see one another's bookings:
//
//	/mcp/{desk}      the MCP server of the desk
//	/desks/{desk}    GET: its [State]
type Desks struct {
	db   *Database
	dir  string
	mcp  http.Handler
	mux  *http.ServeMux
	mu   sync.Mutex
	open map[string]*openDesk
}

type openDesk struct {
	desk *Desk
	mcp  *mcp.Server
}

// State is what a desk has come to.
type State struct {
	Hash    string  `json:"hash"`
	Repeats int     `json:"repeats"`
	Writes  []Write `json:"writes"`
}

// State says what the desk has come to.
func (d *Desk) State() (State, error) {
	hash, err := d.Hash()
	return State{Hash: hash, Repeats: d.Repeats(), Writes: d.Writes()}, err
}

type deskKey struct{}

// NewDesks serves desks over the database, with their state below dir.
func NewDesks(db *Database, dir string, opt ServerOptions) *Desks {
	s := &Desks{db: db, dir: dir, open: map[string]*openDesk{}, mux: http.NewServeMux()}
	s.mcp = mcp.NewStreamableHTTPHandler(func(r *http.Request) *mcp.Server {
		return r.Context().Value(deskKey{}).(*openDesk).mcp // put there below
	}, &mcp.StreamableHTTPOptions{SessionTimeout: 10 * time.Minute})
	s.mux.HandleFunc("/mcp/{desk}", func(w http.ResponseWriter, r *http.Request) {
		if d := s.find(w, r, opt); d != nil {
			s.mcp.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), deskKey{}, d)))
		}
	})
	s.mux.HandleFunc("GET /desks/{desk}", func(w http.ResponseWriter, r *http.Request) {
		d := s.find(w, r, opt)
		if d == nil {
			return
		}
		state, err := d.desk.State()
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(state) // the caller has gone away: nothing to do
	})
	return s
}

// ServeHTTP implements [http.Handler].
func (s *Desks) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

var deskName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$`)

// find returns the desk of a request, opened if it was not; nil after it has
// answered with an error.
func (s *Desks) find(w http.ResponseWriter, r *http.Request, opt ServerOptions) *openDesk {
	name := r.PathValue("desk")
	if !deskName.MatchString(name) {
		http.Error(w, fmt.Sprintf("%q is not the name of a desk", name), http.StatusNotFound)
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if d := s.open[name]; d != nil {
		return d
	}
	if len(s.open) >= maxDesks {
		http.Error(w, "too many desks are open", http.StatusServiceUnavailable)
		return nil
	}
	ctx, cancel := context.WithTimeout(r.Context(), 10*time.Second)
	defer cancel()
	desk, err := s.db.Open(ctx, filepath.Join(s.dir, name))
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return nil
	}
	d := &openDesk{desk: desk, mcp: desk.Server(opt)}
	s.open[name] = d
	return d
}

// Close closes all desks.
func (s *Desks) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, d := range s.open {
		errs = append(errs, d.desk.Close())
	}
	clear(s.open)
	return errors.Join(errs...)
}
