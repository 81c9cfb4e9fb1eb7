package tool

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/policy"
)

const (
	defaultDefinitions = 1024
	// maxTools bounds the tools of one agent: all of them go into every request.
	maxTools = 512
	// discoverTimeout bounds the discovery of all entries of an agent.
	discoverTimeout = 90 * time.Second
)

// Options joins a catalogue with what it needs. A nil driver means that entries
// of its kind cannot be used.
type Options struct {
	HTTP Driver
	MCP  Driver
	// Builtin are the tools an agent can name under builtin, and Native performs
	// those of them that the engine does not execute itself.
	Builtin map[string]cairn.ToolSpec
	Native  Driver
	// Definitions bounds the compiled agent definitions that are kept; default 1024.
	Definitions int
	Log         *slog.Logger // default: slog.Default()
}

// Catalog knows the tools of agents, checks calls and makes them. It is safe for
// concurrent use. Agents that are handed to it must not be changed afterwards.
type Catalog struct {
	http, mcp   Driver
	native      Driver
	builtin     map[string]cairn.ToolSpec
	log         *slog.Logger
	definitions definitions
	schemas     schemas
	gates       gates
}

// New returns a catalogue. The drivers stay the caller's to close.
func New(o Options) *Catalog {
	c := &Catalog{http: o.HTTP, mcp: o.MCP, native: o.Native, builtin: o.Builtin, log: o.Log}
	if c.log == nil {
		c.log = slog.Default()
	}
	if c.definitions.max = o.Definitions; c.definitions.max <= 0 {
		c.definitions.max = defaultDefinitions
	}
	return c
}

func (c *Catalog) driver(e *cairn.ToolSource) Driver {
	switch {
	case e.HTTP != nil:
		return c.http
	case e.MCP != nil:
		return c.mcp
	case len(e.Builtin) > 0:
		return c.native
	}
	return nil
}

func (c *Catalog) definition(a *cairn.Agent) *definition { return c.definitions.get(a, c.compile) }

// Validate reports the first thing wrong with what a definition says of tools,
// policy and output, as a *cairn.FieldError. It does no I/O: what a server offers
// is looked at by [Catalog.Discover].
func (c *Catalog) Validate(a *cairn.Agent) error { return c.definition(a).err }

// Static lists the tools the definition itself declares, by name. The caller
// must not change them.
func (c *Catalog) Static(a *cairn.Agent) []cairn.ToolSpec {
	return slices.Clip(c.definition(a).static)
}

// Tools joins the declared tools with those that discovery pinned, by name.
func (c *Catalog) Tools(a *cairn.Agent, pinned []cairn.ToolSpec) []cairn.ToolSpec {
	static := c.Static(a)
	if len(pinned) == 0 {
		return static
	}
	all := slices.Concat(static, pinned)
	slices.SortFunc(all, byName)
	return all
}

// NeedsDiscovery says whether the agent has tools that only their server can list.
func (c *Catalog) NeedsDiscovery(a *cairn.Agent) bool {
	return slices.ContainsFunc(a.Tools, func(e cairn.ToolSource) bool { return e.MCP != nil })
}

// Discover asks every server of the agent for its tools and returns those that
// are granted, by name, with the agent's declarations applied. An error is a
// *cairn.Error: two entries with a tool of the same name, a declaration or a rule
// of the policy for a tool or an argument that nobody has, an allow list with a
// glob that matches none of the server's tools, a schema that cannot be used, or what a driver said.
func (c *Catalog) Discover(ctx context.Context, tenant cairn.TenantID, a *cairn.Agent) ([]cairn.ToolSpec, error) {
	def := c.definition(a)
	if def.err != nil {
		return nil, invalid(def.err)
	}
	ctx, cancel := context.WithTimeout(ctx, discoverTimeout)
	defer cancel()
	lists := make([][]cairn.ToolSpec, len(a.Tools))
	errs := make([]error, len(a.Tools))
	var wait sync.WaitGroup
	for i := range a.Tools {
		if a.Tools[i].MCP == nil {
			continue
		}
		wait.Go(func() {
			if c.mcp == nil {
				errs[i] = cairn.Errorf(cairn.CodeInvalid, "tools[%d]: this build reaches no MCP servers", i)
				return
			}
			lists[i], errs[i] = c.mcp.List(ctx, c.target(tenant, a, def, i))
		})
	}
	wait.Wait()
	where := map[string]string{}
	for _, s := range def.static {
		where[s.Name] = fmt.Sprintf("tools[%d]", s.Source)
	}
	found := []cairn.ToolSpec{}
	for i, list := range lists {
		if errs[i] != nil {
			return nil, driverError(errs[i])
		}
		if a.Tools[i].MCP != nil {
			if err := checkAllow(a.Tools[i], i, list); err != nil {
				return nil, invalid(err)
			}
		}
		for _, s := range list {
			if !granted(a.Tools[i], s.Name) {
				continue
			}
			if other, ok := where[s.Name]; ok {
				return nil, cairn.Errorf(cairn.CodeInvalid, "tools[%d] has a tool %q, and so has %s; give one of the servers a prefix, or leave the tool out with allow", i, s.Name, other)
			}
			where[s.Name] = fmt.Sprintf("tools[%d]", i)
			s.Host, s.Source = cairn.HostRuntime, i
			s.InputSchema = schemaOr(s.InputSchema)
			if _, err := c.schemas.compile(s.InputSchema); err != nil {
				return nil, cairn.Errorf(cairn.CodeInvalid, "tools[%d]: the input schema of %q cannot be used: %v; leave the tool out with allow", i, s.Name, err)
			}
			found = append(found, finish(a, s))
		}
	}
	if n := len(found) + len(def.static); n > maxTools {
		return nil, cairn.Errorf(cairn.CodeInvalid, "the agent has %d tools, more than %d; choose with allow", n, maxTools)
	}
	slices.SortFunc(found, byName)
	all := c.Tools(a, found)
	for _, name := range sortedNames(a.Effects) {
		if err := c.checkEffect(a, name, all, true); err != nil {
			return nil, invalid(err)
		}
	}
	for i, h := range a.OnExit {
		if err := c.checkHook(fmt.Sprintf("on_exit[%d]", i), h, all, true); err != nil {
			return nil, invalid(err)
		}
	}
	if err := checkRules(def.rules, all, true); err != nil {
		return nil, invalid(err)
	}
	return found, nil
}

func (c *Catalog) target(tenant cairn.TenantID, a *cairn.Agent, def *definition, source int) Target {
	return Target{Tenant: tenant, Agent: a.Name, Digest: def.digest, Source: source, Entry: &a.Tools[source]}
}

// granted says whether an entry grants a tool: its allow list names it, or there
// is none.
func granted(e cairn.ToolSource, name string) bool {
	return len(e.Allow) == 0 || slices.ContainsFunc(e.Allow, func(glob string) bool { return allows(e, glob, name) })
}

// allows says whether a glob of an allow list names a tool, by the server's own
// name or by that with the prefix.
func allows(e cairn.ToolSource, glob, name string) bool {
	g, err := policy.CompileGlob(glob)
	return err == nil && (g.Match(name) || g.Match(strings.TrimPrefix(name, e.MCP.Prefix)))
}

func invalid(err error) *cairn.Error {
	return &cairn.Error{Code: cairn.CodeInvalid, Message: err.Error(), Err: err}
}
