package airline

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairn-run/cairn/internal/sim"
)

// recording is the folder of the recorded databases and trajectories.
func recording(t testing.TB) string {
	t.Helper()
	return sim.Data(t, "agent-decisions", "tau-bench", "airline")
}

// recorded reads the recording once for all tests; nothing changes it.
var recorded struct {
	once sync.Once
	db   *Database
	all  []Trajectory
	err  error
}

func load(t testing.TB) (*Database, []Trajectory) {
	t.Helper()
	dir := recording(t)
	recorded.once.Do(func() {
		recorded.db, recorded.err = Load(dir)
		if recorded.err == nil {
			recorded.all, recorded.err = Trajectories(dir)
		}
	})
	if recorded.err != nil {
		t.Fatal(recorded.err)
	}
	return recorded.db, recorded.all
}

func open(t testing.TB, db *Database, dir string) *Desk {
	t.Helper()
	d, err := db.Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestEveryRecordedResult replays all trajectories, each on a desk of its own,
// with a restart of the desk on the way and every key asked for twice. All
// results are byte-identical to the recording, but those of get_user_details:
// the databases call the address's "province" "state".
func TestEveryRecordedResult(t *testing.T) {
	t.Parallel()
	db, all := load(t)
	if len(all) != 100 {
		t.Fatalf("%d trajectories", len(all))
	}
	py := newPython(t, db)
	results, addresses := 0, 0
	for _, tr := range all {
		dir := filepath.Join(t.TempDir(), tr.Name)
		d := open(t, db, dir)
		for i, r := range tr.Results {
			results++
			key := fmt.Sprintf("%s-%d", tr.Name, i)
			text, err := d.Call(t.Context(), r.Tool, json.RawMessage(r.Args), key)
			if err != nil {
				t.Fatalf("%s, %s %s: %v", tr.Name, r.Tool, r.Args, err)
			}
			if i == len(tr.Results)/2 {
				if err := d.Close(); err != nil {
					t.Fatal(err)
				}
				d = open(t, db, dir)
				if again, err := d.Call(t.Context(), r.Tool, json.RawMessage(r.Args), key); err != nil || again != text {
					t.Errorf("%s, %s: after a restart %q, %v", tr.Name, r.Tool, again, err)
				}
			}
			if r.Tool == "get_user_details" {
				addresses++
				text = strings.Replace(text, `"state": `, `"province": `, 1)
				if diff := cmp.Diff(withoutAddress(t, r.Text), withoutAddress(t, text)); diff != "" {
					t.Errorf("%s: %s", tr.Name, diff)
				}
			}
			if text != r.Text {
				t.Errorf("%s, %s %s:\n got  %s\n want %s", tr.Name, r.Tool, r.Args, text, r.Text)
			}
		}
		if tr.Right {
			if got := py.hash(t, d); got != tr.Truth {
				t.Errorf("%s: the database ends as %s, the recording says %s", tr.Name, got, tr.Truth)
			}
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
	if results != 577 || addresses != 61 {
		t.Errorf("%d results, %d of them addresses; 577 and 61 were recorded", results, addresses)
	}
}

func withoutAddress(t *testing.T, text string) map[string]any {
	t.Helper()
	m := map[string]any{}
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		t.Fatal(err)
	}
	delete(m, "address")
	return m
}

// TestCanonicalArgumentsChangeNothing replays with the arguments a runtime
// sends: keys sorted.
func TestCanonicalArgumentsChangeNothing(t *testing.T) {
	t.Parallel()
	db, all := load(t)
	for _, tr := range all {
		d := open(t, db, t.TempDir())
		for i, r := range tr.Results {
			var v any
			if err := json.Unmarshal([]byte(r.Args), &v); err != nil {
				t.Fatal(err)
			}
			args, err := json.Marshal(v)
			if err != nil {
				t.Fatal(err)
			}
			text, err := d.Call(t.Context(), r.Tool, args, fmt.Sprint(i))
			if err != nil || text != r.Text && r.Tool != "get_user_details" {
				t.Errorf("%s, %s: %v\n got  %s\n want %s", tr.Name, r.Tool, err, text, r.Text)
			}
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestTheReferencesOwnHashes does what would have been right in each task and
// compares the whole database with the hash that the reference recorded for it.
func TestTheReferencesOwnHashes(t *testing.T) {
	t.Parallel()
	db, all := load(t)
	py := newPython(t, db)
	compared := 0
	for _, tr := range all {
		if tr.Truth == "" {
			continue
		}
		compared++
		d := open(t, db, t.TempDir())
		for _, a := range tr.TruthActions {
			if _, err := d.Call(t.Context(), a.Tool, json.RawMessage(a.Args), ""); err != nil {
				t.Errorf("%s, %s: %v", tr.Name, a.Tool, err)
			}
		}
		if got := py.hash(t, d); got != tr.Truth {
			t.Errorf("%s: %s, the reference has %s", tr.Name, got, tr.Truth)
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
	if compared != 87 {
		t.Errorf("%d hashes compared of 87", compared)
	}
}

// python is what Python prints for the database as nested tuples, by id.
type python struct {
	flights             string
	users, reservations map[string]string
}

func newPython(t testing.TB, db *Database) *python {
	t.Helper()
	p := &python{users: map[string]string{}, reservations: map[string]string{}}
	flights := map[string]string{}
	for id, f := range db.byNumber {
		flights[id] = printed(t, f)
	}
	p.flights = fields(flights)
	for id, u := range db.users {
		p.users[id] = printed(t, u)
	}
	for id, r := range db.reservations {
		p.reservations[id] = printed(t, r)
	}
	return p
}

// hash is the hash tau-bench makes of its databases: SHA-256 of what Python
// prints for them, objects sorted by key.
func (p *python) hash(t testing.TB, d *Desk) string {
	t.Helper()
	users, reservations := maps.Clone(p.users), maps.Clone(p.reservations)
	for id, u := range d.users {
		users[id] = printed(t, u)
	}
	for id, r := range d.reservations {
		reservations[id] = printed(t, r)
	}
	whole := fields(map[string]string{"flights": p.flights, "users": fields(users), "reservations": fields(reservations)})
	sum := sha256.Sum256([]byte(whole))
	return hex.EncodeToString(sum[:])
}

func fields(m map[string]string) string {
	var out strings.Builder
	out.WriteByte('(')
	for i, k := range slices.Sorted(maps.Keys(m)) {
		if i > 0 {
			out.WriteString(", ")
		}
		fmt.Fprintf(&out, "('%s', %s)", k, m[k])
	}
	if len(m) == 1 {
		out.WriteByte(',')
	}
	out.WriteByte(')')
	return out.String()
}

func printed(t testing.TB, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	dec := json.NewDecoder(strings.NewReader(string(b)))
	dec.UseNumber()
	var object map[string]any
	if err := dec.Decode(&object); err != nil {
		t.Fatal(err)
	}
	if address, ok := object["address"].(map[string]any); ok {
		address["province"] = address["state"] // the name the recording has for it
		delete(address, "state")
	}
	return tuple(object)
}

func tuple(v any) string {
	switch v := v.(type) {
	case map[string]any:
		m := map[string]string{}
		for k, x := range v {
			m[k] = tuple(x)
		}
		return fields(m)
	case []any:
		list := make([]string, len(v))
		for i, x := range v {
			list[i] = tuple(x)
		}
		text := strings.Join(list, ", ")
		if len(v) == 1 {
			text += ","
		}
		return "(" + text + ")"
	case string:
		return "'" + v + "'"
	}
	return fmt.Sprint(v)
}

func TestTrajectoriesAreWhole(t *testing.T) {
	t.Parallel()
	_, all := load(t)
	results, replies, closings := 0, 0, 0
	for _, tr := range all {
		results += len(tr.Results)
		replies += len(tr.Replies)
		if len(tr.Turns) == 0 || tr.Turns[0].After != 0 {
			t.Errorf("%s does not begin with the user", tr.Name)
		}
		for i, turn := range tr.Turns {
			if turn.After >= len(tr.Replies) {
				t.Errorf("%s: turn %d is not answered", tr.Name, i)
			}
			if turn.After > 0 && len(tr.Replies[turn.After-1].Calls) > 0 {
				t.Errorf("%s: turn %d comes before a call's result", tr.Name, i)
			}
		}
		last := tr.Replies[len(tr.Replies)-1]
		if len(last.Calls) > 0 {
			t.Errorf("%s ends with a call", tr.Name)
		}
		if last.Closing {
			closings++
		}
	}
	if results != 577 || replies != 1163+closings || closings != 30 {
		t.Errorf("%d results, %d replies, %d of them closing", results, replies, closings)
	}
}

func TestMissingFilesAreNamed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if _, err := Load(dir); err == nil || !strings.Contains(err.Error(), "users.json") {
		t.Errorf("%v", err)
	}
	if _, err := Trajectories(dir); err == nil || !strings.Contains(err.Error(), "trajectories.json") {
		t.Errorf("%v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "users.json"), []byte("[1]"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(dir); err == nil || !strings.Contains(err.Error(), "not an object") {
		t.Errorf("%v", err)
	}
}
