package builtin

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/sandbox"
	"github.com/cairn-run/cairn/tool"
	"github.com/cairn-run/cairn/tool/builtin/hand"
	"github.com/cairn-run/cairn/workspace"
)

// box is one instance with the files of a session in it.
type box struct {
	sandbox.Instance
	tree   *workspace.Tree
	at     cairn.Snapshot // the recorded state its files were last the same as
	plain  string         // the directory of all files, of a driver without mounts
	skills string         // the directory on the host that holds "skills", if there are some
	spec   sandbox.Spec   // without id and root: what the agent asked for
	env    []string
	view   string // a directory to be removed with the instance
	free   func() // gives its slot back
	// started says that a background command was started in it; whoever has the writer's
	// turn changes it.
	started bool

	mu       sync.Mutex
	jobs     []*job
	reported []string // the background commands that the last record named
}

// want is what an agent's environment asks for.
func (d *Driver) want(a *cairn.Agent) (sandbox.Spec, string, error) {
	e := a.Environment
	spec := sandbox.Spec{Image: e.Image, Limits: sandbox.Limits{
		CPU: e.CPU, Memory: int64(e.Memory), Disk: int64(e.Disk), Processes: e.Processes, Files: e.OpenFiles,
	}}
	if spec.Image == "" {
		spec.Image = sandbox.ImageHost
	}
	if spec.Image != sandbox.ImageHost {
		// A name, never a path: any other directory may hold keys, or the files of other sessions.
		dir := path.Join(d.o.ImageDir, path.Base(spec.Image))
		if i, err := os.Stat(dir); d.o.ImageDir == "" || err != nil || !i.IsDir() || path.Base(spec.Image) != spec.Image || spec.Image == ".." || spec.Image == "." {
			where := "this node has none but host"
			if d.o.ImageDir != "" {
				where = fmt.Sprintf("put the root file system into %s, or a symbolic link to it", d.o.ImageDir)
			}
			return spec, "", &cairn.Error{Code: cairn.CodeDenied, NotDone: true, Message: fmt.Sprintf("there is no image %q: %s", spec.Image, where)}
		}
		spec.Image = dir
	}
	skills, err := d.skills(a.Skills)
	if err != nil {
		return spec, "", err
	}
	if skills != "" {
		spec.Mounts = []sandbox.Mount{{Host: path.Join(skills, skillsName), Path: sandbox.SkillsDir}}
	}
	return spec, skills, nil
}

// environ are the variables an agent gives its commands, by name.
func environ(a *cairn.Agent) []string {
	var env []string
	for _, name := range slices.Sorted(maps.Keys(a.Environment.Env)) {
		env = append(env, name+"="+a.Environment.Env[name])
	}
	return env
}

// create makes an instance with the files of a session, to be written or only looked
// at.
func (d *Driver) create(ctx context.Context, key cairn.SessionKey, c tool.Call, write bool) (*box, error) {
	spec, skills, err := d.want(c.Definition)
	if err != nil {
		return nil, err
	}
	tree, err := d.o.Workspaces.Tree(key, c.Base)
	if err != nil {
		return nil, err
	}
	free, err := d.slot(ctx)
	if err != nil {
		return nil, err
	}
	b := &box{tree: tree.Within(spec.Limits.WithDefaults().Disk), at: c.Workspace, skills: skills, spec: spec, env: environ(c.Definition), free: free}
	if err := d.start(ctx, b, write); err != nil {
		b.release()
		return nil, err
	}
	return b, nil
}

// start lays out the files and makes the instance.
func (d *Driver) start(ctx context.Context, b *box, write bool) error {
	spec := b.spec
	var err error
	if d.plain {
		if b.plain, err = b.tree.Plain(ctx, b.at); err != nil {
			return err
		}
		spec.Root.Plain = b.plain
	} else {
		lay := b.tree.View
		if write {
			lay = b.tree.Checkout
		}
		m, err := lay(ctx, b.at)
		if err != nil {
			return err
		}
		if !write {
			if m.Upper, m.Work, err = d.scratch(b, m.Lower); err != nil {
				return err
			}
		}
		spec.Root = sandbox.Root{Lower: m.Lower, Upper: m.Upper, Work: m.Work}
	}
	var id [12]byte
	_, _ = rand.Read(id[:]) // never fails (crypto/rand)
	spec.ID = "c-" + hex.EncodeToString(id[:])
	if d.plain && !write { // files are looked at without a process
		b.Instance = nothing{}
		return nil
	}
	if err := take(ctx, d.creations); err != nil {
		return &cairn.Error{Code: cairn.CodeUnavailable, Message: "too many sandboxes are being made; try again later", Retryable: true, NotDone: true, Err: err}
	}
	defer func() { <-d.creations }()
	b.Instance, err = d.o.Sandbox.Create(ctx, spec)
	return err
}

// scratch gives files that are only looked at an upper directory that is thrown away:
// without one, a driver may lay a memory file system over /tmp, where files of the
// session are.
func (d *Driver) scratch(b *box, lower []string) (upper, work string, err error) {
	top, err := os.MkdirTemp(d.o.TempDir, viewDirs)
	if err != nil {
		return "", "", fmt.Errorf("make a temporary directory: %w", err)
	}
	b.view = top
	owner, err := os.Stat(lower[len(lower)-1])
	if err != nil {
		return "", "", err
	}
	upper, work = filepath.Join(top, "upper"), filepath.Join(top, "work")
	for _, dir := range []string{upper, work} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return "", "", err
		}
		if err := giveTo(dir, owner); err != nil {
			return "", "", err
		}
	}
	return upper, work, nil
}

// removeView removes such directories. overlayfs leaves some in there that nobody may
// look into.
func removeView(top string) error {
	_ = filepath.WalkDir(filepath.Join(top, "work"), func(p string, e fs.DirEntry, err error) error {
		if err == nil && e.IsDir() {
			err = os.Chmod(p, 0o700) // before it is looked into
		}
		return err
	}) // what follows says what failed
	return os.RemoveAll(top)
}

// nothing is the instance of files that are looked at in process.
type nothing struct{ sandbox.Instance }

func (nothing) Destroy(context.Context) ([]sandbox.ProcessInfo, error) { return nil, nil }
func (nothing) Done() <-chan struct{}                                  { return nil }

// same says whether an instance is what a call would be made in.
func (b *box) same(at cairn.Snapshot, spec sandbox.Spec, env []string) bool {
	return b.at.Layer == at.Layer && b.at.Tree == at.Tree && reflect.DeepEqual(b.spec, spec) && slices.Equal(b.env, env)
}

// lost says why the instance ended by itself: a breach, or an error; both nil: it lives.
func (b *box) lost() (*sandbox.Breach, error) {
	select {
	case <-b.Done():
	default:
		return nil, nil
	}
	err := b.Err()
	if breach, ok := errors.AsType[*sandbox.Breach](err); ok {
		return breach, nil
	}
	return nil, &cairn.Error{Code: cairn.CodeUnavailable, Message: "the sandbox was lost; the files are put back", Retryable: true, Err: err}
}

// destroy ends the instance, and returns when nothing in it is alive.
func (b *box) destroy(ctx context.Context) ([]string, error) {
	ctx, cancel := clean(ctx)
	defer cancel()
	killed, err := b.Destroy(ctx)
	for _, j := range b.all() {
		select { // a job's process has ended with the instance
		case <-j.done:
		case <-ctx.Done():
			err = errors.Join(err, ctx.Err())
		}
	}
	b.release()
	if err != nil {
		return names(killed), &cairn.Error{Code: cairn.CodeUnavailable, Message: "the sandbox could not be ended", Retryable: true, Err: err}
	}
	return names(killed), nil
}

// release gives back what the node held for the instance.
func (b *box) release() {
	if b.view != "" {
		_ = removeView(b.view) // what stays is removed when the driver is made next
		b.view = ""
	}
	if b.free != nil {
		b.free()
		b.free = nil
	}
}

// outside is how a path of the sandbox is called by a command.
func (b *box) outside(p string) string {
	if b.plain == "" {
		return p
	}
	return path.Join(b.plain, p)
}

// inside is the path in the sandbox of a directory that a command reports; false: it
// is none, or not one of the session's files.
func (b *box) inside(p string) (string, bool) {
	if b.plain != "" {
		rest, ok := strings.CutPrefix(p, b.plain)
		if !ok || rest != "" && rest[0] != '/' {
			return "", false
		}
		p = "/" + strings.TrimPrefix(rest, "/")
	}
	if len(p) >= maxDirName || !path.IsAbs(p) || path.Clean(p) != p || strings.ContainsFunc(p, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\uFFFD' }) {
		return "", false
	}
	return p, true
}

// maxDirName bounds a working directory that is recorded, in bytes.
const maxDirName = 4096

// hand has the file program do a request. What it says is an answer; an error means
// that it could not be asked.
func (b *box) hand(ctx context.Context, r hand.Request, rest io.Reader) (*hand.Response, error) {
	line, err := hand.Encode(r)
	if err != nil {
		return nil, &cairn.Error{Code: cairn.CodeInvalidArgs, Message: err.Error(), NotDone: true}
	}
	in := io.Reader(bytes.NewReader(line))
	if rest != nil {
		in = io.MultiReader(in, rest)
	}
	out := &bounded{room: hand.MaxResponse + 1}
	if b.plain != "" {
		root := b.plain
		if b.skills != "" && underSkills(r.Args) {
			root = b.skills
		}
		if code := hand.Main(root, in, out); code != 0 {
			return nil, &cairn.Error{Code: cairn.CodeInternal, Message: "the files of the session cannot be reached"}
		}
		return b.answer(out, sandbox.Exit{})
	}
	complaint := &bounded{room: 4 << 10}
	p, err := b.Start(ctx, sandbox.Cmd{Args: []string{sandbox.HandPath}, Dir: "/", Stdin: in, Stdout: out, Stderr: complaint})
	if err != nil {
		return nil, err
	}
	exit, err := p.Wait(ctx)
	if err != nil {
		end, cancel := clean(ctx)
		defer cancel()
		_, _ = p.Kill(end) // the instance is destroyed if it could not be
		return nil, err
	}
	if exit.Code != 0 && len(b.alive()) > 0 {
		return nil, &cairn.Error{Code: cairn.CodeToolFailed, Message: fmt.Sprintf("the file program could not do its work (it ended with %d %s): "+
			"what runs in the background takes up the processes or the memory of the sandbox, or killed it; stop some of it with bash", exit.Code, exit.Signal)}
	}
	if exit.Code != 0 {
		return nil, &cairn.Error{Code: cairn.CodeInternal, Message: fmt.Sprintf("the file program ended with %d %s", exit.Code, exit.Signal), Err: errors.New(complaint.String())}
	}
	return b.answer(out, exit)
}

func (b *box) answer(out *bounded, exit sandbox.Exit) (*hand.Response, error) {
	var resp hand.Response
	if err := json.Unmarshal(out.Bytes(), &resp); err != nil {
		return nil, &cairn.Error{Code: cairn.CodeInternal, Message: fmt.Sprintf("the file program ended with %d and said nothing that can be read", exit.Code), Err: err}
	}
	return &resp, nil
}

// underSkills says whether a request of the file tools is about the skills.
func underSkills(args json.RawMessage) bool {
	var a struct {
		Path string `json:"path"`
	}
	if err := json.Unmarshal(args, &a); err != nil {
		return false
	}
	p := path.Clean(a.Path)
	return p == sandbox.SkillsDir || strings.HasPrefix(p, sandbox.SkillsDir+"/")
}

// bounded keeps the first bytes of what is written to it.
type bounded struct {
	mu   sync.Mutex
	b    []byte
	room int
}

func (w *bounded) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.b = append(w.b, p[:min(len(p), w.room-len(w.b))]...)
	return len(p), nil
}

func (w *bounded) Bytes() []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b
}

func (w *bounded) String() string { return string(w.Bytes()) }

// idleTime is how long background commands live without a call.
func idleTime(a *cairn.Agent) time.Duration { return time.Duration(a.Environment.Idle) }
