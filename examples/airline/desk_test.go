package airline

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A gift of 50 to a user of the recorded databases.
const gift = `{"user_id":"mia_li_3668","amount":50}`

func call(t *testing.T, d *Desk, tool, args, key string) string {
	t.Helper()
	text, err := d.Call(t.Context(), tool, json.RawMessage(args), key)
	if err != nil {
		t.Fatalf("%s %s: %v", tool, args, err)
	}
	return text
}

func hash(t *testing.T, d *Desk) string {
	t.Helper()
	h, err := d.Hash()
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestAKeyWorksOnce(t *testing.T) {
	t.Parallel()
	db, _ := load(t)
	dir := t.TempDir()
	d := open(t, db, dir)
	fresh := hash(t, d)
	first := call(t, d, "send_certificate", gift, "k")
	after := hash(t, d)
	if again := call(t, d, "send_certificate", gift, "k"); again != first || hash(t, d) != after || after == fresh {
		t.Errorf("first %q, again %q", first, again)
	}
	if _, err := d.Call(t.Context(), "send_certificate", json.RawMessage(`{"user_id":"mia_li_3668","amount":51}`), "k"); !errors.Is(err, ErrKeyReused) {
		t.Errorf("the key with another call: %v", err)
	}
	if other := call(t, d, "send_certificate", gift, "k2"); other == first {
		t.Errorf("another key: %q", other)
	}
	for range 2 { // without a key every call is a new one
		call(t, d, "send_certificate", gift, "")
	}
	refused := call(t, d, "cancel_reservation", `{"reservation_id":"NONE"}`, "k3")
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}

	d = open(t, db, dir)
	defer func() { _ = d.Close() }()
	if again := call(t, d, "cancel_reservation", `{"reservation_id":"NONE"}`, "k3"); again != refused {
		t.Errorf("refused with %q, after the restart %q", refused, again)
	}
	var got []string
	for _, w := range d.Writes() {
		got = append(got, fmt.Sprint(w.Key, " ", w.Tool, " ", w.Changed))
	}
	want := []string{
		"k send_certificate true", "k2 send_certificate true",
		" send_certificate true", " send_certificate false", // three certificates are all there are
		"k3 cancel_reservation false",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if d.Repeats() != 2 {
		t.Errorf("%d repeats", d.Repeats())
	}
}

func TestConcurrentCallsOfOneKey(t *testing.T) {
	t.Parallel()
	db, _ := load(t)
	d := open(t, db, t.TempDir())
	defer func() { _ = d.Close() }()
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			if _, err := d.Call(t.Context(), "send_certificate", json.RawMessage(gift), "k"); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if len(d.Writes()) != 1 || d.Repeats() != 15 {
		t.Errorf("%d writes, %d repeats", len(d.Writes()), d.Repeats())
	}
}

func TestChangedBackIsTheSameDatabase(t *testing.T) {
	t.Parallel()
	db, _ := load(t)
	d := open(t, db, t.TempDir())
	defer func() { _ = d.Close() }()
	fresh := hash(t, d)
	was, err := json.Marshal(d.db.reservations["VAAOXJ"].Passengers)
	if err != nil {
		t.Fatal(err)
	}
	call(t, d, "update_reservation_passengers", `{"reservation_id":"VAAOXJ","passengers":[{"first_name":"A","last_name":"B","dob":"2000-01-01"}]}`, "1")
	if hash(t, d) == fresh {
		t.Error("a change does not show in the hash")
	}
	call(t, d, "update_reservation_passengers", `{"reservation_id":"VAAOXJ","passengers":`+string(was)+`}`, "2")
	if hash(t, d) != fresh {
		t.Error("what was changed back shows in the hash")
	}
}

// TestARefusalChangesNothing names a certificate twice: the second time it is gone.
func TestARefusalChangesNothing(t *testing.T) {
	t.Parallel()
	db, _ := load(t)
	d := open(t, db, t.TempDir())
	defer func() { _ = d.Close() }()
	fresh := hash(t, d)
	for _, pay := range []string{
		`{"payment_id":"certificate_7504069","amount":100},{"payment_id":"certificate_7504069","amount":155}`,
		`{"payment_id":"certificate_7504069","amount":250}`,
		`{"payment_id":"certificate_7504069","amount":250.5}`,
		`{"payment_id":"nothing","amount":255}`,
	} {
		text := call(t, d, "book_reservation", `{"user_id":"mia_li_3668","origin":"JFK","destination":"SEA","flight_type":"one_way",
			"cabin":"economy","flights":[{"flight_number":"HAT136","date":"2024-05-20"},{"flight_number":"HAT039","date":"2024-05-20"}],
			"passengers":[{"first_name":"Mia","last_name":"Li","dob":"1990-04-05"}],"payment_methods":[`+pay+`],
			"total_baggages":0,"nonfree_baggages":0,"insurance":"no"}`, pay)
		if !strings.HasPrefix(text, "Error: ") {
			t.Errorf("%s was booked: %s", pay, text)
		}
		if hash(t, d) != fresh {
			t.Errorf("%s was refused and changed the database", pay)
		}
	}
	for tool, args := range map[string]string{
		"send_certificate":              `{"user_id":"nobody","amount":1}`,
		"get_user_details":              `{"user_id":"nobody"}`,
		"get_reservation_details":       `{"reservation_id":"NONE"}`,
		"update_reservation_passengers": `{"reservation_id":"VAAOXJ","passengers":[]}`,
		"update_reservation_baggages":   `{"reservation_id":"VAAOXJ","total_baggages":2,"nonfree_baggages":1,"payment_id":"none"}`,
		"update_reservation_flights":    `{"reservation_id":"VAAOXJ","cabin":"economy","flights":[{"flight_number":"HAT999","date":"2024-05-20"}],"payment_id":"none"}`,
	} {
		if text := call(t, d, tool, args, tool); !strings.HasPrefix(text, "Error: ") {
			t.Errorf("%s %s: %s", tool, args, text)
		}
	}
	if hash(t, d) != fresh {
		t.Error("a refusal changed the database")
	}
}

func TestWrongCalls(t *testing.T) {
	t.Parallel()
	db, _ := load(t)
	d := open(t, db, t.TempDir())
	defer func() { _ = d.Close() }()
	for _, c := range []struct {
		tool, args string
		want       error
	}{
		{"no_such_tool", "{}", ErrUnknownTool},
		{"get_user_details", `{"user_id":1}`, ErrArguments},
		{"send_certificate", `{"user_id":"mia_li_3668","amount":"much"}`, ErrArguments},
		{"send_certificate", `{`, ErrArguments},
	} {
		if _, err := d.Call(t.Context(), c.tool, json.RawMessage(c.args), "k"); !errors.Is(err, c.want) {
			t.Errorf("%s %s: %v", c.tool, c.args, err)
		}
	}
	if len(d.Writes()) != 0 {
		t.Errorf("%d writes", len(d.Writes()))
	}
}

// TestOtherDatabases opens a desk's state over databases it was not written with.
func TestOtherDatabases(t *testing.T) {
	t.Parallel()
	db, _ := load(t)
	dir := t.TempDir()
	line := `{"key":"k","tool":"cancel_reservation","args":{"reservation_id":"4WQ150"},"text":"another text","changed":true}` + "\n"
	if err := os.WriteFile(filepath.Join(dir, "writes.jsonl"), []byte(line), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Open(t.Context(), dir); err == nil || !strings.Contains(err.Error(), "another answer") {
		t.Errorf("%v", err)
	}
}
