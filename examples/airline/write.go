package airline

import (
	"fmt"
	"slices"
)

// Texts of refusals that several tools give.
const (
	noUser        = "Error: user not found"
	noReservation = "Error: reservation not found"
	noMethod      = "Error: payment method not found"
)

// refusal is a text with which the desk declines; it changes nothing.
type refusal string

// segmentArgs is a flight as a caller names it.
type segmentArgs struct {
	Flight string `json:"flight_number"`
	Date   string `json:"date"`
}

// reserve prices the flights for a party; a flight that is in kept is taken as it
// is there.
func reserve(v *view, wanted []segmentArgs, cabin string, party int, kept []segment) (out []segment, total number, no refusal, err error) {
	out = []segment{} // an empty list is [], not null
	for _, w := range wanted {
		s := segment{booked: true}
		s.Flight, s.Date = w.Flight, w.Date
		if i := slices.IndexFunc(kept, func(k segment) bool { return k.Flight == w.Flight && k.Date == w.Date }); i >= 0 {
			s.Origin, s.Destination, s.Price = kept[i].Origin, kept[i].Destination, kept[i].Price
		} else {
			f := v.desk.db.byNumber[w.Flight]
			if f == nil {
				return nil, total, refusal(fmt.Sprintf("Error: flight %s not found", w.Flight)), nil
			}
			d, err := f.on(w.Date)
			if err != nil {
				return nil, total, "", err
			}
			switch {
			case d == nil:
				no = refusal(fmt.Sprintf("Error: flight %s not found on date %s", w.Flight, w.Date))
			case d.Status != available:
				no = refusal(fmt.Sprintf("Error: flight %s not available on date %s", w.Flight, w.Date))
			default:
				seats, ok := d.Seats[cabin]
				if !ok {
					return nil, total, refusal(fmt.Sprintf("Error: '%s'", cabin)), nil
				}
				if seats < party {
					no = refusal("Error: not enough seats on flight " + w.Flight)
				}
			}
			if no != "" {
				return nil, total, no, nil
			}
			s.Origin, s.Destination, s.Price = f.Origin, f.Destination, d.Prices[cabin]
		}
		total = total.plus(s.Price.times(count(party)))
		out = append(out, s)
	}
	return out, total, "", nil
}

type bookArgs struct {
	User            string        `json:"user_id"`
	Origin          string        `json:"origin"`
	Destination     string        `json:"destination"`
	FlightType      string        `json:"flight_type"`
	Cabin           string        `json:"cabin"`
	Flights         []segmentArgs `json:"flights"`
	Passengers      []passenger   `json:"passengers"`
	Methods         []payment     `json:"payment_methods"`
	Baggages        int           `json:"total_baggages"`
	NonfreeBaggages int           `json:"nonfree_baggages"`
	Insurance       string        `json:"insurance"`
}

// newReservations are the ids of reservations made at the desk, in order; the
// last is given again when all are taken.
var newReservations = []string{"HATHAT", "HATHAU", "HATHAV"}

func book(v *view, args bookArgs) (string, error) {
	u := v.user(args.User)
	if u == nil {
		return noUser, nil
	}
	r := &reservation{
		ID: newReservations[len(newReservations)-1], User: args.User, Origin: args.Origin, Destination: args.Destination,
		FlightType: args.FlightType, Cabin: args.Cabin, Passengers: list(args.Passengers), Payments: list(args.Methods),
		CreatedAt: "2024-05-15T15:00:00", // the desk's clock stands still
		Baggages:  args.Baggages, NonfreeBaggages: args.NonfreeBaggages, Insurance: args.Insurance,
	}
	if i := slices.IndexFunc(newReservations, func(id string) bool { return v.reservation(id) == nil }); i >= 0 {
		r.ID = newReservations[i]
	}
	segments, price, no, err := reserve(v, args.Flights, args.Cabin, len(args.Passengers), nil)
	if err != nil || no != "" {
		return string(no), err
	}
	r.Flights = segments
	if args.Insurance == "yes" {
		price = price.plus(count(30 * len(args.Passengers)))
	}
	price = price.plus(count(50 * args.NonfreeBaggages))
	var paid number
	for _, p := range args.Methods {
		m := u.Methods.find(p.Method)
		if m == nil {
			return fmt.Sprintf("Error: payment method %s not found", p.Method), nil
		}
		if !m.covers(p.Amount) {
			return "Error: not enough balance in payment method " + p.Method, nil
		}
		paid = paid.plus(p.Amount)
	}
	if !paid.equals(price) {
		return fmt.Sprintf("Error: payment amount does not add up, total price is %s, but paid %s", price, paid), nil
	}

	u = v.changeUser(args.User)
	for _, p := range args.Methods {
		m := u.Methods.find(p.Method)
		switch {
		case m == nil: // a certificate that is named twice is gone after the first time
			v.discard()
			return fmt.Sprintf("Error: '%s'", p.Method), nil
		case m.Source == "certificate": // what is left of it is lost
			u.Methods = slices.DeleteFunc(u.Methods, func(m method) bool { return m.ID == p.Method })
		default:
			m.spend(p.Amount)
		}
	}
	u.Reservations = append(u.Reservations, r.ID)
	v.put(r)
	return dumps(r)
}

// list is s, and [] instead of null if it is empty.
func list[T any](s []T) []T { return append([]T{}, s...) }

// discard gives up what the call has changed.
func (v *view) discard() { v.users, v.reservations = nil, nil }

func cancel(v *view, args struct {
	Reservation string `json:"reservation_id"`
},
) (string, error) {
	r := v.reservation(args.Reservation)
	if r == nil {
		return noReservation, nil
	}
	r = r.clone()
	for _, p := range slices.Clone(r.Payments) {
		r.Payments = append(r.Payments, payment{Method: p.Method, Amount: integer(0).minus(p.Amount)})
	}
	r.Status = "cancelled"
	v.put(r)
	return dumps(r)
}

// certificates are the ids of certificates the desk gives, in order.
var certificates = []string{"certificate_3221322", "certificate_3221323", "certificate_3221324"}

func sendCertificate(v *view, args struct {
	User   string `json:"user_id"`
	Amount number `json:"amount"`
},
) (string, error) {
	u := v.user(args.User)
	if u == nil {
		return noUser, nil
	}
	for _, id := range certificates {
		if u.Methods.find(id) == nil {
			u = v.changeUser(args.User)
			u.Methods = append(u.Methods, method{Source: "certificate", Amount: &args.Amount, ID: id})
			return fmt.Sprintf("Certificate %s added to user %s with amount %s.", id, args.User, args.Amount), nil
		}
	}
	return "Error: the user was sent all certificates there are", nil
}

// pay charges what a change of a reservation costs, or gives back what it saves.
func pay(v *view, r *reservation, id string, amount number) refusal {
	m := v.user(r.User).Methods.find(id)
	switch {
	case m == nil:
		return noMethod
	case m.Source == "certificate":
		return "Error: certificate cannot be used to update reservation"
	case !m.covers(amount):
		return "Error: gift card balance is not enough"
	}
	if !amount.equals(integer(0)) {
		if m.Amount != nil {
			v.changeUser(r.User).Methods.find(id).spend(amount)
		}
		r.Payments = append(r.Payments, payment{Method: id, Amount: amount})
	}
	return ""
}

func updateBaggages(v *view, args struct {
	Reservation     string `json:"reservation_id"`
	Baggages        int    `json:"total_baggages"`
	NonfreeBaggages int    `json:"nonfree_baggages"`
	Method          string `json:"payment_id"`
},
) (string, error) {
	r := v.reservation(args.Reservation)
	if r == nil {
		return noReservation, nil
	}
	r = r.clone()
	price := count(50 * max(0, args.NonfreeBaggages-r.NonfreeBaggages))
	if no := pay(v, r, args.Method, price); no != "" {
		return string(no), nil
	}
	r.Baggages, r.NonfreeBaggages = args.Baggages, args.NonfreeBaggages
	v.put(r)
	return dumps(r)
}

// updateFlights leaves the cabin of the reservation as it was, as the reference does.
func updateFlights(v *view, args struct {
	Reservation string        `json:"reservation_id"`
	Cabin       string        `json:"cabin"`
	Flights     []segmentArgs `json:"flights"`
	Method      string        `json:"payment_id"`
},
) (string, error) {
	r := v.reservation(args.Reservation)
	if r == nil {
		return noReservation, nil
	}
	r = r.clone()
	party := len(r.Passengers)
	var kept []segment
	if args.Cabin == r.Cabin {
		kept = r.Flights // they keep the price they were booked at
	}
	segments, price, no, err := reserve(v, args.Flights, args.Cabin, party, kept)
	if err != nil || no != "" {
		return string(no), err
	}
	for _, s := range r.Flights {
		price = price.minus(s.Price.times(count(party)))
	}
	if no := pay(v, r, args.Method, price); no != "" {
		return string(no), nil
	}
	r.Flights = segments
	v.put(r)
	return dumps(r)
}

func updatePassengers(v *view, args struct {
	Reservation string      `json:"reservation_id"`
	Passengers  []passenger `json:"passengers"`
},
) (string, error) {
	r := v.reservation(args.Reservation)
	if r == nil {
		return noReservation, nil
	}
	if len(args.Passengers) != len(r.Passengers) {
		return "Error: number of passengers does not match", nil
	}
	r = r.clone()
	r.Passengers = list(args.Passengers)
	v.put(r)
	return dumps(r)
}
