package airline

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// Main is the program: it serves until ctx ends or stdin is closed, and returns
// the exit code. It is called by the command in server and by test binaries
// that are their own server.
//
//	-db DIR                 users.json, reservations.json, flights.json and airline_tools.json
//	-data DIR               the state: of the desk over stdio, of all desks, one folder each, over HTTP
//	-http ADDRESS           serve /mcp/{desk} there instead of one desk over stdio;
//	                        the first line printed is "airline desk on http://ADDRESS"
//	-delay DURATION         waited between a durable write and its answer
func Main(ctx context.Context, args []string, stdin io.ReadCloser, stdout io.WriteCloser, stderr io.Writer) int {
	flags := flag.NewFlagSet("airline", flag.ContinueOnError)
	flags.SetOutput(stderr)
	var (
		opt    ServerOptions
		dbDir  = flags.String("db", ".", "folder of the recorded databases")
		data   = flags.String("data", "airline-data", "folder of the state")
		listen = flags.String("http", "", "address to serve on instead of stdio")
	)
	flags.DurationVar(&opt.Delay, "delay", 0, "waited between a durable write and its answer")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	db, err := Load(*dbDir)
	if err == nil && *listen == "" {
		err = db.serveStdio(ctx, *data, opt, stdin, stdout)
	} else if err == nil {
		err = db.serveHTTP(ctx, *data, *listen, opt, stdout)
	}
	if err != nil {
		_, _ = fmt.Fprintln(stderr, "airline:", err)
		return 1
	}
	return 0
}

func (db *Database) serveStdio(ctx context.Context, data string, opt ServerOptions, in io.ReadCloser, out io.WriteCloser) error {
	// The server of a runtime that was killed may still be finishing its last call.
	openCtx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	d, err := db.Open(openCtx, data)
	if err != nil {
		return err
	}
	err = d.Server(opt).Run(ctx, &mcp.IOTransport{Reader: in, Writer: out})
	if ctx.Err() != nil || errors.Is(err, io.EOF) {
		err = nil
	}
	return errors.Join(err, d.Close())
}

func (db *Database) serveHTTP(ctx context.Context, data, listen string, opt ServerOptions, out io.Writer) error {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", listen)
	if err != nil {
		return err
	}
	desks := NewDesks(db, data, opt)
	h := &http.Server{Handler: desks, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute}
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		<-ctx.Done()
		_ = h.Close() // streams stay open as long as clients listen: no waiting for them
	}()
	if _, err := fmt.Fprintf(out, "airline desk on http://%s\n", l.Addr()); err != nil {
		return errors.Join(err, l.Close())
	}
	if err := h.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return errors.Join(err, desks.Close())
	}
	<-closed
	return desks.Close()
}
