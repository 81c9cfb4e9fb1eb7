package supportdesk

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// maxBody bounds the body of a request, in bytes.
const maxBody = 1 << 16

// Handler serves the shop. slow is waited between the moment a refund is in the
// ledger and its answer: whoever asked for it can be killed in between.
func (s *Shop) Handler(slow time.Duration) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /orders/{id}", lookup(s.Order))
	mux.HandleFunc("GET /customers/{id}", lookup(s.Customer))
	mux.HandleFunc("GET /shipments/{id}", lookup(s.Shipment))
	mux.HandleFunc("GET /charges/{id}", lookup(s.Charge))
	mux.HandleFunc("GET /customers", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, http.StatusOK, s.Customers())
	})
	mux.HandleFunc("GET /ledger", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, http.StatusOK, s.Ledger())
	})
	mux.HandleFunc("POST /refunds", func(w http.ResponseWriter, r *http.Request) {
		in := Refund{}
		if !read(w, r, &in) {
			return
		}
		in.Key = r.Header.Get("Idempotency-Key")
		out, err := s.Refund(r.Context(), in)
		if err == nil && slow > 0 {
			wait := time.NewTimer(slow)
			defer wait.Stop()
			select {
			case <-wait.C:
			case <-r.Context().Done():
			}
		}
		answer(w, out, err)
	})
	// What became of a request is a question that is always answered, "not found"
	// too: it is no failure.
	mux.HandleFunc("GET /refunds/by-key/{key}", func(w http.ResponseWriter, r *http.Request) {
		out, err := s.RefundByKey(r.PathValue("key"))
		if errors.Is(err, ErrNotFound) {
			out, err = Refund{Status: "not_found", Key: r.PathValue("key")}, nil
		}
		answer(w, out, err)
	})
	mux.HandleFunc("POST /messages", func(w http.ResponseWriter, r *http.Request) {
		in := Message{}
		if !read(w, r, &in) {
			return
		}
		in.Key = r.Header.Get("Idempotency-Key")
		out, err := s.Send(r.Context(), in)
		answer(w, out, err)
	})
	return mux
}

func lookup[T any](find func(id string) (T, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		out, err := find(r.PathValue("id"))
		answer(w, out, err)
	}
}

func read(w http.ResponseWriter, r *http.Request, in any) bool {
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	d.DisallowUnknownFields()
	if err := d.Decode(in); err != nil {
		reply(w, http.StatusBadRequest, map[string]string{"error": "the body cannot be read: " + err.Error()})
		return false
	}
	return true
}

func answer(w http.ResponseWriter, out any, err error) {
	status := http.StatusOK
	switch {
	case err == nil:
		reply(w, status, out)
		return
	case errors.Is(err, ErrNotFound):
		status = http.StatusNotFound
	case errors.Is(err, ErrTooMuch), errors.Is(err, ErrAmount), errors.Is(err, ErrKeyReused):
		status = http.StatusUnprocessableEntity
	default:
		status = http.StatusInternalServerError
	}
	reply(w, status, map[string]string{"error": err.Error()})
}

func reply(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the caller has gone away: nothing to do
}

// Main is the program: it serves until ctx ends and returns the exit code. The
// first line it prints is "support desk on http://ADDRESS".
//
//	-listen ADDRESS   default 127.0.0.1:7718, the one in support.md
//	-ledger FILE      default support-ledger.jsonl
//	-slow DURATION    waited between a refund's place in the ledger and its answer
func Main(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("support-desk", flag.ContinueOnError)
	flags.SetOutput(stderr)
	listen := flags.String("listen", "127.0.0.1:7718", "address to serve on")
	file := flags.String("ledger", "support-ledger.jsonl", "the durable ledger")
	slow := flags.Duration("slow", 0, "waited between a refund's place in the ledger and its answer")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	if err := serve(ctx, *listen, *file, *slow, stdout); err != nil {
		_, _ = fmt.Fprintln(stderr, "support desk:", err)
		return 1
	}
	return 0
}

func serve(ctx context.Context, listen, file string, slow time.Duration, stdout io.Writer) error {
	openCtx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	shop, err := Open(openCtx, file)
	if err != nil {
		return err
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", listen)
	if err != nil {
		return errors.Join(err, shop.Close())
	}
	h := &http.Server{Handler: shop.Handler(slow), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute}
	stopped := make(chan error, 1)
	go func() {
		<-ctx.Done()
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		if err := h.Shutdown(grace); err != nil {
			err = h.Close() // a slow refund is in the ledger: its answer need not be waited for
			stopped <- err
			return
		}
		stopped <- nil
	}()
	if _, err := fmt.Fprintf(stdout, "support desk on http://%s\n", l.Addr()); err != nil {
		return errors.Join(err, l.Close(), shop.Close())
	}
	if err := h.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return errors.Join(err, shop.Close())
	}
	return errors.Join(<-stopped, shop.Close())
}
