package blob_test

import (
	"testing"

	"github.com/cairn-run/cairn/blob"
	"github.com/cairn-run/cairn/blob/blobtest"
)

func TestMemory(t *testing.T) {
	t.Parallel()
	blobtest.Run(t, func(*testing.T) blob.Driver { return new(blob.Memory) })
}
