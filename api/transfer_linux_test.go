package api_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"sync"
	"testing"

	"github.com/cairn-run/cairn"
)

// TestTransfersBounded: so many files may be on their way at once; one more is told
// to come again, and the place of one that broke off is free.
func TestTransfersBounded(t *testing.T) {
	t.Parallel()
	const most = 32
	w, _ := shelved(t)
	ann, ctx := w.client(tokenAnn), t.Context()
	body := tarOf(map[string]string{"a": "b"})
	broke := errors.New("the line broke")
	var uploads sync.WaitGroup
	var lines [most]*io.PipeWriter
	for i := range lines {
		pr, pw := io.Pipe()
		lines[i] = pw
		uploads.Go(func() {
			if _, err := ann.UploadWorkspace(ctx, pr); err == nil {
				t.Error("a broken upload was taken")
			}
		})
	}
	for _, pw := range lines {
		if _, err := pw.Write(body[:512]); err != nil { // when it is read, the upload has its place
			t.Error(err)
		}
	}
	a := w.call(http.MethodPost, "/v1/workspaces", tokenAnn, string(body), "Content-Type", "application/x-tar")
	if a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "" || !a.failure(t).Retryable {
		t.Errorf("upload %d: status %d: %s", most+1, a.status, a.body)
	}
	for _, pw := range lines {
		_ = pw.CloseWithError(broke) // always nil
	}
	uploads.Wait()
	if _, err := ann.UploadWorkspace(ctx, bytes.NewReader(body)); err != nil {
		t.Errorf("after they are gone: %v, code %s", err, cairn.CodeOf(err))
	}
}
