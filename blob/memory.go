package blob

import (
	"bytes"
	"context"
	"fmt"
	"sync"

	"github.com/cairn-run/cairn"
)

// Memory is a driver that keeps blobs until the process ends: for tests, and for
// nodes whose journal is in memory too. The zero value is ready for use.
type Memory struct {
	mu    sync.RWMutex
	blobs map[memoryKey][]byte
}

type memoryKey struct {
	tenant cairn.TenantID
	digest cairn.Digest
}

// Put implements [Driver].
func (m *Memory) Put(ctx context.Context, t cairn.TenantID, d cairn.Digest, b []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.blobs == nil {
		m.blobs = map[memoryKey][]byte{}
	}
	m.blobs[memoryKey{t, d}] = bytes.Clone(b)
	return nil
}

// Get implements [Driver].
func (m *Memory) Get(ctx context.Context, t cairn.TenantID, d cairn.Digest, max int64) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	b, ok := m.blobs[memoryKey{t, d}]
	if !ok {
		return nil, fmt.Errorf("%w: %s", ErrNotFound, d)
	}
	if int64(len(b)) > max {
		return nil, fmt.Errorf("%w: %d bytes", ErrTooLarge, len(b))
	}
	return bytes.Clone(b), nil
}
