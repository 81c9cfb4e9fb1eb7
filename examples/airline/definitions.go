package airline

import (
	"encoding/json"
	"fmt"
	"os"
)

// toolDef is a tool as the recording's model saw it.
type toolDef struct {
	Name        string          `json:"name"`
	Description string          `json:"description"`
	Parameters  json.RawMessage `json:"parameters"`
}

// loadTools reads the recorded definitions and checks that the desk has each of
// them.
func loadTools(file string) ([]toolDef, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var list []struct {
		Function toolDef `json:"function"`
	}
	if err := json.Unmarshal(b, &list); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if len(list) != len(tools) {
		return nil, fmt.Errorf("%s: %d tools; the desk has %d", file, len(list), len(tools))
	}
	defs := make([]toolDef, len(list))
	for i, t := range list {
		if _, ok := tools[t.Function.Name]; !ok {
			return nil, fmt.Errorf("%s: the desk has no tool %q", file, t.Function.Name)
		}
		defs[i] = t.Function
	}
	return defs, nil
}

// tool is one tool of the desk.
type tool struct {
	run func(v *view, args json.RawMessage) (string, error)
	// keyed tools do something that must not be done twice: what they did is
	// recorded under the idempotency key. All others are reads.
	keyed bool
	// destructive tools take away what was there.
	destructive bool
}

// tools are all tools of the desk.
var tools = map[string]tool{
	"book_reservation":              {run: typed(book), keyed: true},
	"calculate":                     {run: typed(calculateTool)},
	"cancel_reservation":            {run: typed(cancel), keyed: true, destructive: true},
	"get_reservation_details":       {run: typed(getReservation)},
	"get_user_details":              {run: typed(getUser)},
	"list_all_airports":             {run: typed(listAirports)},
	"search_direct_flight":          {run: typed(searchDirect)},
	"search_onestop_flight":         {run: typed(searchOnestop)},
	"send_certificate":              {run: typed(sendCertificate), keyed: true},
	"think":                         {run: typed(think)},
	"transfer_to_human_agents":      {run: typed(transfer), keyed: true},
	"update_reservation_baggages":   {run: typed(updateBaggages), keyed: true},
	"update_reservation_flights":    {run: typed(updateFlights), keyed: true},
	"update_reservation_passengers": {run: typed(updatePassengers), keyed: true},
}

// typed reads the arguments of a tool. Fields the tool does not know are ignored.
func typed[T any](run func(v *view, args T) (string, error)) func(*view, json.RawMessage) (string, error) {
	return func(v *view, raw json.RawMessage) (string, error) {
		var args T
		if err := json.Unmarshal(raw, &args); err != nil {
			return "", fmt.Errorf("%w: %w", ErrArguments, err)
		}
		return run(v, args)
	}
}
