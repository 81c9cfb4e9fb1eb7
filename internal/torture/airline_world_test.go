package torture

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/examples/airline"
	"github.com/cairn-run/cairn/internal/effectserver"
)

// moment is a place in a trajectory where the world can kill the runtime.
type moment string

const (
	onArrival moment = "a tool call has arrived at the desk"
	onDone    moment = "the desk has done a tool call and not answered"
	onModel   moment = "a model call is on the bill and not answered"
	onEvent   moment = "an event was shown"
)

// plan is when a trajectory's runtime is killed: at the n-th time of the moment,
// or when event n is shown.
type plan struct {
	at moment
	n  int
	// drop loses the call that has arrived with its caller; else the desk carries
	// it out for a caller that is gone.
	drop bool
}

// airlineWorld is what lies outside of the runtime: the desks, the bill of the
// model, and who kills when. It outlives every kill.
type airlineWorld struct {
	bill  *effectserver.Server
	desks *airline.Desks
	http  *httptest.Server

	mu        sync.Mutex
	byName    map[string]*play
	bySession map[cairn.SessionID]*play
}

// newAirlineWorld opens the world in a directory: bill.jsonl, desks/.
func newAirlineWorld(ctx context.Context, dir string, db *airline.Database, plays []*play) (*airlineWorld, error) {
	bill, err := effectserver.Open(ctx, filepath.Join(dir, "bill.jsonl"), effectserver.Options{})
	if err != nil {
		return nil, err
	}
	w := &airlineWorld{
		bill: bill, desks: airline.NewDesks(db, filepath.Join(dir, "desks"), airline.ServerOptions{}),
		byName: map[string]*play{}, bySession: map[cairn.SessionID]*play{},
	}
	for _, p := range plays {
		w.byName[p.tr.Name] = p
	}
	mux := http.NewServeMux()
	mux.Handle("/", bill)
	mux.HandleFunc("POST /model", w.model)
	mux.HandleFunc("/mcp/{desk}", w.desk)
	mux.HandleFunc("POST /gate/{desk}/{moment}", w.gate)
	w.http = httptest.NewServer(mux)
	return w, nil
}

// close ends the world. Nobody may be calling it.
func (w *airlineWorld) close() error {
	w.http.CloseClientConnections()
	w.http.Close()
	return errors.Join(w.desks.Close(), w.bill.Close())
}

// met notes who a session is.
func (w *airlineWorld) met(id cairn.SessionID, p *play) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.bySession[id] = p
}

// model puts a model call on the bill, and perhaps never answers.
func (w *airlineWorld) model(rw http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	var call effectserver.ModelCall
	if err == nil {
		err = json.Unmarshal(body, &call)
	}
	w.mu.Lock()
	p := w.bySession[cairn.SessionID(call.Session)]
	w.mu.Unlock()
	if err != nil || p == nil { // sessions say nothing before they are known here
		http.Error(rw, fmt.Sprintf("no session %q: %v", call.Session, err), http.StatusBadRequest)
		return
	}
	life := p.victim.life.Load()
	r.Body = io.NopCloser(bytes.NewReader(body))
	answer := httptest.NewRecorder()
	w.bill.ServeHTTP(answer, r)
	p.pass(onModel, life)
	relay(rw, answer)
}

// desk hands a request to a desk. Tool calls are counted, and their answers
// wait until they may go out.
func (w *airlineWorld) desk(rw http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 8<<20))
	if err != nil {
		http.Error(rw, err.Error(), http.StatusBadRequest)
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	var m struct {
		Method string `json:"method"`
	}
	p := w.byName[r.PathValue("desk")]
	if p == nil || json.Unmarshal(body, &m) != nil || m.Method != "tools/call" {
		w.desks.ServeHTTP(rw, r)
		return
	}
	life := p.victim.enter()
	defer p.victim.leave(life)
	if p.pass(onArrival, life) && p.plan.drop {
		panic(http.ErrAbortHandler)
	}
	answer := httptest.NewRecorder()
	w.desks.ServeHTTP(answer, r)
	p.pass(onDone, life)
	relay(rw, answer)
}

func relay(rw http.ResponseWriter, answer *httptest.ResponseRecorder) {
	for name, values := range answer.Header() {
		rw.Header()[name] = values
	}
	rw.WriteHeader(answer.Code)
	_, _ = rw.Write(answer.Body.Bytes()) // the caller may be dead
}

// gate is asked by a desk that is a child of the runtime. The answer to one that
// is to die with it is never read.
func (w *airlineWorld) gate(rw http.ResponseWriter, r *http.Request) {
	p := w.byName[r.PathValue("desk")]
	at := map[string]moment{"arrived": onArrival, "done": onDone}[r.PathValue("moment")]
	if p == nil || at == "" {
		http.NotFound(rw, r)
		return
	}
	if at == onArrival {
		p.inside.Store(p.victim.enter())
	}
	life := p.inside.Load()
	p.pass(at, life)
	if at == onDone {
		p.victim.leave(life)
	}
}

// Environment of a desk that is a child of the runtime.
const (
	deskName = "AIRLINE_DESK"
	deskDB   = "AIRLINE_DB"
	deskData = "AIRLINE_DATA"
	deskGate = "AIRLINE_GATE" // URL of the gate
)

// serveDesk is the main function of such a desk. It asks at the gate when a call
// has arrived and when it is done, so that both can be killed there.
func serveDesk(ctx context.Context) error {
	// The desk of a runtime that was killed may have its file for another moment.
	opening, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	d, err := airline.Open(opening, os.Getenv(deskDB), os.Getenv(deskData))
	if err != nil {
		return err
	}
	s := d.Server(airline.ServerOptions{})
	gate := func(at string) error {
		ctx, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, os.Getenv(deskGate)+"/"+os.Getenv(deskName)+"/"+at, http.NoBody)
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		return resp.Body.Close()
	}
	s.AddReceivingMiddleware(func(next mcp.MethodHandler) mcp.MethodHandler {
		return func(ctx context.Context, method string, r mcp.Request) (mcp.Result, error) {
			if method != "tools/call" {
				return next(ctx, method, r)
			}
			if err := gate("arrived"); err != nil {
				return nil, err
			}
			res, err := next(ctx, method, r)
			return res, errors.Join(err, gate("done"))
		}
	})
	return errors.Join(s.Run(ctx, &mcp.StdioTransport{}), d.Close())
}

// reference carries out a trajectory on a fresh desk, without a runtime and
// without an interruption.
func reference(ctx context.Context, db *airline.Database, dir string, tr *airline.Trajectory) (airline.State, error) {
	d, err := db.Open(ctx, dir)
	if err != nil {
		return airline.State{}, err
	}
	defer func() { _ = d.Close() }()
	for i, r := range tr.Results {
		if _, err := d.Call(ctx, r.Tool, json.RawMessage(r.Args), fmt.Sprint(i)); err != nil {
			return airline.State{}, fmt.Errorf("%s, %s: %w", tr.Name, r.Tool, err)
		}
	}
	return d.State()
}

// deskState is what a desk has come to, read from its file.
func deskState(ctx context.Context, db *airline.Database, dir string) (airline.State, error) {
	d, err := db.Open(ctx, dir)
	if err != nil {
		return airline.State{}, err
	}
	s, err := d.State()
	return s, errors.Join(err, d.Close())
}

// writeKeys are the keys of the calls that a desk carried out, sorted.
func writeKeys(s airline.State) []string {
	var all []string
	for _, w := range s.Writes {
		all = append(all, w.Key)
	}
	slices.Sort(all)
	return all
}
