package api

import (
	"cmp"
	"context"
	"encoding/json"
	"io"
	"mime"
	"net/http"
	"reflect"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/cairn-run/cairn"
	v1 "github.com/cairn-run/cairn/api/v1"
)

const (
	// maxContent bounds one read of a file, in bytes; a larger file is read in pieces.
	maxContent = 8 << 20
	mediaPatch = "text/x-diff"
)

type (
	filesInput struct {
		ID    cairn.SessionID `path:"id" maxLength:"64" doc:"id of the session"`
		Path  string          `query:"path" maxLength:"4096" doc:"a directory or file below /workspace, or an absolute path in the sandbox; default /workspace"`
		At    string          `query:"at" maxLength:"20" pattern:"^[0-9]+$" doc:"the state after this event; 0: what the session began with; default: now"`
		Depth int             `query:"depth" minimum:"0" maximum:"64" default:"1" doc:"levels below path; 0: path itself"`
		Limit int             `query:"limit" minimum:"1" maximum:"20000" default:"1000" doc:"at most so many entries"`
	}
	filesOutput  struct{ Body v1.FileList }
	contentInput struct {
		ID     cairn.SessionID `path:"id" maxLength:"64" doc:"id of the session"`
		Path   string          `query:"path" required:"true" maxLength:"4096" doc:"a file below /workspace, or an absolute path in the sandbox"`
		At     string          `query:"at" maxLength:"20" pattern:"^[0-9]+$" doc:"the state after this event; 0: what the session began with; default: now"`
		Offset int64           `query:"offset" minimum:"0" doc:"byte to begin at"`
		Limit  int64           `query:"limit" minimum:"1" maximum:"8388608" default:"1048576" doc:"at most so many bytes"`
	}
	archiveInput struct {
		ID cairn.SessionID `path:"id" maxLength:"64" doc:"id of the session"`
		At string          `query:"at" maxLength:"20" pattern:"^[0-9]+$" doc:"the state after this event; 0: what the session began with; default: now"`
	}
	diffInput struct {
		ID     cairn.SessionID `path:"id" maxLength:"64" doc:"id of the session"`
		From   string          `query:"from" maxLength:"20" pattern:"^[0-9]+$" doc:"the old state: after this event; default 0: what the session began with"`
		To     string          `query:"to" maxLength:"20" pattern:"^[0-9]+$" doc:"the new state: after this event; default: now"`
		Format string          `query:"format" enum:"json,patch" doc:"patch: a patch in the format of git, as with Accept: text/x-diff"`
		All    bool            `query:"all" doc:"also what is inside .git; a patch never holds that, because git apply refuses it"`
		Accept string          `header:"Accept" maxLength:"1024"`
	}
)

func (a *API) fileRoutes() {
	tags := []string{"files"}
	operation(a, huma.Operation{
		OperationID: "list-files", Method: http.MethodGet, Path: "/v1/sessions/{id}/files", Tags: tags,
		Summary: "List the files of a session, now or after an event",
	}, a.listFiles)
	content := bytesOf("The bytes of the file", "application/octet-stream")
	content["200"].Headers = map[string]*huma.Param{
		v1.HeaderFileSize: {Schema: &huma.Schema{Type: huma.TypeInteger}, Description: "size of the whole file, in bytes"},
		v1.HeaderAt:       {Schema: &huma.Schema{Type: huma.TypeInteger}, Description: "the event whose state was read: give it as at for the next piece"},
	}
	operation(a, huma.Operation{
		OperationID: "read-file", Method: http.MethodGet, Path: "/v1/sessions/{id}/files/content", Tags: tags,
		Summary: "Read a file of a session", Responses: content,
	}, a.readFile)
	operation(a, huma.Operation{
		OperationID: "archive-files", Method: http.MethodGet, Path: "/v1/sessions/{id}/files/archive", Tags: tags,
		Summary: "Download what is below /workspace as a tar", Responses: bytesOf("A plain tar", mediaTar),
	}, a.archiveFiles)
	diff := bytesOf("The difference", mediaPatch)
	diff["200"].Content["application/json"] = &huma.MediaType{
		Schema: a.huma.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[v1.FileDiff](), true, ""),
	}
	operation(a, huma.Operation{
		OperationID: "diff-files", Method: http.MethodGet, Path: "/v1/sessions/{id}/diff", Tags: tags,
		Summary: "What changed in the files of a session between two events", Responses: diff,
	}, a.diffFiles)
}

func (a *API) listFiles(ctx context.Context, in *filesInput) (*filesOutput, error) {
	path, err := layerPath(in.Path)
	if err != nil {
		return nil, err
	}
	tree, state, err := a.state(ctx, in.ID, in.At)
	if err != nil {
		return nil, err
	}
	entries, more, err := tree.List(ctx, state.files, path, in.Depth, in.Limit)
	if err != nil {
		return nil, noFile(err, in.Path, state)
	}
	shown := shownPath
	if strings.HasPrefix(in.Path, "/") {
		shown = func(path string) string { return "/" + strings.TrimPrefix(path, ".") }
	}
	for i := range entries {
		entries[i].SetPath(shown(entries[i].Name()))
	}
	return &filesOutput{v1.FileList{
		Session: in.ID, At: state.after, Tree: state.files.Tree, Path: shown(path), Entries: entries, Truncated: more,
	}}, nil
}

// noFile says in the words of a request that nothing is at a path.
func noFile(err error, path string, s fileState) error {
	if cairn.CodeOf(err) != cairn.CodeNotFound {
		return err
	}
	return cairn.Errorf(cairn.CodeNotFound, "nothing is at %q in the files after event %d: for those after another event give --at N, or at=N in a request",
		cmp.Or(path, "/"+workspaceDir), s.after)
}

func (a *API) readFile(ctx context.Context, in *contentInput) (*rawOutput, error) {
	path, err := layerPath(in.Path)
	if err != nil {
		return nil, err
	}
	tree, state, err := a.state(ctx, in.ID, in.At)
	if err != nil {
		return nil, err
	}
	data, size, err := tree.ReadFile(ctx, state.files, path, in.Offset, min(in.Limit, maxContent))
	if err != nil {
		return nil, noFile(err, in.Path, state)
	}
	return a.transfer("read-file", func(_ context.Context, w http.ResponseWriter, _ *http.Request) error {
		h := w.Header()
		h.Set("Content-Type", "application/octet-stream")
		h.Set("Content-Length", strconv.Itoa(len(data)))
		// What an agent wrote is never shown as a page of this origin.
		h.Set("Content-Disposition", "attachment")
		h.Set("Content-Security-Policy", "sandbox; default-src 'none'")
		h.Set(v1.HeaderFileSize, strconv.FormatInt(size, 10))
		h.Set(v1.HeaderAt, strconv.FormatUint(uint64(state.after), 10))
		w.WriteHeader(http.StatusOK)
		_, _ = w.Write(data) // the client is gone: nothing to tell it
		return nil
	}), nil
}

func (a *API) archiveFiles(ctx context.Context, in *archiveInput) (*rawOutput, error) {
	tree, state, err := a.state(ctx, in.ID, in.At)
	if err != nil {
		return nil, err
	}
	return a.transfer("archive-files", func(ctx context.Context, w http.ResponseWriter, _ *http.Request) error {
		w.Header().Set("Content-Disposition", "attachment")
		w.Header().Set(v1.HeaderAt, strconv.FormatUint(uint64(state.after), 10))
		return send(w, mediaTar, func(out io.Writer) error { return tree.WriteTar(ctx, state.files, out) })
	}), nil
}

// wantsPatch says whether a client prefers a patch.
func (in *diffInput) wantsPatch() bool {
	if in.Format != "" {
		return in.Format == "patch"
	}
	for part := range strings.SplitSeq(in.Accept, ",") {
		switch media, _, _ := mime.ParseMediaType(part); media {
		case mediaPatch, "text/x-patch":
			return true
		case "application/json":
			return false
		}
	}
	return false
}

// gitPath says that a path is inside a repository's own directory.
func gitPath(path string) bool {
	for part := range strings.SplitSeq(path, "/") {
		if strings.EqualFold(part, ".git") {
			return true
		}
	}
	return false
}

func (a *API) diffFiles(ctx context.Context, in *diffInput) (*rawOutput, error) {
	tree, states, err := a.states(ctx, in.ID, cmp.Or(in.From, "0"), in.To)
	if err != nil {
		return nil, err
	}
	before, after := states[0], states[1]
	return a.transfer("diff-files", func(ctx context.Context, w http.ResponseWriter, _ *http.Request) error {
		w.Header().Add("Vary", "Accept")
		if in.wantsPatch() {
			return send(w, mediaPatch, func(out io.Writer) error { return tree.Patch(ctx, before.files, after.files, out) })
		}
		changes, err := tree.Diff(ctx, before.files, after.files)
		if err != nil {
			return err
		}
		shown := make([]v1.FileChange, 0, len(changes))
		hidden := 0
		for _, c := range changes {
			if !in.All && gitPath(c.Name()) {
				hidden++
				continue
			}
			shown = append(shown, c)
		}
		return send(w, "application/json", func(out io.Writer) error {
			return json.NewEncoder(out).Encode(v1.FileDiff{
				Session: in.ID, From: before.after, To: after.after,
				FromTree: before.files.Tree, ToTree: after.files.Tree, Changes: shown, Hidden: hidden,
			})
		})
	}), nil
}
