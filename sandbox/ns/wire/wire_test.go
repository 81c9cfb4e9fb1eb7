//go:build linux

package wire

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

func pair(t *testing.T) (*Conn, *Conn) {
	t.Helper()
	a, fd, err := Pair()
	if err != nil {
		t.Fatal(err)
	}
	b := Inherited(fd)
	t.Cleanup(func() {
		_ = a.Close()
		_ = b.Close()
	})
	return a, b
}

func TestMessagesCarryDescriptors(t *testing.T) {
	t.Parallel()
	a, b := pair(t)
	f, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	want := Request{Seq: 7, Start: &Start{Args: NewList([]string{"a", "", "\xff"}), Stdio: [3]bool{true}}}
	if err := a.Send(want, int(f.Fd()), int(f.Fd())); err != nil {
		t.Fatal(err)
	}
	var got Request
	fds, err := b.Recv(&got)
	if err != nil {
		t.Fatal(err)
	}
	defer CloseAll(fds)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if len(fds) != 2 {
		t.Fatalf("%d descriptors", len(fds))
	}
	for _, fd := range fds {
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
			t.Errorf("descriptor %d is not closed on exec: %v", fd, err)
		}
	}
	// And the other way, where the end waits in the poller.
	done := make(chan error, 1)
	var back Reply
	go func() {
		_, err := a.Recv(&back)
		done <- err
	}()
	if err := b.Send(Reply{Seq: 7, PID: 3}); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil || back.PID != 3 {
		t.Errorf("%+v, %v", back, err)
	}
}

func TestMessagesAreBounded(t *testing.T) {
	t.Parallel()
	a, b := pair(t)
	if err := a.Send(Request{Start: &Start{Dir: make([]byte, MaxMessage)}}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a large message: %v", err)
	}
	if err := a.Send(Request{}, make([]int, MaxDescriptors+1)...); err == nil {
		t.Error("too many descriptors were sent")
	}
	large := Request{Start: &Start{Dir: []byte(strings.Repeat("x", MaxMessage/2))}}
	if err := a.Send(large); err != nil {
		t.Fatal(err)
	}
	var got Request
	if _, err := b.Recv(&got); err != nil || len(got.Start.Dir) != MaxMessage/2 {
		t.Errorf("half of the largest message: %v", err)
	}
}

func TestEnds(t *testing.T) {
	t.Parallel()
	a, b := pair(t)
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	var r Reply
	if _, err := b.Recv(&r); !errors.Is(err, io.EOF) {
		t.Errorf("after the other end was closed: %v", err)
	}
	c, d := pair(t)
	done := make(chan error, 1)
	go func() {
		_, err := c.Recv(&r)
		done <- err
	}()
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err == nil {
		t.Error("closing did not wake who waited")
	}
	_ = d
}

func TestMalformed(t *testing.T) {
	t.Parallel()
	a, b := pair(t)
	if err := unix.Sendmsg(a.fd, []byte("{"), nil, nil, 0); err != nil {
		t.Fatal(err)
	}
	var r Reply
	if _, err := b.Recv(&r); err == nil {
		t.Error("half a message was taken")
	}
}

func TestListKeepsWords(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		words := rapid.SliceOf(rapid.StringMatching(`[^\x00]*`)).Draw(t, "words")
		got := NewList(words).Words()
		if len(words) == 0 && len(got) == 0 {
			return
		}
		if diff := cmp.Diff(words, got); diff != "" {
			t.Fatal(diff)
		}
	})
}

func FuzzDescriptors(f *testing.F) {
	f.Add([]byte{})
	f.Add(unix.UnixCredentials(&unix.Ucred{Pid: 1}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 4096 {
			return
		}
		fds, err := Descriptors(b)
		if err == nil && len(fds) > len(b)/4 {
			t.Errorf("%d descriptors in %d bytes", len(fds), len(b))
		}
	})
}

func FuzzDecode(f *testing.F) {
	f.Add(encode(Request{Seq: 1, Build: &Build{Trees: []Tree{{Path: []byte("/a"), Subs: NewList([]string{"u", "w"})}}, Lower: []int{0}, Upper: -1}}))
	f.Add(encode(Reply{Seq: 1, Exit: &Exit{ID: 3, Left: []Proc{{PID: 2, Command: []byte("x")}}}}))
	f.Add(encode(ForkdRequest{Spawn: &Spawn{Key: 9}}))
	f.Add(encode(Spawned{Err: "no"}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > MaxMessage {
			return
		}
		var q Request
		if decode(b, &q) == nil {
			same(t, b, encode(q))
		}
		var a Reply
		if decode(b, &a) == nil {
			same(t, b, encode(a))
		}
		var r ForkdRequest
		if decode(b, &r) == nil {
			same(t, b, encode(r))
		}
		var s Spawned
		_ = decode(b, &s) // its status is cut to 32 bits
	})
}

// same says that there is one packet for a message, but for numbers of 32 bits.
func same(t *testing.T, a, b []byte) {
	t.Helper()
	if len(a) != len(b) {
		t.Errorf("%d bytes became %d", len(a), len(b))
	}
}

// TestEveryFieldIsSent fills every field of every message.
func TestEveryFieldIsSent(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		q := rapid.Make[Request]().Draw(t, "request")
		var gotQ Request
		if err := decode(encode(q), &gotQ); err != nil {
			t.Fatal(err)
		}
		a := rapid.Make[Reply]().Draw(t, "reply")
		var gotA Reply
		if err := decode(encode(a), &gotA); err != nil {
			t.Fatal(err)
		}
		r := rapid.Make[ForkdRequest]().Draw(t, "request to the helper")
		var gotR ForkdRequest
		if err := decode(encode(r), &gotR); err != nil {
			t.Fatal(err)
		}
		s := rapid.Make[Spawned]().Draw(t, "answer of the helper")
		var gotS Spawned
		if err := decode(encode(s), &gotS); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]any{q, a, r, s}, []any{gotQ, gotA, gotR, gotS}, cmpopts.EquateEmpty()); diff != "" {
			t.Fatal(diff)
		}
	})
}
