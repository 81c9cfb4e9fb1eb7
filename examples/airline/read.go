package airline

import (
	"fmt"
	"strconv"
	"strings"
)

type none struct{}

func think(_ *view, _ none) (string, error) { return "", nil }

// transfer changes nothing, but a transfer is something a person notices: it is
// keyed as writes are.
func transfer(_ *view, _ none) (string, error) { return "Transfer successful", nil }

func calculateTool(_ *view, args struct{ Expression string }) (string, error) {
	return calculate(args.Expression), nil
}

func getUser(v *view, args struct {
	User string `json:"user_id"`
},
) (string, error) {
	if u := v.user(args.User); u != nil {
		return dumps(u)
	}
	return "Error: user not found", nil
}

func getReservation(v *view, args struct {
	Reservation string `json:"reservation_id"`
},
) (string, error) {
	if r := v.reservation(args.Reservation); r != nil {
		return dumps(r)
	}
	return "Error: user not found", nil // the reference speaks of a user here
}

// airports are those the desk lists, in the order it lists them.
var airports = []struct{ code, city string }{
	{"SFO", "San Francisco"},
	{"JFK", "New York"},
	{"LAX", "Los Angeles"},
	{"ORD", "Chicago"},
	{"DFW", "Dallas"},
	{"DEN", "Denver"},
	{"SEA", "Seattle"},
	{"ATL", "Atlanta"},
	{"MIA", "Miami"},
	{"BOS", "Boston"},
	{"PHX", "Phoenix"},
	{"IAH", "Houston"},
	{"LAS", "Las Vegas"},
	{"MCO", "Orlando"},
	{"EWR", "Newark"},
	{"CLT", "Charlotte"},
	{"MSP", "Minneapolis"},
	{"DTW", "Detroit"},
	{"PHL", "Philadelphia"},
	{"LGA", "LaGuardia"},
}

func listAirports(_ *view, _ none) (string, error) {
	var out strings.Builder
	for i, a := range airports {
		if i > 0 {
			out.WriteString(", ")
		}
		fmt.Fprintf(&out, "%q: %q", a.code, a.city)
	}
	return "{" + out.String() + "}", nil
}

type search struct {
	Origin      string `json:"origin"`
	Destination string `json:"destination"`
	Date        string `json:"date"`
}

// listed prints a flight on a date as a search lists it: the flight without its
// dates, then the fields of that day, then, where asked, the date.
func listed(f *flight, date, dateField string) (string, error) {
	base := *f
	base.Dates = nil
	head, err := dumps(base)
	if err != nil {
		return "", err
	}
	tail, err := dumps(f.Dates[date])
	if err != nil {
		return "", err
	}
	text := strings.TrimSuffix(head, "}") + ", " + strings.TrimPrefix(tail, "{")
	if dateField == "" {
		return text, nil
	}
	var quoted strings.Builder
	dumpString(&quoted, dateField)
	return strings.TrimSuffix(text, "}") + `, "date": ` + quoted.String() + "}", nil
}

func searchDirect(v *view, args search) (string, error) {
	var found []string
	for _, f := range v.desk.db.flights {
		if f.Origin != args.Origin || f.Destination != args.Destination {
			continue
		}
		d, err := f.on(args.Date)
		if err != nil {
			return "", err
		}
		if d == nil || d.Status != available {
			continue
		}
		text, err := listed(f, args.Date, "")
		if err != nil {
			return "", err
		}
		found = append(found, text)
	}
	return "[" + strings.Join(found, ", ") + "]", nil
}

func searchOnestop(v *view, args search) (string, error) {
	var found []string
	for _, first := range v.desk.db.flights {
		if first.Origin != args.Origin {
			continue
		}
		for _, second := range v.desk.db.flights {
			if second.Origin != first.Destination || second.Destination != args.Destination {
				continue
			}
			next, no := dateAfter(first, args.Date)
			if no != "" {
				return string(no), nil
			}
			// The reference compares the texts, "+1" and all.
			if first.Arrival > second.Departure {
				continue
			}
			text, err := connection(first, second, args.Date, next)
			if err != nil {
				return "", err
			}
			if strings.HasPrefix(text, "Error") {
				return text, nil
			}
			if text != "" {
				found = append(found, text)
			}
		}
	}
	return "[" + strings.Join(found, ", ") + "]", nil
}

// dateAfter is the date on which the second flight leaves.
func dateAfter(first *flight, date string) (string, refusal) {
	if !strings.Contains(first.Arrival, "+1") {
		return date, ""
	}
	last := date[max(0, len(date)-2):]
	n, err := strconv.Atoi(last)
	if err != nil {
		return "", refusal(fmt.Sprintf("Error: invalid literal for int() with base 10: '%s'", last))
	}
	return fmt.Sprintf("2024-05-%d", n+1), ""
}

// connection prints two flights; "" if one of them cannot be booked.
func connection(first, second *flight, date, next string) (string, error) {
	a, err := first.on(date)
	if err != nil {
		return "", err
	}
	b, err := second.on(next)
	if err != nil {
		return "", err
	}
	if a == nil || b == nil || a.Status != available || b.Status != available {
		return "", nil
	}
	// The reference looks at the second flight on the day of the first.
	if _, ok := second.Dates[date]; !ok {
		return fmt.Sprintf("Error: '%s'", date), nil
	}
	one, err := listed(first, date, date)
	if err != nil {
		return "", err
	}
	two, err := listed(second, date, next)
	if err != nil {
		return "", err
	}
	return "[" + one + ", " + two + "]", nil
}
