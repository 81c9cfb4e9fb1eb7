package effectserver

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"time"
)

// Process is an effect server in a process of its own.
type Process struct {
	Client
	cmd *exec.Cmd
}

// Spawn starts cmd, which must run [Main], and waits until it serves. When ctx
// ends the process is killed.
func Spawn(ctx context.Context, cmd *exec.Cmd) (*Process, error) {
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if cmd.Stderr == nil {
		cmd.Stderr = os.Stderr
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() })
	defer stop()
	var addr string
	line, err := bufio.NewReader(out).ReadString('\n')
	if err == nil {
		_, err = fmt.Sscanf(line, listening, &addr)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("effectserver: it does not serve: %q: %w", line, err), cmd.Process.Kill(), cmd.Wait())
	}
	return &Process{Client: Client{Base: "http://" + addr}, cmd: cmd}, nil
}

// Kill ends the process with SIGKILL and waits until it is gone.
func (p *Process) Kill() error {
	if err := p.cmd.Process.Kill(); err != nil {
		return err
	}
	var exit *exec.ExitError
	if err := p.cmd.Wait(); err != nil && !errors.As(err, &exit) {
		return err
	}
	return nil
}

// Client calls an effect server.
type Client struct {
	Base string       // "http://127.0.0.1:7800"
	HTTP *http.Client // default: one with a time-out of a minute
}

var defaultHTTP = &http.Client{Timeout: time.Minute}

// Report fetches everything the server has counted.
func (c Client) Report(ctx context.Context) (Report, error) {
	var r Report
	return r, c.do(ctx, http.MethodGet, "/report", nil, &r)
}

// Model counts a model call; a model driver of a test calls it before it answers.
func (c Client) Model(ctx context.Context, m ModelCall) error {
	return c.do(ctx, http.MethodPost, "/model", m, nil)
}

func (c Client) do(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader = http.NoBody
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.Base+path, body)
	if err != nil {
		return err
	}
	h := c.HTTP
	if h == nil {
		h = defaultHTTP
	}
	resp, err := h.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("effectserver: %s %s: %s", method, path, resp.Status)
	}
	if out == nil {
		_, err = io.Copy(io.Discard, resp.Body)
		return err
	}
	return json.NewDecoder(resp.Body).Decode(out)
}
