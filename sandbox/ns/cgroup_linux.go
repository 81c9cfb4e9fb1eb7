//go:build linux && (amd64 || arm64)

package ns

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cairn-run/cairn/sandbox"
	"github.com/cairn-run/cairn/sandbox/ns/wire"
)

const (
	// period is the time in which the processors of an instance are counted, in
	// microseconds: the kernel's default.
	period = 100_000
	// headroom is how many processes a cgroup of version 2 may hold above the limit of
	// commands: init and its threads, which must be able to start another to kill.
	headroom = 48
	// emptying is how long a cgroup is tried to be removed: the dead leave it a
	// moment after they were reaped.
	emptying = 2 * time.Second
)

// groups are the cgroups of a driver: per hierarchy a directory below the one of
// this process, and below that one for each instance. Version 1 and 2 can be
// there at once; then 1 has the controllers and 2 freezes.
type groups struct {
	log  *slog.Logger
	name string // of the driver's directories
	v1   []*hierarchy
	v2   *hierarchy // nil: none that can be written
	held map[string]bool
	leaf string // where this process has moved, so that its old cgroup can have controllers
	mode string
}

// hierarchy is a tree of cgroups that can be written.
type hierarchy struct {
	controllers []string
	base        string // the directory of this process
	home        int    // its tasks file (version 1)
}

func (h *hierarchy) has(controller string) bool {
	for _, c := range h.controllers {
		if c == controller {
			return true
		}
	}
	return false
}

// openGroups finds what can be used, and removes what dead processes have left.
func openGroups(log *slog.Logger) (*groups, error) {
	g := &groups{log: log, held: map[string]bool{}}
	var err error
	if g.name, err = ownName(); err != nil {
		return nil, err
	}
	self, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return g, nil //nolint:nilerr // a kernel without cgroups: others hold the limits
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return g, nil //nolint:nilerr // as above
	}
	places := findPlaces(string(mounts), string(self))
	wanted := map[string]bool{"memory": true, "pids": true, "cpu": true, "cpuacct": true}
	if !slices.ContainsFunc(places, func(p place) bool { return p.v2 }) {
		wanted["freezer"] = true
	}
	for _, p := range places {
		if p.v2 {
			g.openV2(p)
			if g.v2 != nil { // it counts and freezes
				wanted["cpuacct"] = false
			} else {
				wanted["freezer"] = true
			}
		}
	}
	for _, p := range places {
		if p.v2 {
			continue
		}
		h := &hierarchy{base: p.dir, home: -1}
		for _, c := range p.controllers {
			if wanted[c] && (g.v2 == nil || !g.v2.has(c)) {
				h.controllers = append(h.controllers, c)
			}
		}
		if len(h.controllers) > 0 && g.usable(h) {
			g.v1 = append(g.v1, h)
		}
	}
	g.summarize()
	return g, nil
}

func (g *groups) summarize() {
	for _, h := range g.all() {
		for _, c := range h.controllers {
			if c == "pids" {
				c = "processes"
			}
			g.held[c] = true
		}
	}
	switch {
	case g.v2 != nil && len(g.v1) > 0:
		g.mode = "hybrid"
	case g.v2 != nil:
		g.mode = "v2"
	case len(g.v1) > 0:
		g.mode = "v1"
	}
}

func (g *groups) all() []*hierarchy {
	all := append([]*hierarchy{}, g.v1...)
	if g.v2 != nil {
		all = append(all, g.v2)
	}
	return all
}

// usable makes the driver's directory in a hierarchy of version 1, and opens the
// way back for the thread that moves.
func (g *groups) usable(h *hierarchy) bool {
	g.sweep(h.base)
	if err := os.Mkdir(filepath.Join(h.base, g.name), 0o755); err != nil {
		return false
	}
	fd, err := unix.Open(filepath.Join(h.base, "tasks"), unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		_ = os.Remove(filepath.Join(h.base, g.name))
		return false
	}
	h.home = fd
	return true
}

// openV2 makes the driver's directory in the hierarchy of version 2, with the
// controllers that can be had: below the cgroup of this process, or, for root,
// below the top.
func (g *groups) openV2(p place) {
	bases := []string{p.dir}
	if os.Geteuid() == 0 && p.dir != p.top {
		bases = append(bases, p.top)
	}
	best := (*hierarchy)(nil)
	for _, base := range bases {
		g.sweep(base)
		dir := filepath.Join(base, g.name)
		if err := os.Mkdir(dir, 0o755); err != nil {
			continue
		}
		if _, err := os.Stat(filepath.Join(dir, "cgroup.freeze")); err != nil { // before Linux 5.2
			_ = os.Remove(dir)
			continue
		}
		h := &hierarchy{base: base, home: -1, controllers: g.enable(base, dir)}
		switch {
		case best == nil:
			best = h
		case len(h.controllers) > len(best.controllers):
			_ = os.Remove(filepath.Join(best.base, g.name))
			best = h
		default:
			_ = os.Remove(dir)
		}
		if len(best.controllers) > 0 {
			break
		}
	}
	g.v2 = best
}

// enable hands controllers down to the directory of the driver and its children.
func (g *groups) enable(base, dir string) []string {
	there, err := os.ReadFile(filepath.Join(base, "cgroup.controllers"))
	if err != nil {
		return nil
	}
	var enabled []string
	for _, c := range strings.Fields(string(there)) {
		if c != "memory" && c != "pids" && c != "cpu" {
			continue
		}
		err := write(base, "cgroup.subtree_control", "+"+c)
		if errors.Is(err, unix.EBUSY) && g.leaf == "" && g.moveDown(base) {
			err = write(base, "cgroup.subtree_control", "+"+c)
		}
		if err == nil {
			err = write(dir, "cgroup.subtree_control", "+"+c)
		}
		if err == nil {
			enabled = append(enabled, c)
		}
	}
	return enabled
}

// moveDown moves this process to a leaf of its own, if it is alone in its cgroup:
// one with processes cannot have controllers for its children.
func (g *groups) moveDown(base string) bool {
	b, err := os.ReadFile(filepath.Join(base, "cgroup.procs"))
	if err != nil || strings.TrimSpace(string(b)) != strconv.Itoa(os.Getpid()) {
		return false
	}
	leaf := filepath.Join(base, g.name+"-daemon")
	if err := os.Mkdir(leaf, 0o755); err != nil {
		return false
	}
	if err := write(leaf, "cgroup.procs", strconv.Itoa(os.Getpid())); err != nil {
		_ = os.Remove(leaf)
		return false
	}
	g.leaf = leaf
	return true
}

func write(dir, file, text string) error {
	f, err := os.OpenFile(filepath.Join(dir, file), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

// homes are the ways back for the helper, in the order of a group's freezing.
func (g *groups) homes() []int {
	var fds []int
	for _, h := range g.v1 {
		if h.has("freezer") {
			fds = append(fds, h.home)
		}
	}
	return fds
}

// holds says whether a limit is held by cgroups.
func (g *groups) holds(limit string) bool { return g.held[limit] }

// close removes the driver's directories.
func (g *groups) close() error {
	var errs []error
	for _, h := range g.all() {
		errs = append(errs, removeAll(filepath.Join(h.base, g.name)))
		if h.home >= 0 {
			_ = unix.Close(h.home)
		}
	}
	if g.leaf != "" { // back to where it was, as far as that can be done
		base := filepath.Dir(g.leaf)
		for _, c := range g.v2.controllers {
			_ = write(base, "cgroup.subtree_control", "-"+c)
		}
		if write(base, "cgroup.procs", strconv.Itoa(os.Getpid())) == nil {
			_ = os.Remove(g.leaf)
		}
	}
	return errors.Join(errs...)
}

// removeAll removes a directory of cgroups with those below, which are empty of
// processes or about to be.
func removeAll(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		if e.IsDir() {
			_ = removeAll(filepath.Join(dir, e.Name()))
		}
	}
	for deadline := time.Now().Add(emptying); ; {
		err := unix.Rmdir(dir)
		if err == nil || errors.Is(err, unix.ENOENT) {
			return nil
		}
		if !errors.Is(err, unix.EBUSY) || time.Now().After(deadline) {
			return fmt.Errorf("remove the cgroup %s: %w", dir, err)
		}
		<-time.After(time.Millisecond) // there is no signal for it in version 1
	}
}

// group is the cgroups of one instance.
type group struct {
	of   *groups
	dirs map[string]string // by controller; "" is version 2's
	all  []string
	// tasks are files of version 1: of limits, which commands move into, and of the
	// freezer, which init is born in. into is the directory of version 2, which init is
	// born in, too; -1: none.
	tasks, freezing []int
	into            int
}

// make makes the cgroups of an instance, without limits.
func (g *groups) make(name string) (*group, error) {
	n := &group{of: g, dirs: map[string]string{}, into: -1}
	err := n.fill(g, name)
	if err != nil {
		n.remove()
		return nil, err
	}
	return n, nil
}

func (n *group) fill(g *groups, name string) error {
	for _, h := range g.all() {
		dir := filepath.Join(h.base, g.name, name)
		if err := unix.Mkdir(dir, 0o755); err != nil {
			return fmt.Errorf("make the cgroup %s: %w", dir, err)
		}
		n.all = append(n.all, dir)
		for _, c := range h.controllers {
			n.dirs[c] = dir
		}
		var err error
		if h == g.v2 {
			n.dirs[""] = dir
			n.into, err = unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		} else {
			var fd int
			if fd, err = unix.Open(filepath.Join(dir, "tasks"), unix.O_WRONLY|unix.O_CLOEXEC, 0); err == nil {
				if h.has("freezer") {
					n.freezing = append(n.freezing, fd)
				} else {
					n.tasks = append(n.tasks, fd)
				}
			}
		}
		if err != nil {
			return fmt.Errorf("open the cgroup %s: %w", dir, err)
		}
	}
	return nil
}

// limit sets the limits.
func (n *group) limit(l sandbox.Limits) error {
	for at, h := range n.of.all() {
		set := limitV1
		if h == n.of.v2 {
			set = limitV2
		}
		if err := set(n.all[at], h, l); err != nil {
			return fmt.Errorf("limit the cgroup %s: %w", n.all[at], err)
		}
	}
	return nil
}

func limitV1(dir string, h *hierarchy, l sandbox.Limits) error {
	var errs []error
	if h.has("memory") {
		bytes := strconv.FormatInt(l.Memory, 10)
		errs = append(errs, write(dir, "memory.limit_in_bytes", bytes))
		if err := write(dir, "memory.memsw.limit_in_bytes", bytes); !errors.Is(err, fs.ErrNotExist) { // without swap accounting
			errs = append(errs, err)
		}
	}
	if h.has("pids") {
		errs = append(errs, write(dir, "pids.max", strconv.Itoa(l.Processes)))
	}
	if h.has("cpu") {
		errs = append(errs, write(dir, "cpu.cfs_quota_us", strconv.Itoa(quota(l.CPU))))
	}
	return errors.Join(errs...)
}

func limitV2(dir string, h *hierarchy, l sandbox.Limits) error {
	var errs []error
	if h.has("memory") {
		errs = append(errs, write(dir, "memory.max", strconv.FormatInt(l.Memory, 10)))
		if err := write(dir, "memory.swap.max", "0"); !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	if h.has("pids") {
		errs = append(errs, write(dir, "pids.max", strconv.Itoa(l.Processes+headroom)))
	}
	if h.has("cpu") {
		errs = append(errs, write(dir, "cpu.max", fmt.Sprintf("%d %d", quota(l.CPU), period)))
	}
	return errors.Join(errs...)
}

// quota is the share of processors in a period; the kernel takes no less than a
// millisecond.
func quota(cpu float64) int { return max(int(cpu*period), 1000) }

// placed closes what was only needed to place the first process.
func (n *group) placed() {
	wire.CloseAll(n.freezing)
	wire.CloseAll([]int{n.into})
	n.freezing, n.into = nil, -1
}

// handed closes what init was given.
func (n *group) handed() {
	wire.CloseAll(n.tasks)
	n.tasks = nil
}

// remove removes the cgroups, which have no process any more.
func (n *group) remove() {
	n.placed()
	n.handed()
	for _, dir := range n.all {
		if err := removeAll(dir); err != nil {
			n.of.log.Warn("a cgroup was left; it is removed at the next start", "error", err)
		}
	}
	n.all = nil
}

// oomKills is how many processes were killed for want of memory.
func (n *group) oomKills() int64 {
	dir, ok := n.dirs["memory"]
	if !ok {
		return 0
	}
	file := "memory.oom_control"
	if dir == n.dirs[""] {
		file = "memory.events"
	}
	return field(filepath.Join(dir, file), "oom_kill")
}

// used is the time of processors and the peak of memory; zero: not known.
func (n *group) used() (cpu time.Duration, peak int64) {
	if dir, ok := n.dirs["cpuacct"]; ok {
		cpu = time.Duration(number(filepath.Join(dir, "cpuacct.usage")))
	} else if dir, ok := n.dirs[""]; ok {
		cpu = time.Duration(field(filepath.Join(dir, "cpu.stat"), "usage_usec")) * time.Microsecond
	}
	if dir, ok := n.dirs["memory"]; ok {
		if dir == n.dirs[""] {
			peak = number(filepath.Join(dir, "memory.peak"))
		} else {
			peak = number(filepath.Join(dir, "memory.max_usage_in_bytes"))
		}
	}
	return cpu, peak
}

func number(file string) int64 {
	b, err := os.ReadFile(file)
	if err != nil {
		return 0
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// field is a number of a file of lines "name number".
func field(file, name string) int64 {
	b, err := os.ReadFile(file)
	if err != nil {
		return 0
	}
	return parseField(b, name)
}

func parseField(b []byte, name string) int64 {
	for line := range bytes.Lines(b) {
		f := strings.Fields(string(line))
		if len(f) == 2 && f[0] == name {
			n, err := strconv.ParseInt(f[1], 10, 64)
			if err != nil {
				return 0
			}
			return n
		}
	}
	return 0
}

// freezer says whether the instance can be frozen by a cgroup.
func (n *group) freezer() bool { return n.dirs[""] != "" || n.dirs["freezer"] != "" }

// freeze and thaw set the state; frozen says whether it has been reached.
func (n *group) freeze() error {
	if dir := n.dirs[""]; dir != "" {
		return write(dir, "cgroup.freeze", "1")
	}
	return write(n.dirs["freezer"], "freezer.state", "FROZEN")
}

func (n *group) thaw() error {
	switch {
	case n.dirs[""] != "":
		return write(n.dirs[""], "cgroup.freeze", "0")
	case n.dirs["freezer"] != "":
		return write(n.dirs["freezer"], "freezer.state", "THAWED")
	}
	return nil
}

func (n *group) frozen() bool {
	if dir := n.dirs[""]; dir != "" {
		return field(filepath.Join(dir, "cgroup.events"), "frozen") == 1
	}
	b, err := os.ReadFile(filepath.Join(n.dirs["freezer"], "freezer.state"))
	return err == nil && strings.TrimSpace(string(b)) == "FROZEN"
}
