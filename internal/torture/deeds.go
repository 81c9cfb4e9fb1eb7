package torture

import (
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/cairn-run/cairn"
)

// deed is a call on the files, and what it does to them: the torture knows how the
// files have to look after any of its calls.
type deed struct {
	tool string
	args map[string]any
	does func(f fileset)
}

// fileset are the files of a session: path below /workspace to content; of a link
// "-> target", of an empty directory "".
type fileset map[string]string

// note adds a line to the log and one to the counter: made twice, or lost, or in
// another order, it shows.
func (f fileset) note(tag string) {
	f["log"] += tag + "\n"
	n, _ := strconv.Atoi(strings.TrimSpace(f["counter"])) // absent: 0
	f["counter"] = strconv.Itoa(n+1) + "\n"
}

// noting is a command that does the same. It rests in the middle, for kills to find
// it half done.
const noting = `printf '%s\n' "$tag" >> /workspace/log; sleep 0.02; n=$(cat /workspace/counter 2>/dev/null || echo 0); echo $((n+1)) > /workspace/counter`

func bashDeed(tag, more string, does func(fileset)) deed {
	command := "tag=" + tag + "; " + noting
	if more != "" {
		command += "; " + more
	}
	return deed{tool: cairn.BuiltinBash, args: map[string]any{"command": command, "timeout": 60}, does: func(f fileset) {
		f.note(tag)
		if does != nil {
			does(f)
		}
	}}
}

// many is how many files one call makes.
const many = 40

// deeds by their tags.
var deeds = map[string]deed{
	"a0": bashDeed("a0", "", nil),
	"a1": {
		tool: cairn.BuiltinWrite, args: map[string]any{"path": "notes/a1.txt", "content": "tag=a1\nold\n"},
		does: func(f fileset) { f["notes/a1.txt"] = "tag=a1\nold\n" },
	},
	"a2": bashDeed("a2", "", nil),
	"a3": {
		tool: cairn.BuiltinEdit, args: map[string]any{"path": "notes/a1.txt", "edits": []any{
			map[string]any{"old_text": "old\n", "new_text": "tag=a3\nnew\n"},
		}},
		does: func(f fileset) {
			if c, ok := f["notes/a1.txt"]; ok { // else it was refused
				f["notes/a1.txt"] = strings.Replace(c, "old\n", "tag=a3\nnew\n", 1)
			}
		},
	},
	"a4": {
		tool: cairn.BuiltinPython,
		args: map[string]any{"code": "tag='a4'  # tag=a4\nopen('/workspace/log', 'a').write(tag + '\\n')\n" +
			"import os\np = '/workspace/counter'\nn = int(open(p).read()) if os.path.exists(p) else 0\nopen(p, 'w').write(f'{n + 1}\\n')\n"},
		does: func(f fileset) { f.note("a4") },
	},
	"a5": bashDeed("a5", "mkdir -p many/deep; for i in $(seq "+strconv.Itoa(many)+"); do echo $i > many/deep/$i; done; rm -f notes/a1.txt; chmod 700 counter; ln -sf log link", func(f fileset) {
		for i := range many {
			f["many/deep/"+strconv.Itoa(i+1)] = strconv.Itoa(i+1) + "\n"
		}
		delete(f, "notes/a1.txt")
		f["link"] = "-> log"
	}),
	// What a failing command did stays: the model sees both.
	"a6": bashDeed("a6", "exit 3", nil),
	"a7": bashDeed("a7", "rm -rf many; mkdir many; echo again > many/again", func(f fileset) {
		for name := range f {
			if strings.HasPrefix(name, "many/") {
				delete(f, name)
			}
		}
		f["many/again"] = "again\n"
	}),
	// It detaches and ignores everything it can: the end of the run has to end it. The
	// calls after it are made beside it, and what they change is copied.
	daemonTag: {tool: cairn.BuiltinBash, args: map[string]any{
		"command": "tag=" + daemonTag + "; trap '' HUP TERM INT; (trap '' HUP TERM INT; setsid sleep 3600 &) ; sleep 3600", "background": true,
	}, does: func(fileset) {}},
	// It writes and takes back: nothing has changed, so nothing is recorded.
	"a8": {tool: cairn.BuiltinBash, args: map[string]any{"command": "tag=a8; touch x; sleep 0.02; rm x", "timeout": 60}, does: func(fileset) {}},
}

// daemonTag marks the command that goes on in the background; runTag those of a
// talker, hoardTag those of a hoarder, which are followed by a number.
const (
	daemonTag = "d"
	runTag    = "t"
	hoardTag  = "h"
)

// workerDeeds are the deeds of a worker, by reply; talkerCalls those of every run
// of a talker.
var workerDeeds = [][]string{{"a0"}, {"a1", "a2"}, {"a3"}, {"a4"}, {"a5"}, {"a6"}, {daemonTag, "a7", "a8"}}

func talkerCalls() []map[string]any {
	return []map[string]any{
		{"tool": deeds[daemonTag].tool, "args": deeds[daemonTag].args},
		{"tool": cairn.BuiltinBash, "args": map[string]any{"command": "tag=" + runTag + "{{turn}}; " + noting, "timeout": 60}},
	}
}

// hoardFiles is how many files a hoarder writes again and again.
const hoardFiles = 7

// hoardCalls are the calls of a hoarder, by reply: each leaves a layer, more than
// are mounted one by one.
func hoardCalls() [][]map[string]any {
	const replies = 10
	var all [][]map[string]any
	for i := range replies {
		var calls []map[string]any
		for j := range hoardFiles {
			n := strconv.Itoa(i*hoardFiles + j)
			calls = append(calls, map[string]any{"tool": cairn.BuiltinWrite, "args": map[string]any{
				"path": "hoard/" + strconv.Itoa(j), "content": "tag=" + hoardTag + n + "\n",
			}})
		}
		all = append(all, calls)
	}
	return all
}

var tagged = regexp.MustCompile(`tag=([a-z][0-9]*)`)

// tagOf finds the deed of a call on the files; "": it has none.
func tagOf(args json.RawMessage) string {
	m := tagged.FindSubmatch(args)
	if m == nil {
		return ""
	}
	return string(m[1])
}

// do does the deed with this tag.
func (f fileset) do(tag string) (known bool) {
	d, ok := deeds[tag]
	switch {
	case ok:
		d.does(f)
	case strings.HasPrefix(tag, runTag):
		f.note(tag)
	case strings.HasPrefix(tag, hoardTag):
		n, err := strconv.Atoi(strings.TrimPrefix(tag, hoardTag))
		if err != nil {
			return false
		}
		f["hoard/"+strconv.Itoa(n%hoardFiles)] = "tag=" + tag + "\n"
	default:
		return false
	}
	return true
}

// clone copies f.
func (f fileset) clone() fileset { return maps.Clone(f) }

// names are the files of f in order.
func (f fileset) names() []string { return slices.Sorted(maps.Keys(f)) }
