package traffic_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"net/http"
	"slices"
	"testing"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/internal/traffic"
	"github.com/cairn-run/cairn/model"
	"github.com/cairn-run/cairn/model/anthropic"
	"github.com/cairn-run/cairn/model/google"
	"github.com/cairn-run/cairn/model/openai"
	"github.com/cairn-run/cairn/model/wire"
)

// TestGarbledStreams loses, repeats and exchanges events of recorded streams, and
// turns bytes: whatever becomes of one, it is an answer that can be recorded and that
// every provider can be sent, or a failure with a type.
func TestGarbledStreams(t *testing.T) {
	t.Parallel()
	c := traffic.Load(t)
	answers, failures := 0, 0
	for i := range c.Exchanges {
		e := c.Exchanges[i]
		if !e.Stream || e.Status != http.StatusOK {
			continue
		}
		h := fnv.New64a()
		_, _ = h.Write([]byte(e.Name)) // a hash takes all
		r := rand.New(rand.NewPCG(h.Sum64(), 0))
		whole := e.Body
		for range 3 {
			e.Body = garble(r, whole)
			got, err := decode(t.Context(), &e)
			if err != nil {
				t.Errorf("%s: %v", e.Name, err)
				continue
			}
			if got.failed != nil {
				failures++
				continue
			}
			answers++
			if err := sound(got.answer); err != nil {
				t.Errorf("%s: %v\n%s", e.Name, err, e.Body)
				continue
			}
			if err := goesOn(t, &e, got.answer); err != nil {
				t.Errorf("%s: %v\n%s", e.Name, err, e.Body)
			}
		}
	}
	if answers == 0 || failures == 0 {
		t.Errorf("%d answers and %d failures: too little was garbled", answers, failures)
	}
}

// garble does up to four things to the events of a stream.
func garble(r *rand.Rand, whole []byte) []byte {
	events := bytes.SplitAfter(bytes.ReplaceAll(whole, []byte("\r\n"), []byte("\n")), []byte("\n\n"))
	for range 1 + r.IntN(4) {
		i, j := r.IntN(len(events)), r.IntN(len(events))
		switch r.IntN(5) {
		case 0:
			events = slices.Delete(events, i, i+1)
			if len(events) == 0 {
				return nil
			}
		case 1:
			events = slices.Insert(events, j, events[i])
		case 2:
			events[i], events[j] = events[j], events[i]
		case 3:
			e := bytes.Clone(events[i])
			if len(e) > 0 {
				e[r.IntN(len(e))] = byte(r.IntN(256))
			}
			events[i] = e
		default: // another number, or none
			e := bytes.Clone(events[i])
			for k, b := range e {
				if b >= '0' && b <= '9' && r.IntN(8) == 0 {
					e[k] = "0123456789-"[r.IntN(11)]
				}
			}
			events[i] = e
		}
	}
	return bytes.Join(events, nil)
}

// sound says what is wrong with an answer.
func sound(a *cairn.ModelAnswer) error {
	u := a.Usage
	if min(u.Input, u.CacheRead, u.CacheWrite5m, u.CacheWrite1h, u.Output, u.Reasoning, u.InputAudio, u.OutputAudio, u.Searches) < 0 || u.Reasoning > u.Output {
		return fmt.Errorf("usage %+v", u)
	}
	if len(a.RawUsage) > 0 && !json.Valid(a.RawUsage) {
		return fmt.Errorf("raw usage %s", a.RawUsage)
	}
	for _, p := range a.Content {
		if len(p.Opaque) > 0 && !json.Valid(p.Opaque) {
			return fmt.Errorf("block %s", p.Opaque)
		}
	}
	_, err := json.Marshal(a)
	return err
}

// goesOn puts an answer into the next request to each provider.
func goesOn(t *testing.T, e *traffic.Exchange, a *cairn.ModelAnswer) error {
	t.Helper()
	if len(a.Content) == 0 {
		return nil
	}
	for _, own := range []string{e.Provider, "other"} {
		at := func(s *seen) wire.Endpoint { return wire.Endpoint{Name: own, Client: &http.Client{Transport: s}} }
		for name, driver := range map[string]func(*seen) model.Driver{
			"chat": func(s *seen) model.Driver { return openai.New(openai.Options{Endpoint: at(s), API: openai.APIChat}) },
			"responses": func(s *seen) model.Driver {
				return openai.New(openai.Options{Endpoint: at(s), API: openai.APIResponses})
			},
			"messages": func(s *seen) model.Driver { return anthropic.New(anthropic.Options{Endpoint: at(s)}) },
			"generate": func(s *seen) model.Driver { return google.New(google.Options{Endpoint: at(s)}) },
		} {
			r := ask(e)
			r.Model = own + "/m"
			r.Messages = append(r.Messages, turn(a.Content)...)
			s := &seen{}
			var last error
			for _, err := range driver(s).Call(t.Context(), model.Call{Request: r}) {
				last = err
			}
			if !json.Valid(s.body) {
				return fmt.Errorf("%s for %s: sent %q (%w)", name, own, s.body, last)
			}
		}
	}
	return nil
}
