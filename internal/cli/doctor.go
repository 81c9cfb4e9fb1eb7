package cli

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"modernc.org/sqlite" // the driver that reads the store for its integrity
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/cairn-run/cairn/client"
	"github.com/cairn-run/cairn/node"
)

func (a *app) doctorCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "doctor",
		Short: "Check the data directory, the store, the server and the sandbox",
		Long:  "doctor looks at the data directory, its file system and free space, the flush of its disk, who holds it,\nwhether a server answers, the integrity of the store, the registered agents, which model providers can be reached\nfrom here, and what the sandbox of commands can do on this machine: each of its limits by whom it is held. It changes\nnothing that is recorded.",
		Args:  cobra.NoArgs,
		RunE:  func(c *cobra.Command, _ []string) error { return a.doctor(c.Context()) },
	}
}

// health is how a check ended.
type health string

const (
	healthy health = "ok"
	warning health = "warning"
	broken  health = "broken"
)

// finding is what one check found.
type finding struct {
	Check  string `json:"check"`
	Health health `json:"health"`
	Found  string `json:"found"`
	Advice string `json:"advice,omitzero"`
}

// Bounds of what is healthy.
const (
	lowSpace  = 1 << 30               // bytes: below, there is a warning
	noSpace   = 64 << 20              // bytes: below, commits will be refused soon
	slowFlush = 50 * time.Millisecond // a commit takes at least one flush
	flushes   = 20
	// integrityTimeout bounds the reading of the whole store.
	integrityTimeout = 2 * time.Minute
)

// Names in a data directory.
const (
	lockName  = "cairn.lock"
	storeName = "cairn.db"
)

func (a *app) doctor(ctx context.Context) error {
	ctx, stop := a.interruptible(ctx)
	defer stop()
	var found []finding
	add := func(f ...finding) { found = append(found, f...) }
	add(finding{"version", healthy, a.Version, ""})
	if a.data == "" {
		return usage(errors.New("no data directory: give --data DIR or set CAIRN_DATA"))
	}
	if dir, ok := a.checkDirectory(); ok {
		add(dir, a.checkFileSystem(), a.checkSpace(), a.checkFlush(), a.checkLock(), a.checkStore(ctx))
	} else {
		add(dir)
	}
	var box *sandboxReport
	if a.server == "" { // another machine has its own
		add(a.checkModels(ctx))
		var of []finding
		of, box = a.checkSandbox(ctx)
		add(of...)
	}
	server, c := a.checkServer(ctx)
	add(server)
	switch {
	case c != nil:
		add(a.checkAgents(ctx, c))
	case server.Health == healthy && !a.fresh():
		l, err := a.local(ctx, needStore)
		if err != nil {
			add(finding{"agents", broken, "the data directory cannot be opened: " + message(err), ""})
			break
		}
		add(a.checkAgents(ctx, l.Client))
		if err := l.close(); err != nil {
			add(finding{"close", broken, err.Error(), ""})
		}
	}
	bad := slices.ContainsFunc(found, func(f finding) bool { return f.Health == broken })
	err := a.print(struct {
		Healthy  bool           `json:"healthy"`
		Data     string         `json:"data"`
		Findings []finding      `json:"findings"`
		Sandbox  *sandboxReport `json:"sandbox,omitempty"`
	}{!bad, a.data, found, box}, func(w io.Writer) {
		for _, f := range found {
			mark := a.out.green("ok     ")
			switch f.Health {
			case warning:
				mark = a.out.yellow("warning")
			case broken:
				mark = a.out.red("broken ")
			}
			fmt.Fprintf(w, "%s  %-10s  %s\n", mark, f.Check, oneLine(f.Found, 0))
			if f.Advice != "" {
				fmt.Fprintf(w, "%21s%s\n", "", a.out.dim(oneLine(f.Advice, 0)))
			}
		}
	})
	if err == nil && bad {
		err = &exit{code: ExitUnhealthy}
	}
	return err
}

// checkDirectory also says whether there is something to look at.
func (a *app) checkDirectory() (finding, bool) {
	const name = "directory"
	info, err := os.Stat(a.data)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return finding{name, healthy, a.data + " does not exist yet: the first run makes it", ""}, false
	case err != nil:
		return finding{name, broken, err.Error(), "make it readable, or choose another with --data"}, false
	case !info.IsDir():
		return finding{name, broken, a.data + " is no directory", "choose another with --data"}, false
	}
	f, err := os.CreateTemp(a.data, ".doctor-*")
	if err != nil {
		return finding{name, broken, "cannot be written: " + err.Error(), "make it writable for this user, or choose another with --data"}, true
	}
	_, _ = f.Close(), os.Remove(f.Name())
	if perm := info.Mode().Perm(); perm&0o077 != 0 {
		return finding{name, warning, fmt.Sprintf("%s is open to others (%s)", a.data, perm), "it holds a token and all sessions: chmod 700 " + shellWord(a.data)}, true
	}
	return finding{name, healthy, a.data, ""}, true
}

func (a *app) checkFileSystem() finding {
	kind, network, err := fileSystem(a.data)
	switch {
	case err != nil:
		return finding{"filesystem", warning, "cannot be found out: " + err.Error(), ""}
	case network:
		return finding{"filesystem", broken, kind + " is a network file system", "locks and shared memory cannot be trusted on it: put the data directory on a local disk"}
	case kind == "tmpfs":
		return finding{"filesystem", warning, kind + " is memory", "everything is lost when the machine stops"}
	}
	return finding{"filesystem", healthy, kind, ""}
}

func (a *app) checkSpace() finding {
	free, err := freeSpace(a.data)
	switch text := fmt.Sprintf("%s MiB free", count(free>>20)); {
	case err != nil:
		return finding{"space", warning, "cannot be found out: " + err.Error(), ""}
	case free < noSpace:
		return finding{"space", broken, text, "when it is full, new steps are refused and a store that nobody has open cannot be opened; work resumes when there is space"}
	case free < lowSpace:
		return finding{"space", warning, text, "make room: a full disk stops all sessions"}
	default:
		return finding{"space", healthy, text, ""}
	}
}

// checkFlush times the flush of a growing file, which every commit waits for.
func (a *app) checkFlush() finding {
	f, err := os.CreateTemp(a.data, ".doctor-*")
	if err != nil {
		return finding{"flush", broken, err.Error(), ""}
	}
	defer func() { _, _ = f.Close(), os.Remove(f.Name()) }()
	block := make([]byte, 4096)
	took := make([]time.Duration, flushes)
	for i := range took {
		start := time.Now()
		_, err := f.Write(block)
		if err == nil {
			err = f.Sync()
		}
		if errors.Is(err, syscall.ENOSPC) {
			return finding{"flush", broken, err.Error(), ""}
		}
		if err != nil {
			return finding{"flush", broken, err.Error(), "the disk does not keep what it is given: nothing can be promised on it"}
		}
		took[i] = time.Since(start)
	}
	slices.Sort(took)
	p50 := took[len(took)/2]
	text := fmt.Sprintf("%.2f ms at p50 of %d", float64(p50.Microseconds())/1000, flushes)
	if p50 > slowFlush {
		return finding{"flush", warning, text, "every step waits for one: a faster disk makes faster sessions"}
	}
	return finding{"flush", healthy, text, ""}
}

// checkLock says who holds the data directory.
func (a *app) checkLock() finding {
	const name = "lock"
	b, err := os.ReadFile(filepath.Join(a.data, lockName))
	if errors.Is(err, os.ErrNotExist) {
		return finding{name, healthy, "free", ""}
	}
	if err != nil {
		return finding{name, broken, err.Error(), ""}
	}
	held, err := isLocked(filepath.Join(a.data, lockName))
	if err != nil {
		return finding{name, warning, "cannot be found out: " + err.Error(), ""}
	}
	if !held {
		return finding{name, healthy, "free", ""}
	}
	var h struct {
		PID     int       `json:"pid"`
		Host    string    `json:"host"`
		Started time.Time `json:"started"`
	}
	if json.Unmarshal(b, &h) != nil || h.PID <= 0 {
		return finding{name, healthy, "held by another process", ""}
	}
	return finding{name, healthy, fmt.Sprintf("held by process %d on %s since %s", h.PID, oneLine(h.Host, 80), h.Started.In(a.Location).Format("2006-01-02 15:04:05")), ""}
}

// checkStore lets SQLite look over the whole store. It reads beside whoever
// holds it.
func (a *app) checkStore(ctx context.Context) finding {
	const name = "store"
	path := filepath.Join(a.data, storeName)
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return finding{name, healthy, "empty", ""}
	}
	if err != nil {
		return finding{name, broken, err.Error(), ""}
	}
	ctx, cancel := context.WithTimeout(ctx, integrityTimeout)
	defer cancel()
	verdict, err := integrity(ctx, path)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return finding{name, warning, "too large to look over in " + took(integrityTimeout), ""}
	case err != nil && !damaged(err):
		// Reading needs a little room beside the store, and the right to write there.
		return finding{name, broken, "cannot be looked at: " + err.Error(), "it may be sound: first see to what stands above, the directory and its space"}
	case err != nil:
		return finding{name, broken, err.Error(), restore}
	case verdict != "ok":
		return finding{name, broken, verdict, restore}
	}
	text := fmt.Sprintf("sound, %s MiB", count((info.Size()+(1<<20)-1)>>20))
	if wal, err := os.Stat(path + "-wal"); err == nil && wal.Size() > 0 {
		text += fmt.Sprintf(" and %s MiB of log", count((wal.Size()+(1<<20)-1)>>20))
	}
	return finding{name, healthy, text, ""}
}

// restore is what helps a store that is damaged, and nothing else.
const restore = "restore it from a copy, with its -wal file"

// damaged says that it is the content of the store that SQLite cannot read.
func damaged(err error) bool {
	e, ok := errors.AsType[*sqlite.Error](err)
	if !ok {
		return false
	}
	const primary = 0xff // the rest of a code says more about the same
	return e.Code()&primary == sqlite3.SQLITE_CORRUPT || e.Code()&primary == sqlite3.SQLITE_NOTADB
}

// integrity is the first line of SQLite's quick_check, on a connection that
// cannot write.
func integrity(ctx context.Context, path string) (verdict string, err error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	u := url.URL{Scheme: "file", Path: filepath.ToSlash(abs), RawQuery: "mode=ro&_pragma=busy_timeout(5000)"}
	db, err := sql.Open("sqlite", u.String())
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	err = db.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&verdict)
	return verdict, err
}

// checkServer says who answers, and returns a client of it.
func (a *app) checkServer(ctx context.Context) (finding, *client.Client) {
	const name = "server"
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	path := filepath.Join(a.data, socketName)
	c, where := client.Unix(path, a.Getenv("CAIRN_TOKEN")), path
	if a.server != "" {
		token := a.Getenv("CAIRN_TOKEN")
		if token == "" {
			token = a.storedToken()
		}
		c, where = client.New(a.server, token, nil), a.server
	} else if _, err := os.Stat(path); err != nil {
		return finding{name, healthy, "none runs: commands open the data directory themselves", ""}, nil
	}
	v, err := c.Version(ctx)
	switch {
	case err != nil && a.server != "":
		return finding{name, broken, where + ": " + message(err), "is it running, and is CAIRN_TOKEN its token?"}, nil
	case err != nil:
		if held, lerr := isLocked(filepath.Join(a.data, lockName)); lerr == nil && held {
			return finding{name, broken, "the process that holds the data directory does not answer on " + where, "see its log; stop it, and start cairn serve"}, nil
		}
		return finding{name, healthy, "none runs: commands open the data directory themselves", ""}, nil
	case v.Version != a.Version:
		return finding{name, warning, fmt.Sprintf("%s answers with version %s", where, oneLine(v.Version, 60)), "this command is " + a.Version}, c
	}
	return finding{name, healthy, where + " answers", ""}, c
}

// checkModels says which providers can be reached with the keys and the
// environment of this command.
func (a *app) checkModels(ctx context.Context) finding {
	const name = "models"
	found, err := node.OpenProviders(node.ProviderOptions{Dir: a.data, Getenv: a.Getenv})
	if err != nil {
		return finding{name, broken, message(err), "nothing runs until it is right: docs/providers.md describes the file"}
	}
	var ready, bad []string
	for _, l := range askAll(ctx, found.All()) {
		switch l.State {
		case reachReady, reachNoList:
			ready = append(ready, l.Name)
		case reachBadKey, reachRefused, reachAway:
			bad = append(bad, l.Name+" ("+string(l.State)+")")
		case reachNoKey, reachDown, reachUnset: // nobody said that it is there
		}
	}
	text := "no provider can be reached"
	if len(ready) > 0 {
		text = "ready: " + strings.Join(ready, ", ")
	}
	switch {
	case len(bad) > 0:
		return finding{name, warning, text + "; not: " + strings.Join(bad, ", "), "cairn models says why"}
	case len(ready) == 0:
		return finding{name, healthy, text, "script models need none; cairn models says what others do"}
	}
	return finding{name, healthy, text, ""}
}

func (a *app) checkAgents(ctx context.Context, c *client.Client) finding {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	list, err := c.Agents(ctx)
	if err != nil {
		return finding{"agents", broken, message(err), ""}
	}
	text := plural(len(list.Agents), "agent")
	for i, v := range list.Agents {
		if i == 5 {
			text += ", …"
			break
		}
		sep := ", "
		if i == 0 {
			sep = ": "
		}
		text += sep + v.Name + " " + digest(v.Digest)
	}
	return finding{"agents", healthy, text, ""}
}
