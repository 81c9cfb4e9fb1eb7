package airline

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
)

// Database is the recorded databases and tool definitions, read once. It never
// changes, so that many desks share one.
type Database struct {
	users        map[string]*user
	reservations map[string]*reservation
	flights      []*flight // in the order of the file: searches answer in it
	byNumber     map[string]*flight
	tools        []toolDef
	digest       [sha256.Size]byte
}

type user struct {
	Name            json.RawMessage `json:"name"`
	Address         json.RawMessage `json:"address"`
	Email           string          `json:"email"`
	Born            string          `json:"dob"`
	Methods         methods         `json:"payment_methods"`
	SavedPassengers json.RawMessage `json:"saved_passengers"`
	Membership      string          `json:"membership"`
	Reservations    []string        `json:"reservations"`
}

// clone is a copy that may be changed.
func (u *user) clone() *user {
	c := *u
	c.Methods = slices.Clone(u.Methods)
	c.Reservations = slices.Clone(u.Reservations)
	return &c
}

// method is a way to pay. Fields stand in the order of the recorded results,
// here and in all types below.
type method struct {
	Source   string  `json:"source"` // "credit_card", "gift_card" or "certificate"
	Brand    string  `json:"brand,omitempty"`
	LastFour string  `json:"last_four,omitempty"`
	Amount   *number `json:"amount,omitempty"` // what is left; never changed in place
	ID       string  `json:"id"`
}

// covers says whether the method has the amount; a credit card always does.
func (m *method) covers(amount number) bool { return m.Amount == nil || !m.Amount.less(amount) }

// spend takes the amount from the method.
func (m *method) spend(amount number) {
	if m.Amount != nil {
		left := m.Amount.minus(amount)
		m.Amount = &left
	}
}

// methods is a JSON object of methods by id, in order.
type methods []method

func (ms methods) find(id string) *method {
	for i := range ms {
		if ms[i].ID == id {
			return &ms[i]
		}
	}
	return nil
}

// MarshalJSON prints an object.
func (ms methods) MarshalJSON() ([]byte, error) {
	return marshalObject(ms, func(m method) string { return m.ID })
}

// UnmarshalJSON reads an object whose keys are the ids of its values.
func (ms *methods) UnmarshalJSON(b []byte) error {
	*ms = nil
	return eachField(bytes.NewReader(b), func(key string, d *json.Decoder) error {
		var m method
		if err := d.Decode(&m); err != nil {
			return err
		}
		if m.ID != key {
			return fmt.Errorf("payment method %q is filed under %q", m.ID, key)
		}
		*ms = append(*ms, m)
		return nil
	})
}

type reservation struct {
	ID              string      `json:"reservation_id"`
	User            string      `json:"user_id"`
	Origin          string      `json:"origin"`
	Destination     string      `json:"destination"`
	FlightType      string      `json:"flight_type"`
	Cabin           string      `json:"cabin"`
	Flights         []segment   `json:"flights"`
	Passengers      []passenger `json:"passengers"`
	Payments        []payment   `json:"payment_history"`
	CreatedAt       string      `json:"created_at"`
	Baggages        int         `json:"total_baggages"`
	NonfreeBaggages int         `json:"nonfree_baggages"`
	Insurance       string      `json:"insurance"`
	Status          string      `json:"status,omitempty"`
}

// clone is a copy that may be changed.
func (r *reservation) clone() *reservation {
	c := *r
	c.Flights = slices.Clone(r.Flights)
	c.Passengers = slices.Clone(r.Passengers)
	c.Payments = slices.Clone(r.Payments)
	return &c
}

type passenger struct {
	FirstName string `json:"first_name"`
	LastName  string `json:"last_name"`
	Born      string `json:"dob"`
}

type payment struct {
	Method string `json:"payment_id"`
	Amount number `json:"amount"`
}

// segment is one flight of a reservation. One that was booked here has its fields
// in another order than one of the recorded databases.
type segment struct {
	recordedSegment
	booked bool
}

type recordedSegment struct {
	Origin      string `json:"origin"`
	Destination string `json:"destination"`
	Flight      string `json:"flight_number"`
	Date        string `json:"date"`
	Price       number `json:"price"`
}

// MarshalJSON prints the fields in the segment's order.
func (s segment) MarshalJSON() ([]byte, error) {
	if !s.booked {
		return json.Marshal(s.recordedSegment)
	}
	return json.Marshal(struct {
		Flight      string `json:"flight_number"`
		Date        string `json:"date"`
		Price       number `json:"price"`
		Origin      string `json:"origin"`
		Destination string `json:"destination"`
	}{s.Flight, s.Date, s.Price, s.Origin, s.Destination})
}

type flight struct {
	Number      string                     `json:"flight_number"`
	Origin      string                     `json:"origin"`
	Destination string                     `json:"destination"`
	Departure   string                     `json:"scheduled_departure_time_est"`
	Arrival     string                     `json:"scheduled_arrival_time_est"` // "+1" at its end: the next day
	Dates       map[string]json.RawMessage `json:"dates,omitempty"`
}

// day is a flight on one date.
type day struct {
	Status string            `json:"status"`
	Seats  map[string]int    `json:"available_seats"` // by cabin
	Prices map[string]number `json:"prices"`          // by cabin
}

const available = "available"

// on returns the flight on a date, nil if it does not fly.
func (f *flight) on(date string) (*day, error) {
	raw, ok := f.Dates[date]
	if !ok {
		return nil, nil // no such date is an ordinary answer
	}
	d := &day{}
	if err := json.Unmarshal(raw, d); err != nil {
		return nil, fmt.Errorf("flight %s on %s: %w", f.Number, date, err)
	}
	return d, nil
}

// Load reads users.json, reservations.json, flights.json and airline_tools.json
// of a directory.
func Load(dir string) (*Database, error) {
	db := &Database{users: map[string]*user{}, reservations: map[string]*reservation{}, byNumber: map[string]*flight{}}
	hash := sha256.New()
	read := func(name string, each func(key string, d *json.Decoder) error) error {
		f, err := os.Open(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }()
		if err := eachField(io.TeeReader(f, hash), each); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		return nil
	}
	err := read("users.json", func(key string, d *json.Decoder) error {
		u := &user{}
		db.users[key] = u
		return d.Decode(u)
	})
	if err == nil {
		err = read("reservations.json", func(key string, d *json.Decoder) error {
			r := &reservation{}
			db.reservations[key] = r
			return d.Decode(r)
		})
	}
	if err == nil {
		err = read("flights.json", func(key string, d *json.Decoder) error {
			f := &flight{}
			db.byNumber[key] = f
			db.flights = append(db.flights, f)
			return d.Decode(f)
		})
	}
	if err == nil {
		db.tools, err = loadTools(filepath.Join(dir, "airline_tools.json"))
	}
	if err != nil {
		return nil, fmt.Errorf("airline: %w", err)
	}
	hash.Sum(db.digest[:0])
	return db, nil
}

// eachField calls each for every field of a JSON object, in order; each reads the value.
func eachField(r io.Reader, each func(key string, d *json.Decoder) error) error {
	d := json.NewDecoder(r)
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return fmt.Errorf("not an object: %v %w", t, err)
	}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return err
		}
		if err := each(key.(string), d); err != nil { // a decoder gives no other key
			return fmt.Errorf("%s: %w", key, err)
		}
	}
	_, err := d.Token()
	return err
}

// marshalObject prints values as an object, in order.
func marshalObject[T any](values []T, key func(T) string) ([]byte, error) {
	out := []byte{'{'}
	for i, v := range values {
		if i > 0 {
			out = append(out, ',')
		}
		k, err := json.Marshal(key(v))
		if err != nil {
			return nil, err
		}
		b, err := json.Marshal(v)
		if err != nil {
			return nil, err
		}
		out = append(append(append(out, k...), ':'), b...)
	}
	return append(out, '}'), nil
}
