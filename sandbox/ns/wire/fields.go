//go:build linux

package wire

// The fields of every message, in order. Both ends are the same program, so there
// is no other version to understand.

func putTree(w *writer, m *Tree) {
	w.bytes(m.Path)
	w.bytes(m.Subs)
	w.flag(m.Submade)
}

func getTree(r *reader, m *Tree) {
	m.Path = r.bytes()
	m.Subs = r.bytes()
	m.Submade = r.flag()
}

func putSpawn(w *writer, m *Spawn) {
	w.num(m.Key)
	w.num(uint64(m.Tasks))
	w.flag(m.Into)
	w.num(uint64(m.Host))
	w.flag(m.Switch)
}

func getSpawn(r *reader, m *Spawn) {
	m.Key = r.num()
	m.Tasks = r.int()
	m.Into = r.flag()
	m.Host = r.int()
	m.Switch = r.flag()
}

func (m ForkdRequest) put(w *writer) {
	w.flag(m.Home)
	option(w, m.Spawn, putSpawn)
}

func (m *ForkdRequest) get(r *reader) {
	m.Home = r.flag()
	m.Spawn = optional(r, getSpawn)
}

func (m Spawned) put(w *writer) {
	w.num(m.Key)
	w.text(m.Err)
	w.num(uint64(m.PID))
	w.flag(m.Ended)
	w.num(uint64(m.Status))
}

func (m *Spawned) get(r *reader) {
	m.Key = r.num()
	m.Err = r.text()
	m.PID = r.int()
	m.Ended = r.flag()
	m.Status = uint32(r.num())
}

func putItem(w *writer, m *Item) {
	w.text(m.Path)
	w.num(uint64(m.Mode))
	w.text(m.Link)
	w.text(m.Text)
	w.flag(m.File)
}

func getItem(r *reader, m *Item) {
	m.Path = r.text()
	m.Mode = uint32(r.num())
	m.Link = r.text()
	m.Text = r.text()
	m.File = r.flag()
}

func putBind(w *writer, m *Bind) {
	w.bytes(m.Host)
	w.text(m.Path)
	w.num(uint64(m.Tree))
}

func getBind(r *reader, m *Bind) {
	m.Host = r.bytes()
	m.Path = r.text()
	m.Tree = r.int()
}

func putBuild(w *writer, m *Build) {
	slice(w, m.Trees, putTree)
	w.flag(m.Opened)
	slice(w, m.Skeleton, putItem)
	slice(w, m.Lower, func(w *writer, n *int) { w.num(uint64(*n)) })
	w.num(uint64(m.Upper))
	slice(w, m.Binds, putBind)
	w.text(m.Hostname)
	w.num(uint64(m.Tmp))
	w.flag(m.TmpOnTop)
	w.num(uint64(m.Processes))
	w.num(uint64(m.Files))
	w.num(uint64(m.FileSize))
	w.num(uint64(m.Memory))
	w.flag(m.WatchProcesses)
	w.flag(m.UserProcs)
}

func getBuild(r *reader, m *Build) {
	m.Trees = list(r, 17, getTree)
	m.Opened = r.flag()
	m.Skeleton = list(r, 33, getItem)
	m.Lower = list(r, 8, func(r *reader, n *int) { *n = r.int() })
	m.Upper = r.int()
	m.Binds = list(r, 24, getBind)
	m.Hostname = r.text()
	m.Tmp = int64(r.num())
	m.TmpOnTop = r.flag()
	m.Processes = r.int()
	m.Files = r.int()
	m.FileSize = int64(r.num())
	m.Memory = int64(r.num())
	m.WatchProcesses = r.flag()
	m.UserProcs = r.flag()
}

func putStart(w *writer, m *Start) {
	w.num(m.ID)
	w.bytes(m.Args)
	w.bytes(m.Env)
	w.bytes(m.Dir)
	for i := range m.Stdio {
		w.flag(m.Stdio[i])
	}
	w.flag(m.Detached)
}

func getStart(r *reader, m *Start) {
	m.ID = r.num()
	m.Args = r.bytes()
	m.Env = r.bytes()
	m.Dir = r.bytes()
	for i := range m.Stdio {
		m.Stdio[i] = r.flag()
	}
	m.Detached = r.flag()
}

func (m Request) put(w *writer) {
	w.num(m.Seq)
	w.flag(m.Trees)
	w.flag(m.Tasks)
	option(w, m.Build, putBuild)
	option(w, m.Start, putStart)
	w.num(m.Kill)
	w.flag(m.List)
	w.flag(m.Stop)
	w.flag(m.Cont)
	w.flag(m.Usage)
	w.flag(m.Lost)
}

func (m *Request) get(r *reader) {
	m.Seq = r.num()
	m.Trees = r.flag()
	m.Tasks = r.flag()
	m.Build = optional(r, getBuild)
	m.Start = optional(r, getStart)
	m.Kill = r.num()
	m.List = r.flag()
	m.Stop = r.flag()
	m.Cont = r.flag()
	m.Usage = r.flag()
	m.Lost = r.flag()
}

func putProc(w *writer, m *Proc) {
	w.num(uint64(m.PID))
	w.bytes(m.Command)
}

func getProc(r *reader, m *Proc) {
	m.PID = r.int()
	m.Command = r.bytes()
}

func putExit(w *writer, m *Exit) {
	w.num(m.ID)
	w.num(uint64(m.Status))
	w.num(uint64(m.CPU))
	w.num(uint64(m.MaxRSS))
	slice(w, m.Left, putProc)
}

func getExit(r *reader, m *Exit) {
	m.ID = r.num()
	m.Status = uint32(r.num())
	m.CPU = int64(r.num())
	m.MaxRSS = int64(r.num())
	m.Left = list(r, 16, getProc)
}

func putBreach(w *writer, m *Breach) {
	w.text(m.Limit)
	w.num(uint64(m.Used))
	w.num(uint64(m.Max))
}

func getBreach(r *reader, m *Breach) {
	m.Limit = r.text()
	m.Used = int64(r.num())
	m.Max = int64(r.num())
}

func putBuilt(w *writer, m *Built) {
	w.num(uint64(m.Landlock))
	w.flag(m.Seccomp)
}

func getBuilt(r *reader, m *Built) {
	m.Landlock = r.int()
	m.Seccomp = r.flag()
}

func (m Reply) put(w *writer) {
	w.num(m.Seq)
	w.text(m.Err)
	w.num(uint64(m.Errno))
	w.num(uint64(m.PID))
	slice(w, m.Procs, putProc)
	option(w, m.Built, putBuilt)
	option(w, m.Exit, putExit)
	option(w, m.Breach, putBreach)
	w.num(uint64(m.CPU))
	w.num(uint64(m.Memory))
	w.num(uint64(m.Bytes))
	w.num(uint64(m.Hiding))
}

func (m *Reply) get(r *reader) {
	m.Seq = r.num()
	m.Err = r.text()
	m.Errno = r.int()
	m.PID = r.int()
	m.Procs = list(r, 16, getProc)
	m.Built = optional(r, getBuilt)
	m.Exit = optional(r, getExit)
	m.Breach = optional(r, getBreach)
	m.CPU = int64(r.num())
	m.Memory = int64(r.num())
	m.Bytes = int64(r.num())
	m.Hiding = r.int()
}
