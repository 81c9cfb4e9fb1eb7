// Package supportdesk is the other side of the README's demo: a small shop with
// orders, charges, refunds and messages, served as plain HTTP tools, with a
// durable ledger of its own. It knows nothing of Cairn.
//
//	GET  /orders/{order}  /customers/{customer}  /shipments/{order}  /charges/{charge}
//	GET  /customers              the whole list: what a support agent has no business with
//	POST /refunds                {"charge","amount_cents","reason"}: money goes back, every time it is asked for
//	GET  /refunds/by-key/{key}   what became of the request with this Idempotency-Key
//	POST /messages               {"customer","text"}: sent once for each Idempotency-Key
//	GET  /ledger                 everything that was done, and how often it was asked for
package supportdesk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/cairn-run/cairn/internal/effectserver/ledger"
)

// Order is something a customer bought.
type Order struct {
	ID         string `json:"order"`
	Customer   string `json:"customer"`
	Item       string `json:"item"`
	Batch      string `json:"batch"`
	Charge     string `json:"charge"`
	TotalCents int64  `json:"total_cents"`
}

// Customer is somebody who buys.
type Customer struct {
	ID    string `json:"customer"`
	Name  string `json:"name"`
	Email string `json:"email"`
	Tier  string `json:"tier"`
}

// Shipment says where an order is.
type Shipment struct {
	Order   string `json:"order"`
	Carrier string `json:"carrier"`
	Status  string `json:"status"`
	Note    string `json:"note"`
}

// Charge is what was paid for an order.
type Charge struct {
	ID              string `json:"charge"`
	Card            string `json:"card"`
	PaidCents       int64  `json:"paid_cents"`
	RefundedCents   int64  `json:"refunded_cents"`
	RefundableCents int64  `json:"refundable_cents"`
}

// Refund is money that went back.
type Refund struct {
	Status      string `json:"status"` // "done"
	ID          string `json:"refund"`
	Charge      string `json:"charge"`
	AmountCents int64  `json:"amount_cents"`
	Reason      string `json:"reason,omitempty"`
	Key         string `json:"key,omitempty"`
}

// Message is a text that was sent to a customer.
type Message struct {
	Status   string `json:"status"` // "sent"
	ID       string `json:"message"`
	Customer string `json:"customer"`
	Text     string `json:"text"`
	Key      string `json:"key,omitempty"`
}

// Refusals of the shop: nothing was done.
var (
	ErrNotFound  = errors.New("no such thing")
	ErrTooMuch   = errors.New("more than is left of the charge")
	ErrKeyReused = errors.New("the Idempotency-Key was used for another message")
	ErrAmount    = errors.New("amount_cents must be more than 0")
)

var orders = []Order{
	{ID: "1042", Customer: "cus_314", Item: "Espresso machine, steel", Batch: "B-77", Charge: "ch_9001", TotalCents: 18900},
	{ID: "1043", Customer: "cus_271", Item: "Coffee grinder", Batch: "B-77", Charge: "ch_9002", TotalCents: 7900},
}

var customers = []Customer{
	{ID: "cus_271", Name: "Jonas Weber", Email: "jonas@example.com", Tier: "regular"},
	{ID: "cus_314", Name: "Amira Haddad", Email: "amira@example.com", Tier: "gold"},
}

var shipments = []Shipment{
	{Order: "1042", Carrier: "Nordpost", Status: "delivered", Note: "Damaged in transit, reported by the driver."},
	{Order: "1043", Carrier: "Nordpost", Status: "in transit", Note: ""},
}

var charges = []Charge{
	{ID: "ch_9001", Card: "visa 4242", PaidCents: 18900},
	{ID: "ch_9002", Card: "visa 1881", PaidCents: 7900},
}

// entry is one line of the ledger.
type entry struct {
	Refund  *Refund  `json:"refund,omitempty"`
	Message *Message `json:"message,omitempty"`
	// Repeat is the key of a message that was asked for again.
	Repeat string `json:"repeat,omitempty"`
}

// Shop is the shop over its ledger. Its methods may be called at the same time.
type Shop struct {
	log *ledger.Ledger

	mu    sync.Mutex
	state Ledger
}

// Ledger is everything the shop did.
type Ledger struct {
	Refunds  []Refund  `json:"refunds"`
	Messages []Message `json:"messages"`
	// Repeats is how many messages were asked for again and not sent again.
	Repeats int `json:"repeats"`
}

// Open opens the shop's ledger, or makes it.
func Open(ctx context.Context, file string) (*Shop, error) {
	s := &Shop{state: Ledger{Refunds: []Refund{}, Messages: []Message{}}}
	var err error
	s.log, err = ledger.Open(ctx, file, func(line json.RawMessage) error {
		var e entry
		if err := json.Unmarshal(line, &e); err != nil {
			return err
		}
		s.add(e)
		return nil
	})
	return s, err
}

// Close closes the ledger.
func (s *Shop) Close() error { return s.log.Close() }

// append makes an entry durable and then counts it; mu is held.
func (s *Shop) append(ctx context.Context, e entry) error {
	// What was begun is done, whether or not the caller still waits for it.
	if err := s.log.Append(context.WithoutCancel(ctx), e); err != nil {
		return err
	}
	s.add(e)
	return nil
}

func (s *Shop) add(e entry) {
	if e.Refund != nil {
		s.state.Refunds = append(s.state.Refunds, *e.Refund)
	}
	if e.Message != nil {
		s.state.Messages = append(s.state.Messages, *e.Message)
	}
	if e.Repeat != "" {
		s.state.Repeats++
	}
}

// Ledger returns everything the shop did.
func (s *Shop) Ledger() Ledger {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Ledger{Refunds: slices.Clone(s.state.Refunds), Messages: slices.Clone(s.state.Messages), Repeats: s.state.Repeats}
}

func find[T any](list []T, is func(T) bool) (T, error) {
	if i := slices.IndexFunc(list, is); i >= 0 {
		return list[i], nil
	}
	var none T
	return none, ErrNotFound
}

// Order finds an order.
func (s *Shop) Order(id string) (Order, error) {
	return find(orders, func(o Order) bool { return o.ID == id })
}

// Customer finds a customer.
func (s *Shop) Customer(id string) (Customer, error) {
	return find(customers, func(c Customer) bool { return c.ID == id })
}

// Customers are all customers.
func (s *Shop) Customers() []Customer { return slices.Clone(customers) }

// Shipment finds the shipment of an order.
func (s *Shop) Shipment(order string) (Shipment, error) {
	return find(shipments, func(p Shipment) bool { return p.Order == order })
}

// Charge finds a charge, with what is left of it.
func (s *Shop) Charge(id string) (Charge, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.charge(id)
}

func (s *Shop) charge(id string) (Charge, error) {
	c, err := find(charges, func(c Charge) bool { return c.ID == id })
	for _, r := range s.state.Refunds {
		if r.Charge == id {
			c.RefundedCents += r.AmountCents
		}
	}
	c.RefundableCents = c.PaidCents - c.RefundedCents
	return c, err
}

// Refund gives money back. It does so every time: the key is only noted, so that
// [Shop.RefundByKey] can tell what became of a request.
func (s *Shop) Refund(ctx context.Context, r Refund) (Refund, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, err := s.charge(r.Charge)
	switch {
	case err != nil:
		return Refund{}, err
	case r.AmountCents <= 0:
		return Refund{}, ErrAmount
	case r.AmountCents > c.RefundableCents:
		return Refund{}, ErrTooMuch
	}
	r.Status, r.ID = "done", fmt.Sprintf("re_%d", len(s.state.Refunds)+1)
	return r, s.append(ctx, entry{Refund: &r})
}

// RefundByKey finds the refund of a request.
func (s *Shop) RefundByKey(key string) (Refund, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return find(s.state.Refunds, func(r Refund) bool { return r.Key == key && key != "" })
}

// Send sends a message to a customer, once for each key.
func (s *Shop) Send(ctx context.Context, m Message) (Message, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := s.Customer(m.Customer); err != nil {
		return Message{}, err
	}
	first, err := find(s.state.Messages, func(o Message) bool { return o.Key == m.Key && m.Key != "" })
	if err == nil {
		if first.Customer != m.Customer || first.Text != m.Text {
			return Message{}, ErrKeyReused
		}
		return first, s.append(ctx, entry{Repeat: m.Key})
	}
	m.Status, m.ID = "sent", fmt.Sprintf("msg_%d", len(s.state.Messages)+1)
	return m, s.append(ctx, entry{Message: &m})
}
