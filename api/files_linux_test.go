package api_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/api"
	"github.com/cairn-run/cairn/api/files"
	v1 "github.com/cairn-run/cairn/api/v1"
	"github.com/cairn-run/cairn/client"
	"github.com/cairn-run/cairn/journal"
	"github.com/cairn-run/cairn/journal/memory"
	"github.com/cairn-run/cairn/workspace"
)

// shelf is the store of the files of a world's sessions.
type shelf struct {
	*workspace.Store
	dir string
}

// shelved is a world with files.
func shelved(t *testing.T, change ...func(*api.Config)) (*world, *shelf) {
	t.Helper()
	return shelvedOver(t, memory.Open(memory.Options{}), change...)
}

func shelvedOver(t *testing.T, store journal.Store, change ...func(*api.Config)) (*world, *shelf) {
	t.Helper()
	s := &shelf{dir: filepath.Join(t.TempDir(), "workspaces")}
	var err error
	if s.Store, err = workspace.Open(s.dir, workspace.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return newWorldOver(t, store, append([]func(*api.Config){func(c *api.Config) { c.Files = files.New(s.Store) }}, change...)...), s
}

// change makes the next layer of a session's files.
func (s *shelf) change(t *testing.T, key cairn.SessionKey, base cairn.Digest, at cairn.Snapshot, files map[string]string) cairn.Snapshot {
	t.Helper()
	tree, err := s.Tree(key, base)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := tree.Plain(t.Context(), at)
	if err != nil {
		t.Fatal(err)
	}
	for path, text := range files {
		path = filepath.Join(dir, path)
		if text == "" {
			err = os.Remove(path)
		} else if err = os.MkdirAll(filepath.Dir(path), 0o755); err == nil {
			err = os.WriteFile(path, []byte(text), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	out, err := tree.SnapshotPlain(t.Context(), at)
	if err != nil {
		t.Fatal(err)
	}
	return out.Snapshot
}

// tarOf is a plain tar of files.
func tarOf(files map[string]string) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, p := range slices.Sorted(maps.Keys(files)) {
		if w.WriteHeader(&tar.Header{Name: p, Mode: 0o644, Size: int64(len(files[p]))}) != nil {
			panic(p)
		}
		_, _ = io.WriteString(w, files[p]) // a buffer takes everything
	}
	_ = w.Close() // a buffer takes everything
	return b.Bytes()
}

func upload(t *testing.T, w *world, files map[string]string) v1.Workspace {
	t.Helper()
	ws, err := w.client(tokenAnn).UploadWorkspace(t.Context(), bytes.NewReader(tarOf(files)))
	if err != nil {
		t.Fatal(err)
	}
	return ws
}

func TestUploadWorkspace(t *testing.T) {
	t.Parallel()
	w, _ := shelved(t)
	files := map[string]string{"AGENTS.md": "Run make test.", "main.go": "package main\n"}
	first, second := upload(t, w, files), upload(t, w, files)
	if first != second || first.Files != 2 || first.Bytes != 27 {
		t.Errorf("%+v, %+v", first, second)
	}
	ctx := t.Context()
	if err := w.client(tokenBob).HasWorkspace(ctx, first.Tree); err != nil {
		t.Error(err)
	}
	if err := w.client(tokenEve).HasWorkspace(ctx, first.Tree); cairn.CodeOf(err) != cairn.CodeNotFound {
		t.Errorf("the tree of another tenant: %v", err)
	}
	if _, err := w.client(tokenEve).CreateSession(ctx, v1.CreateSession{Agent: "desk", Workspace: first.Tree}); cairn.CodeOf(err) != cairn.CodeNotFound || !strings.Contains(err.Error(), "POST /v1/workspaces") {
		t.Errorf("a session on the tree of another tenant: %v", err)
	}
}

func TestUploadRefused(t *testing.T) {
	t.Parallel()
	w, _ := shelved(t, func(c *api.Config) { c.UploadBytes = 8 << 10 })
	body := string(tarOf(map[string]string{"a": "b"}))
	for name, c := range map[string]struct {
		body   string
		header []string
		status int
	}{
		"json":    {"{}", []string{"Content-Type", "application/json"}, 415},
		"no type": {body, nil, 415},
		"gzip":    {body, []string{"Content-Type", "application/x-tar", "Content-Encoding", "gzip"}, 415},
		"large":   {strings.Repeat("x", 8<<10+1), []string{"Content-Type", "application/x-tar"}, 413},
		"no tar":  {strings.Repeat("x", 1024), []string{"Content-Type", "application/x-tar"}, 400},
		"escape":  {string(tarOf(map[string]string{"../a": "b"})), []string{"Content-Type", "application/x-tar"}, 400},
	} {
		a := w.call(http.MethodPost, "/v1/workspaces", tokenAnn, c.body, c.header...)
		if a.status != c.status {
			t.Errorf("%s: status %d, want %d: %s", name, a.status, c.status, a.body)
		}
		a.failure(t)
	}
	// Without a length, the bound is found while reading.
	large := tarOf(map[string]string{"a": strings.Repeat("x", 16<<10)})
	_, err := w.client(tokenAnn).UploadWorkspace(t.Context(), struct{ io.Reader }{bytes.NewReader(large)})
	if cairn.CodeOf(err) != cairn.CodeInvalid || !strings.Contains(err.Error(), "more than 8192 bytes") {
		t.Errorf("an upload without a length: %v", err)
	}
}

// TestProject: what AGENTS.md says goes with the session, cut where it is long.
func TestProject(t *testing.T) {
	t.Parallel()
	w, _ := shelved(t)
	start := func(files map[string]string) cairn.Start {
		t.Helper()
		ws := upload(t, w, files)
		s, err := w.client(tokenAnn).CreateSession(t.Context(), v1.CreateSession{Agent: "desk", Input: v1.Text("hi"), Workspace: ws.Tree})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := w.client(tokenAnn).Session(t.Context(), s.ID); err != nil || got.Workspace != ws.Tree || s.Workspace != ws.Tree {
			t.Errorf("%+v, %v", got, err)
		}
		inputs, err := w.journal.Inputs(t.Context(), cairn.SessionKey{Tenant: tenantOne, ID: s.ID}, 1)
		if err != nil {
			t.Fatal(err)
		}
		return inputs[0].Data.(cairn.Start)
	}
	if got := start(map[string]string{"AGENTS.md": "Run make test.\xff", "docs/AGENTS.md": "no"}); got.Project != "Run make test.\uFFFD" {
		t.Errorf("project %q", got.Project)
	}
	if got := start(map[string]string{"docs/AGENTS.md": "no"}); got.Project != "" || got.Workspace == "" {
		t.Errorf("project %q", got.Project)
	}
	long := start(map[string]string{"AGENTS.md": strings.Repeat("a", 70<<10)})
	if !strings.HasSuffix(long.Project, "Read /workspace/AGENTS.md for the rest.]\n") || len(long.Project) > 66<<10 {
		t.Errorf("project of %d bytes: …%q", len(long.Project), long.Project[len(long.Project)-100:])
	}
}

// edited is a session whose files changed twice, after events 3 and 5.
func edited(t *testing.T, w *world, s *shelf) cairn.SessionID {
	t.Helper()
	ws := upload(t, w, map[string]string{"a.txt": "one"})
	created, err := w.client(tokenAnn).CreateSession(t.Context(), v1.CreateSession{Agent: "desk", Workspace: ws.Tree})
	if err != nil {
		t.Fatal(err)
	}
	o := w.own(created.ID)
	key := cairn.SessionKey{Tenant: tenantOne, ID: created.ID}
	one := s.change(t, key, ws.Tree, cairn.Snapshot{Tree: ws.Tree}, map[string]string{"workspace/a.txt": "two", "tmp/x": "outside"})
	two := s.change(t, key, ws.Tree, one, map[string]string{"workspace/dir/b\xff.txt": "b", "tmp/x": ""})
	o.commit(step{events: []cairn.Event{
		event(cairn.SessionCreated{Key: key, Agent: "desk", Workspace: ws.Tree}),
		event(cairn.RunStarted{Sandbox: "ns"}),
		{Step: "eff_1", Data: cairn.WorkspaceSnapshotted{Snapshotted: cairn.Snapshotted{Snapshot: one, Changes: cairn.Changes{Modified: 1}}}},
		{Step: "eff_1", Data: cairn.ToolCallCompleted{Attempt: 1}},
		{Step: "eff_2", Data: cairn.WorkspaceSnapshotted{Snapshotted: cairn.Snapshotted{Snapshot: two, Changes: cairn.Changes{Added: 1}}}},
	}})
	return created.ID
}

func TestFiles(t *testing.T) {
	t.Parallel()
	w, s := shelved(t)
	id := edited(t, w, s)
	ann, ctx := w.client(tokenAnn), t.Context()
	names := func(q client.FileQuery) []string {
		t.Helper()
		list, err := ann.Files(ctx, id, q)
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, f := range list.Entries {
			out = append(out, f.Name())
		}
		return out
	}
	for name, c := range map[string]struct {
		q    client.FileQuery
		want []string
	}{
		"now":     {client.FileQuery{At: client.Now, Depth: 9}, []string{"a.txt", "dir", "dir/b\xff.txt"}},
		"level":   {client.FileQuery{At: client.Now}, []string{"a.txt", "dir"}},
		"begin":   {client.FileQuery{At: 0}, []string{"a.txt"}},
		"outside": {client.FileQuery{At: 4, Path: "/tmp"}, []string{"/tmp/x"}},
		"root":    {client.FileQuery{At: 4, Path: "/", Depth: 1}, []string{"/home", "/tmp", "/workspace"}},
		"dir":     {client.FileQuery{At: client.Now, Path: "./dir//"}, []string{"dir/b\xff.txt"}},
		"itself":  {client.FileQuery{At: client.Now, Path: "a.txt", Depth: -1}, []string{"a.txt"}},
		"cut":     {client.FileQuery{At: client.Now, Depth: 9, Limit: 1}, []string{"a.txt"}},
	} {
		if d := cmp.Diff(c.want, names(c.q)); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
	read := func(path string, at client.At) string {
		t.Helper()
		var b strings.Builder
		if _, err := ann.ReadFile(ctx, id, path, at, &b); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	for at, want := range map[client.At]string{0: "one", 2: "one", 3: "two", 4: "two", client.Now: "two"} {
		if got := read("a.txt", at); got != want {
			t.Errorf("a.txt after event %d: %q, want %q", at, got, want)
		}
	}
	if got := read("/workspace/dir/b\xff.txt", client.Now); got != "b" {
		t.Errorf("a name that is no UTF-8: %q", got)
	}
	a := w.call(http.MethodGet, "/v1/sessions/"+string(id)+"/files/content?path=a.txt&offset=1&limit=1", tokenAnn, "")
	if string(a.body) != "w" || a.header.Get(v1.HeaderFileSize) != "3" || a.header.Get(v1.HeaderAt) != "5" ||
		a.header.Get("Content-Type") != "application/octet-stream" || a.header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("%q, %v", a.body, a.header)
	}
}

func TestFilesRefused(t *testing.T) {
	t.Parallel()
	w, s := shelved(t)
	id := edited(t, w, s)
	base := "/v1/sessions/" + string(id)
	for path, status := range map[string]int{
		base + "/files?path=../etc":                             400,
		base + "/files?path=a%00b":                              400,
		base + "/files?at=6":                                    400,
		base + "/files?at=-1":                                   422,
		base + "/files?at=99999999999999999999":                 400,
		base + "/files?depth=65":                                422,
		base + "/files?path=nothing":                            404,
		base + "/files/content":                                 422,
		base + "/files/content?path=none":                       404,
		base + "/files/archive?at=6":                            400,
		base + "/diff?from=6":                                   400,
		base + "/diff?format=html":                              422,
		"/v1/sessions/ses_none/files":                           404,
		"/v1/sessions/ses_none/diff":                            404,
		"/v1/workspaces/sha256:00":                              400,
		"/v1/workspaces/" + string(cairn.DigestOf([]byte("x"))): 404,
	} {
		a := w.call(http.MethodGet, path, tokenAnn, "")
		if a.status != status {
			t.Errorf("%s: status %d, want %d: %s", path, a.status, status, a.body)
		}
		a.failure(t)
		if a := w.call(http.MethodGet, path, tokenEve, ""); a.status/100 == 2 {
			t.Errorf("%s: another tenant may read it", path)
		}
	}
	bare := newWorld(t)
	if a := bare.call(http.MethodGet, "/v1/sessions/"+string(bare.start().ID)+"/files", tokenAnn, ""); a.status != 404 {
		t.Errorf("a node without files: status %d: %s", a.status, a.body)
	}
}

func TestDiff(t *testing.T) {
	t.Parallel()
	w, s := shelved(t)
	id := edited(t, w, s)
	ann, ctx := w.client(tokenAnn), t.Context()
	got, err := ann.Diff(ctx, id, client.DiffQuery{To: client.Now})
	if err != nil {
		t.Fatal(err)
	}
	hash := func(s string) cairn.Digest { return cairn.DigestOf([]byte(s)) }
	want := v1.FileDiff{
		Session: id, From: 0, To: 5, FromTree: got.FromTree, ToTree: got.ToTree,
		Changes: []v1.FileChange{
			{Path: "a.txt", Change: v1.ChangeModified, Kind: v1.FileRegular, OldSize: 3, NewSize: 3, OldMode: 0o644, NewMode: 0o644, OldDigest: hash("one"), NewDigest: hash("two")},
			{Path: "dir", Change: v1.ChangeAdded, Kind: v1.FileDir, NewMode: 0o755},
			{Path: "dir/b\uFFFD.txt", PathBytes: []byte("dir/b\xff.txt"), Change: v1.ChangeAdded, Kind: v1.FileRegular, NewSize: 1, NewMode: 0o644, NewDigest: hash("b")},
		},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if got, err := ann.Diff(ctx, id, client.DiffQuery{From: 4, To: client.Now}); err != nil || len(got.Changes) != 2 || got.FromTree == got.ToTree {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := ann.Diff(ctx, id, client.DiffQuery{From: 3, To: 4}); err != nil || len(got.Changes) != 0 || got.Changes == nil {
		t.Errorf("%+v, %v", got, err)
	}
	var patch strings.Builder
	if err := ann.Patch(ctx, id, client.DiffQuery{To: 4}, &patch); err != nil || !strings.Contains(patch.String(), "diff --git a/a.txt b/a.txt\n") {
		t.Errorf("%q, %v", patch.String(), err)
	}
	for accept, media := range map[string]string{"text/x-diff": "text/x-diff", "application/json, text/x-diff": "application/json", "": "application/json"} {
		a := w.call(http.MethodGet, "/v1/sessions/"+string(id)+"/diff", tokenAnn, "", "Accept", accept)
		if a.status != 200 || a.header.Get("Content-Type") != media {
			t.Errorf("Accept %q: status %d, %q", accept, a.status, a.header.Get("Content-Type"))
		}
	}
}

// TestDirectoryItself: what is said of /workspace itself is not said of a file in
// it, and a session that has no files can be looked at like any other.
func TestDirectoryItself(t *testing.T) {
	t.Parallel()
	w, s := shelved(t)
	ann, ctx := w.client(tokenAnn), t.Context()
	id := w.start().ID
	list, err := ann.Files(ctx, id, client.FileQuery{At: client.Now})
	if err != nil || list.Entries == nil || len(list.Entries) != 0 || list.Path != "." {
		t.Errorf("%+v, %v", list, err)
	}
	if list, err = ann.Files(ctx, id, client.FileQuery{At: client.Now, Depth: -1}); err != nil || len(list.Entries) != 1 || list.Entries[0].Path != "." || list.Truncated {
		t.Errorf("%+v, %v", list, err)
	}
	var b bytes.Buffer
	if err := ann.Archive(ctx, id, client.Now, &b); err != nil {
		t.Error(err)
	}
	if h, err := tar.NewReader(&b).Next(); !errors.Is(err, io.EOF) {
		t.Errorf("an archive of no files holds %+v, %v", h, err)
	}

	o := w.own(id)
	tree, err := s.Tree(o.claim.Session, "")
	if err != nil {
		t.Fatal(err)
	}
	dir, err := tree.Plain(ctx, cairn.Snapshot{})
	if err == nil {
		err = errors.Join(os.Chmod(filepath.Join(dir, workspace.Prefix), 0o700), os.WriteFile(filepath.Join(dir, workspace.Prefix, "a"), nil, 0o644))
	}
	if err != nil {
		t.Fatal(err)
	}
	out, err := tree.SnapshotPlain(ctx, cairn.Snapshot{})
	if err != nil {
		t.Fatal(err)
	}
	o.commit(step{events: []cairn.Event{
		event(cairn.SessionCreated{Key: o.claim.Session, Agent: "desk"}),
		event(cairn.WorkspaceSnapshotted{Snapshotted: out}),
	}})
	diff, err := ann.Diff(ctx, id, client.DiffQuery{To: client.Now})
	if err != nil || len(diff.Changes) != 1 || diff.Changes[0].Path != "a" {
		t.Errorf("%+v, %v", diff.Changes, err)
	}
}

// between is a store in which something happens between two looks at a session.
type between struct {
	journal.Store
	happens func()
}

// Inbox implements [journal.Driver].
func (b *between) Inbox(ctx context.Context, s cairn.SessionKey, limit int) ([]journal.Letter, error) {
	if f := b.happens; f != nil {
		b.happens = nil
		f()
	}
	return b.Store.Inbox(ctx, s, limit)
}

// TestTakenMeanwhile: a session that is taken while somebody looks at it began with
// the files that it began with.
func TestTakenMeanwhile(t *testing.T) {
	t.Parallel()
	store := &between{Store: memory.Open(memory.Options{})}
	w, _ := shelvedOver(t, store)
	ws := upload(t, w, map[string]string{"a.txt": "one"})
	created, err := w.client(tokenAnn).CreateSession(t.Context(), v1.CreateSession{Agent: "desk", Workspace: ws.Tree})
	if err != nil {
		t.Fatal(err)
	}
	o := w.own(created.ID)
	taken := false
	store.happens = func() {
		taken = true
		o.commit(step{events: []cairn.Event{event(cairn.SessionCreated{Key: o.claim.Session, Agent: "desk", Workspace: ws.Tree})}})
	}
	if got, err := w.client(tokenAnn).Session(t.Context(), created.ID); err != nil || got.Workspace != ws.Tree || !taken {
		t.Errorf("%+v, %v; taken: %v", got, err, taken)
	}
}

// TestArchive: what is downloaded is what could be uploaded; a download that
// breaks is never taken for the whole.
func TestArchive(t *testing.T) {
	t.Parallel()
	w, s := shelved(t)
	files := map[string]string{"big": strings.Repeat("x", 1<<20), "z.txt": "one"}
	ws := upload(t, w, files)
	session, err := w.client(tokenAnn).CreateSession(t.Context(), v1.CreateSession{Agent: "desk", Workspace: ws.Tree})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(w.api)
	t.Cleanup(server.Close)
	for name, ann := range map[string]*client.Client{"local": w.client(tokenAnn), "http": client.New(server.URL, tokenAnn, nil)} {
		var b bytes.Buffer
		if err := ann.Archive(t.Context(), session.ID, 0, &b); err != nil {
			t.Fatal(name, err)
		}
		if again, err := ann.UploadWorkspace(t.Context(), &b); err != nil || again != ws {
			t.Errorf("%s: %+v, %v", name, again, err)
		}
	}
	lost := 0
	if err := filepath.WalkDir(s.dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Name() == "z.txt" {
			lost++
			err = os.Remove(path)
		}
		return err
	}); err != nil || lost != 1 {
		t.Fatalf("%d files removed, %v", lost, err)
	}
	for name, ann := range map[string]*client.Client{"local": w.client(tokenAnn), "http": client.New(server.URL, tokenAnn, nil)} {
		err := ann.Archive(t.Context(), session.ID, 0, io.Discard)
		if cairn.CodeOf(err) != cairn.CodeUnavailable || !strings.Contains(err.Error(), "broke off") {
			t.Errorf("%s: a download that broke: %v", name, err)
		}
	}
}

// TestFilesFarBack: a state is found however much happened since.
func TestFilesFarBack(t *testing.T) {
	t.Parallel()
	w, s := shelved(t)
	ws := upload(t, w, map[string]string{"a.txt": "one"})
	created, err := w.client(tokenAnn).CreateSession(t.Context(), v1.CreateSession{Agent: "desk", Workspace: ws.Tree})
	if err != nil {
		t.Fatal(err)
	}
	o := w.own(created.ID)
	key := o.claim.Session
	at := s.change(t, key, ws.Tree, cairn.Snapshot{Tree: ws.Tree}, map[string]string{"workspace/a.txt": "two"})
	o.commit(step{events: append([]cairn.Event{event(cairn.SessionCreated{Key: key, Workspace: ws.Tree})}, events(300)...)})
	o.commit(step{events: []cairn.Event{event(cairn.WorkspaceSnapshotted{Snapshotted: cairn.Snapshotted{Snapshot: at}})}})
	o.commit(step{events: events(3000)})
	for seq, want := range map[client.At]string{0: "one", 1: "one", 301: "one", 302: "two", 429: "two", 430: "two", 431: "two", 3302: "two", client.Now: "two"} {
		var b strings.Builder
		if _, err := w.client(tokenAnn).ReadFile(t.Context(), created.ID, "a.txt", seq, &b); err != nil || b.String() != want {
			t.Errorf("after event %d: %q, %v", seq, b.String(), err)
		}
	}
}
