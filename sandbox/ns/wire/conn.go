//go:build linux

// Package wire is what the daemon, its helper and the first process of an
// instance say to each other: one message is one packet of a local socket, with
// the descriptors that belong to it.
package wire

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	// MaxMessage is the largest message in bytes. A packet has to fit the buffer of
	// the socket, which an unprivileged process cannot make larger than
	// net.core.wmem_max, 212,992 by default (doubled by the kernel).
	MaxMessage = 192 << 10
	// MaxDescriptors is the most descriptors one message carries; the kernel's own
	// limit is 253 (SCM_MAX_FD).
	MaxDescriptors = 128
)

// ErrTooLarge is a message above [MaxMessage].
var ErrTooLarge = errors.New("the message is too large")

// Conn is one end of a pair of sockets. Sending is safe for concurrent use;
// receiving is for one goroutine.
type Conn struct {
	mu   sync.Mutex // one packet is sent at a time
	fd   int
	file *os.File // of an end that the poller of the runtime waits for
	raw  syscall.RawConn
}

// Pair makes two connected ends: one that this process uses, and one as a plain
// descriptor to hand on.
func Pair() (*Conn, int, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, -1, fmt.Errorf("make a pair of sockets: %w", err)
	}
	for _, fd := range fds {
		// What the kernel does not grant is not needed by messages of usual size.
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 2*MaxMessage)
	}
	if err := unix.SetNonblock(fds[0], true); err != nil {
		_ = unix.Close(fds[0])
		_ = unix.Close(fds[1])
		return nil, -1, fmt.Errorf("make a socket non-blocking: %w", err)
	}
	c := &Conn{fd: fds[0], file: os.NewFile(uintptr(fds[0]), "sandbox")}
	if c.raw, err = c.file.SyscallConn(); err != nil {
		_ = c.file.Close()
		_ = unix.Close(fds[1])
		return nil, -1, fmt.Errorf("poll a socket: %w", err)
	}
	return c, fds[1], nil
}

// Inherited is the end with descriptor fd that another process made. It blocks
// the thread that uses it, which in a process with one purpose is the faster way.
func Inherited(fd int) *Conn { return &Conn{fd: fd} }

// Close closes the end; who waits in Recv gets an error if the end was made with
// [Pair].
func (c *Conn) Close() error {
	if c.file != nil {
		return c.file.Close()
	}
	return unix.Close(c.fd)
}

// Send sends a message with descriptors, which stay the caller's. It waits until
// the other end takes it.
func (c *Conn) Send(message Sendable, fds ...int) error {
	b := encode(message)
	if len(b) > MaxMessage {
		return fmt.Errorf("%w: %d of %d bytes", ErrTooLarge, len(b), MaxMessage)
	}
	if len(fds) > MaxDescriptors {
		return fmt.Errorf("a message with %d descriptors; at most %d", len(fds), MaxDescriptors)
	}
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.raw == nil {
		return c.send(c.fd, b, rights)
	}
	var sent error
	err := c.raw.Write(func(fd uintptr) bool {
		sent = c.send(int(fd), b, rights)
		return !errors.Is(sent, unix.EAGAIN)
	})
	return errors.Join(err, sent)
}

func (c *Conn) send(fd int, b, rights []byte) error {
	for {
		err := unix.Sendmsg(fd, b, rights, nil, unix.MSG_NOSIGNAL)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// Recv receives a message and its descriptors, which are then the caller's and
// closed on exec. io.EOF: the other end was closed.
func (c *Conn) Recv(message Receivable) ([]int, error) {
	var b []byte
	var fds []int
	var err error
	if c.raw == nil {
		b, fds, err = receive(c.fd)
	} else {
		waited := c.raw.Read(func(fd uintptr) bool {
			b, fds, err = receive(int(fd))
			return !errors.Is(err, unix.EAGAIN)
		})
		err = errors.Join(waited, err)
	}
	if err != nil {
		return nil, err
	}
	if err := decode(b, message); err != nil {
		CloseAll(fds)
		return nil, fmt.Errorf("decode a message: %w", err)
	}
	return fds, nil
}

func receive(fd int) ([]byte, []int, error) {
	n, _, flags, _, err := retry(fd, nil, nil, unix.MSG_PEEK|unix.MSG_TRUNC)
	if err != nil {
		return nil, nil, err
	}
	if n == 0 {
		return nil, nil, io.EOF
	}
	if n > MaxMessage {
		return nil, nil, fmt.Errorf("%w: %d of %d bytes (flags %#x)", ErrTooLarge, n, MaxMessage, flags)
	}
	b, oob := make([]byte, n), make([]byte, unix.CmsgSpace(4*MaxDescriptors))
	n, oobn, flags, _, err := retry(fd, b, oob, unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		return nil, nil, err
	}
	fds, err := Descriptors(oob[:oobn])
	if err == nil && flags&(unix.MSG_CTRUNC|unix.MSG_TRUNC) != 0 {
		err = fmt.Errorf("a message was cut (flags %#x)", flags)
	}
	if err != nil {
		CloseAll(fds)
		return nil, nil, err
	}
	return b[:n], fds, nil
}

func retry(fd int, b, oob []byte, flags int) (int, int, int, unix.Sockaddr, error) {
	for {
		n, oobn, got, from, err := unix.Recvmsg(fd, b, oob, flags)
		if !errors.Is(err, unix.EINTR) {
			return n, oobn, got, from, err
		}
	}
}

// Descriptors returns the descriptors of the control data of a packet.
func Descriptors(oob []byte) ([]int, error) {
	if len(oob) == 0 {
		return nil, nil
	}
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, fmt.Errorf("control data of a message: %w", err)
	}
	var fds []int
	for _, m := range messages {
		if m.Header.Level != unix.SOL_SOCKET || m.Header.Type != unix.SCM_RIGHTS {
			continue
		}
		if len(m.Data) == 0 || len(m.Data)%4 != 0 { // ParseUnixRights does not look
			return fds, errMalformed
		}
		got, err := unix.ParseUnixRights(&m)
		if err != nil {
			return fds, fmt.Errorf("descriptors of a message: %w", err)
		}
		fds = append(fds, got...)
	}
	return fds, nil
}

// CloseAll closes descriptors; nothing can be done about an error.
func CloseAll(fds []int) {
	for _, fd := range fds {
		if fd >= 0 {
			_ = unix.Close(fd)
		}
	}
}
