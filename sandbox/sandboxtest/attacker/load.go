//go:build linux

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// loads use up a resource until they are stopped or have reached their maximum
// (the first argument), which keeps a missing limit from harming the machine the
// tests run on. They print how far they have got.
var loads = map[string]func(args []string){
	"anon":   anon,
	"shared": shared,
	"shm":    func(args []string) { fill(args, "/dev/shm/hog") },
	"tmp":    func(args []string) { fill(args, "/tmp/hog") },
	"disk":   func(args []string) { fill(args, "hog") },
	"memfd":  memfd,
	"memfds": memfds,
	"sysv":   sysv,
	"flight": func(args []string) { hide(args, memoryFile, sendAway) },
	"lost":   func(args []string) { hide(args, lostFile, keep) },
	"unseen": func(args []string) { hide(args, lostFile, mapOnly) },
	"away":   func(args []string) { hide(args, lostFile, sendAway) },
	"pipes":  pipes,
	"forks":  func(args []string) { forks(args, 2_000) },
	"bomb":   func(args []string) { forks(args, 1<<62) },
	"fds":    descriptors,
	"files":  files,
	"many":   many,
	"sparse": sparse,
	"deep":   deep,
	"spin":   func([]string) { spin() },
	"flood":  flood,
	"zombie": zombies,
	"mapped": mapped,
}

//nolint:gochecknoinits // only here is the first thread that of main
func init() {
	loads["headless"] = headless
	if len(os.Args) > 2 && os.Args[2] == "headless" {
		runtime.LockOSThread()
	}
}

// headless is another load in a process whose first thread ends: in /proc it looks dead,
// and what it has is shown of its other threads only.
func headless(args []string) {
	go func() {
		loads[args[0]](args[1:])
		os.Exit(0)
	}()
	// The first thread is this goroutine's, see init.
	_, _, _ = unix.Syscall(unix.SYS_EXIT, 0, 0, 0) // not raw: the runtime goes on without the thread
}

const mib = 1 << 20

// limit is the first argument.
func limit(args []string) int { return int(number(arg(args, 0))) }

// said is how far a load has got.
func said(n int) { fmt.Println(n) } //nolint:forbidigo // the output of a program

func stopped(n int, err error) {
	said(n)
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// touch writes to every page.
func touch(b []byte) {
	for i := 0; i < len(b); i += 4096 {
		b[i] = 1
	}
}

func mapping(flags int, max int) {
	const chunk = 4 * mib
	for n := 0; n < max; n += chunk {
		b, err := unix.Mmap(-1, 0, chunk, unix.PROT_READ|unix.PROT_WRITE, flags)
		if err != nil {
			stopped(n, err)
		}
		touch(b)
		said(n + chunk)
	}
}

func anon(args []string)   { mapping(unix.MAP_PRIVATE|unix.MAP_ANONYMOUS, limit(args)) }
func shared(args []string) { mapping(unix.MAP_SHARED|unix.MAP_ANONYMOUS, limit(args)) }

func memfd(args []string) {
	fd, err := unix.MemfdCreate("hog", unix.MFD_CLOEXEC)
	if err != nil {
		stopped(0, err)
	}
	pour(os.NewFile(uintptr(fd), "memfd"), limit(args))
}

// memfds fills many small ones, none of them mapped: what a process has mapped
// does not show them.
func memfds(args []string) {
	b := make([]byte, 8*mib)
	touch(b)
	for n := 0; n < limit(args); n += len(b) {
		fd, err := unix.MemfdCreate("hog", unix.MFD_CLOEXEC)
		if err == nil {
			_, err = unix.Write(fd, b)
		}
		if err != nil {
			stopped(n, err)
		}
		said(n + len(b))
	}
}

// pour writes until it is stopped.
func pour(f *os.File, max int) {
	b := make([]byte, mib)
	touch(b)
	for n := 0; n < max; n += len(b) {
		if _, err := f.Write(b); err != nil {
			stopped(n, err)
		}
		said(n + len(b))
	}
}

func fill(args []string, path string) {
	f, err := os.Create(path)
	if err != nil {
		stopped(0, err)
	}
	pour(f, limit(args))
}

// mapped fills a file through a shared mapping, past write(2).
func mapped(args []string) {
	max := limit(args)
	f, err := os.Create("mapped")
	if err != nil {
		stopped(0, err)
	}
	const chunk = 4 * mib
	for n := 0; n < max; n += chunk {
		if err := f.Truncate(int64(n + chunk)); err != nil {
			stopped(n, err)
		}
		b, err := unix.Mmap(int(f.Fd()), int64(n), chunk, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
		if err != nil {
			stopped(n, err)
		}
		touch(b)
		if err := unix.Munmap(b); err != nil {
			stopped(n, err)
		}
		said(n + chunk)
	}
}

// pipes fills pipes of a mebibyte.
func pipes(args []string) {
	b := make([]byte, mib)
	for n := 0; n < limit(args); {
		var p [2]int
		if err := unix.Pipe2(p[:], unix.O_NONBLOCK); err != nil {
			stopped(n, err)
		}
		_, _ = unix.FcntlInt(uintptr(p[1]), unix.F_SETPIPE_SZ, mib) // smaller is all right
		w, err := unix.Write(p[1], b)
		if err != nil {
			stopped(n, err)
		}
		n += w
		said(n)
	}
}

// forks is a bomb: every process forks as fast as it can and stays. What they
// count together in shared memory bounds it, and each stops after so many tries.
func forks(args []string, most int) {
	b, err := unix.Mmap(-1, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_ANONYMOUS)
	if err != nil {
		stopped(0, err)
	}
	made, max := (*atomic.Int64)(unsafe.Pointer(&b[0])), int64(limit(args))
	parent := true
	for tries := 0; made.Load() < max && tries < most; tries++ {
		r, _, errno := unix.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
		if errno == 0 && r == 0 {
			parent = false // one thread, no runtime: only raw calls from here on
			made.Add(1)
		}
		if parent && tries%100 == 0 && tries < 2_000 {
			said(int(made.Load()))
		}
	}
	if !parent {
		for {
			unix.RawSyscall6(unix.SYS_PPOLL, 0, 0, 0, 0, 0, 0) //nolint:errcheck // a process that does nothing
		}
	}
	said(int(made.Load()))
}

// descriptors opens files until it may not.
func descriptors(args []string) {
	for n := range limit(args) {
		if _, err := unix.Open("/dev/null", unix.O_RDONLY, 0); err != nil {
			stopped(n, err)
		}
	}
	said(limit(args))
}

// files makes empty files.
func files(args []string) { spread(args, nil) }

// many makes files of 4 KiB.
func many(args []string) { spread(args, make([]byte, 4096)) }

func spread(args []string, content []byte) {
	for n := range limit(args) {
		dir := "d" + strconv.Itoa(n/1000)
		if n%1000 == 0 {
			if err := os.Mkdir(dir, 0o755); err != nil {
				stopped(n, err)
			}
			said(n)
		}
		if err := os.WriteFile(filepath.Join(dir, strconv.Itoa(n)), content, 0o600); err != nil {
			stopped(n, err)
		}
	}
	said(limit(args))
}

// sparse makes files that are large by their size and hold nothing.
func sparse(args []string) {
	for n := range limit(args) {
		f, err := os.Create("sparse" + strconv.Itoa(n))
		if err != nil {
			stopped(n, err)
		}
		err = f.Truncate(1 << 40)
		_ = f.Close()
		if err != nil {
			stopped(n, err)
		}
	}
	said(limit(args))
}

// deep makes directories inside each other.
func deep(args []string) {
	for n := range limit(args) {
		if err := os.Mkdir("d", 0o755); err != nil {
			stopped(n, err)
		}
		if err := unix.Chdir("d"); err != nil {
			stopped(n, err)
		}
	}
	said(limit(args))
}

// spin uses a processor.
func spin() {
	ready()
	for n := uint64(1); n != 0; n++ { //nolint:revive // that is the point
	}
}

// flood writes to stdout.
func flood(args []string) {
	b := make([]byte, mib)
	for i := range b {
		b[i] = "0123456789abcde\n"[i%16]
	}
	for n := 0; n < limit(args); n += len(b) {
		if _, err := os.Stdout.Write(b); err != nil {
			os.Exit(1)
		}
	}
}

// zombies makes children that end and are never waited for.
func zombies(args []string) {
	n := 0
	for ; n < limit(args); n++ {
		r, _, errno := unix.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
		if errno != 0 {
			stopped(n, errno)
		}
		if r == 0 {
			unix.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0) //nolint:errcheck // it does not return
		}
	}
	said(n)
}
