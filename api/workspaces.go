package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"os"
	"reflect"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/cairn-run/cairn"
	v1 "github.com/cairn-run/cairn/api/v1"
)

const (
	mediaTar = "application/x-tar"
	// maxProject is how much of AGENTS.md goes into every request to the model, in
	// bytes.
	maxProject  = 64 << 10
	projectFile = "AGENTS.md"
)

type (
	uploadInput struct {
		Key         string `header:"Idempotency-Key" maxLength:"255" doc:"accepted for uniformity: a tree is known by its content"`
		ContentType string `header:"Content-Type" maxLength:"255"`
		Encoding    string `header:"Content-Encoding" maxLength:"64"`
	}
	treeInput struct {
		Tree cairn.Digest `path:"tree" maxLength:"71" doc:"digest of the tree"`
	}
	treeOutput struct{ Body v1.WorkspaceRef }
)

func (a *API) workspaceRoutes() {
	tags := []string{"files"}
	workspace := a.huma.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[v1.Workspace](), true, "")
	operation(a, huma.Operation{
		OperationID: "upload-workspace", Method: http.MethodPost, Path: "/v1/workspaces", Tags: tags,
		Summary: "Upload a tree of files that sessions may begin with",
		Description: "The body is a plain tar. Files, directories and symbolic links are kept, hard links become files; an entry that leaves the tree, " +
			"a device, a FIFO or a socket is refused. The same files give the same tree, however often they are uploaded.",
		DefaultStatus: http.StatusCreated,
		RequestBody:   &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{mediaTar: {Schema: binary()}}},
		Responses: map[string]*huma.Response{"201": {
			Description: "The tree is stored", Content: map[string]*huma.MediaType{"application/json": {Schema: workspace}},
		}},
	}, a.uploadWorkspace)
	operation(a, huma.Operation{
		OperationID: "get-workspace", Method: http.MethodGet, Path: "/v1/workspaces/{tree}", Tags: tags,
		Summary: "Is this tree stored?",
	}, func(ctx context.Context, in *treeInput) (*treeOutput, error) {
		if err := a.base(ctx, in.Tree); err != nil {
			return nil, err
		}
		return &treeOutput{v1.WorkspaceRef{Tree: in.Tree}}, nil
	})
}

// uploadWorkspace streams the body into the store.
func (a *API) uploadWorkspace(_ context.Context, in *uploadInput) (*rawOutput, error) {
	if a.Files == nil {
		return nil, errNoFiles()
	}
	if media, _, err := mime.ParseMediaType(in.ContentType); err != nil || media != mediaTar {
		return nil, newError(http.StatusUnsupportedMediaType, cairn.CodeInvalid, "send a plain tar as Content-Type: "+mediaTar)
	}
	if in.Encoding != "" && !strings.EqualFold(in.Encoding, "identity") {
		return nil, newError(http.StatusUnsupportedMediaType, cairn.CodeInvalid, "send the tar as it is, without Content-Encoding")
	}
	return a.transfer("upload-workspace", func(ctx context.Context, w http.ResponseWriter, r *http.Request) error {
		if r.ContentLength > a.UploadBytes {
			return a.tooLarge()
		}
		body := &upload{r: r.Body, control: http.NewResponseController(w.(*paced).w), left: a.UploadBytes, ctx: ctx}
		tree, err := a.Files.Import(ctx, identity(ctx).Tenant, body)
		switch {
		case errors.Is(body.err, errTooLarge):
			return a.tooLarge()
		case body.err != nil && errors.Is(body.err, os.ErrDeadlineExceeded):
			return cairn.Errorf(cairn.CodeTimeout, "nothing of the upload came for %s: send it again", transferPause)
		case body.err != nil:
			return fmt.Errorf("read the upload: %w", body.err)
		case err != nil:
			return err
		}
		b, err := json.Marshal(tree)
		if err != nil {
			return err
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Location", "/v1/workspaces/"+string(tree.Tree))
		w.WriteHeader(http.StatusCreated)
		_, _ = w.Write(append(b, '\n')) // the client is gone: the tree is stored all the same
		return nil
	}), nil
}

func (a *API) tooLarge() error {
	return newError(http.StatusRequestEntityTooLarge, cairn.CodeInvalid,
		fmt.Sprintf("the tar has more than %d bytes: leave out what the agent does not need", a.UploadBytes))
}

// base says that a tree is there.
func (a *API) base(ctx context.Context, tree cairn.Digest) error {
	if a.Files == nil {
		return errNoFiles()
	}
	err := a.Files.Base(ctx, identity(ctx).Tenant, tree)
	if cairn.CodeOf(err) == cairn.CodeNotFound {
		return cairn.Errorf(cairn.CodeNotFound, "there is no workspace %q: upload its files first (cairn run --workspace DIR, POST /v1/workspaces)", tree)
	}
	return err
}

// project is what AGENTS.md at the top of a tree says; empty: there is none.
func (a *API) project(ctx context.Context, s cairn.SessionKey, base cairn.Digest) (string, error) {
	tree, err := a.Files.Tree(ctx, s, base)
	if err != nil {
		return "", err
	}
	at, path := cairn.Snapshot{Tree: base}, workspaceDir+"/"+projectFile
	entries, _, err := tree.List(ctx, at, path, 0, 1)
	if cairn.CodeOf(err) == cairn.CodeNotFound || err == nil && (len(entries) != 1 || entries[0].Kind != v1.FileRegular) {
		return "", nil // a link is not followed: what it names may change
	} else if err != nil {
		return "", err
	}
	data, size, err := tree.ReadFile(ctx, at, path, 0, maxProject)
	if err != nil {
		return "", err
	}
	text := strings.ToValidUTF8(string(data), "\uFFFD")
	if size > maxProject {
		text += fmt.Sprintf("\n\n[%s has %d bytes; only the first %d are shown. Read /workspace/%s for the rest.]\n", projectFile, size, maxProject, projectFile)
	}
	return text, nil
}
