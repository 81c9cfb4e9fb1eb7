// Package cairn is the vocabulary of the runtime: the nouns that every other
// package speaks and nothing else. It uses the standard library only, reads no
// clock and does no I/O.
//
// Work goes round in one direction. An [Input] is what the world tells a
// session, an [Event] is a fact about it with a sequence number, an [Effect] is
// work it asks the world to do; what an effect learns comes back as an input.
// A session is its journal: everything else is folded from its events.
package cairn
