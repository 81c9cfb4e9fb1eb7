package workspace

import (
	"container/list"
	"sync"

	"github.com/cairn-run/cairn"
)

// cache keeps trees in memory, up to a number of bytes. Trees of a session share most
// nodes with their base, so a base stays as long as one of its sessions' trees.
type cache struct {
	mu    sync.Mutex
	max   int64
	bytes int64
	items map[cacheID]*list.Element
	order *list.List // the one used last in front
	heirs map[cacheID]int
}

// cacheID names a base, or with a session and a layer a tree above it.
type cacheID struct {
	tenant  cairn.TenantID
	base    cairn.Digest
	session cairn.SessionID
	layer   int64
}

func (id cacheID) ofBase() cacheID { return cacheID{tenant: id.tenant, base: id.base} }

func (id cacheID) isBase() bool { return id.session == "" }

type cached struct {
	id    cacheID
	n     *node
	bytes int64
}

func newCache(max int64) *cache {
	return &cache{max: max, items: map[cacheID]*list.Element{}, order: list.New(), heirs: map[cacheID]int{}}
}

func (c *cache) get(id cacheID) *node {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.items[id]
	if e == nil {
		return nil
	}
	c.order.MoveToFront(e)
	if b := c.items[id.ofBase()]; b != nil {
		c.order.MoveToFront(b)
	}
	return e.Value.(*cached).n
}

func (c *cache) put(id cacheID, n *node, bytes int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.items[id] != nil {
		c.remove(id)
	}
	c.items[id] = c.order.PushFront(&cached{id, n, bytes})
	c.bytes += bytes
	if !id.isBase() {
		c.heirs[id.ofBase()]++
	}
	for e := c.order.Back(); e != nil && c.bytes > c.max; {
		before := e.Prev()
		if v := e.Value.(*cached); !v.id.isBase() || c.heirs[v.id] == 0 {
			c.remove(v.id)
		}
		e = before
	}
}

func (c *cache) remove(id cacheID) {
	e := c.items[id]
	if e == nil {
		return
	}
	c.bytes -= e.Value.(*cached).bytes
	c.order.Remove(e)
	delete(c.items, id)
	if !id.isBase() {
		if b := id.ofBase(); c.heirs[b] > 1 {
			c.heirs[b]--
		} else {
			delete(c.heirs, b)
		}
	}
}

// forget drops the trees of a session from a layer on.
func (c *cache) forget(tenant cairn.TenantID, session cairn.SessionID, from int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id := range c.items {
		if id.tenant == tenant && id.session == session && id.layer >= from {
			c.remove(id)
		}
	}
}

// forgetBase drops a base and all trees above it.
func (c *cache) forgetBase(tenant cairn.TenantID, base cairn.Digest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id := range c.items {
		if id.tenant == tenant && id.base == base {
			c.remove(id)
		}
	}
}

// below finds the highest tree of a session that is kept, up to a layer.
func (c *cache) below(id cacheID) (*node, int64) {
	for layer := id.layer; layer > 0 && layer > id.layer-keptBelow; layer-- {
		id.layer = layer
		if n := c.get(id); n != nil {
			return n, layer
		}
	}
	return nil, 0
}

// keptBelow is how far below a tree another one is worth looking for: further down,
// reading all manifests takes about as long.
const keptBelow = 256

// weight is what a tree costs that shares nodes with another one.
func weight(from, to *node) int64 {
	if from == to || to == nil {
		return 0
	}
	w := nodeBytes + int64(len(to.link))
	if from == nil {
		from = &node{}
	}
	for _, k := range to.kids {
		w += 24
		under, _, _ := from.find(k.name)
		if own := weight(under, k.n); own > 0 {
			w += own + int64(len(k.name))
		}
	}
	return w
}
