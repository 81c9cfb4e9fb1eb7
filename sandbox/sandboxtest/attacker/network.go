//go:build linux

package main

import (
	"context"
	"fmt"
	"net"
	"time"
)

// patience is how long an answer is waited for: a silent drop is no denial that
// a program can tell, but the suite takes it for one.
const patience = 3 * time.Second

func dial(network, address string) (net.Conn, error) {
	d := net.Dialer{Timeout: patience}
	return d.DialContext(context.Background(), network, address)
}

// connect dials network and address, and sends nothing.
func connect(args []string) result {
	c, err := dial(arg(args, 0), arg(args, 1))
	if err != nil {
		if e, ok := err.(net.Error); ok && e.Timeout() { //nolint:errorlint // the dialler's own error
			return result{Denied: true, Errno: "ETIMEDOUT", Detail: err.Error()}
		}
		return outcome(err, "")
	}
	_ = c.Close()
	return outcome(nil, "connected")
}

// send sends a packet and waits for one.
func send(args []string) result {
	c, err := dial(arg(args, 0), arg(args, 1))
	if err != nil {
		return outcome(err, "")
	}
	defer func() { _ = c.Close() }()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return outcome(err, "")
	}
	if _, err := c.Write([]byte("cairn")); err != nil {
		return outcome(err, "")
	}
	n, err := c.Read(make([]byte, 512))
	if e, ok := err.(net.Error); ok && e.Timeout() { //nolint:errorlint // the connection's own error
		return result{Denied: true, Errno: "ETIMEDOUT", Detail: err.Error()}
	}
	return outcome(err, fmt.Sprint("an answer of ", n, " bytes"))
}

// interfaces fails if there is one that is not the loopback.
func interfaces() result {
	all, err := net.Interfaces()
	if err != nil {
		return outcome(unwrap(err), "")
	}
	found := ""
	for _, i := range all {
		addrs, err := i.Addrs()
		if err != nil {
			return outcome(unwrap(err), i.Name)
		}
		if i.Flags&net.FlagLoopback == 0 && len(addrs) > 0 {
			found += fmt.Sprint(i.Name, " ", addrs, "; ")
		}
	}
	return hidden(found == "", found)
}

// listen waits on a port and an abstract socket.
func listen(args []string) result {
	for i, network := range []string{"tcp", "unix"} {
		l, err := net.Listen(network, arg(args, i)) //nolint:noctx // until it is killed
		if err != nil {
			return outcome(err, "")
		}
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				_ = c.Close()
			}
		}()
	}
	ready()
	block()
	return result{}
}
