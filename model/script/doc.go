// Package script is a model whose answers are written in a file: for demos,
// tests, and recorded decisions. It needs no key and no network.
//
// An answer is a pure function of the request and the number of the attempt, so
// it is the same after a crash, on any machine, in any order:
//
//  1. The first of the script's cases whose conditions hold is taken.
//  2. Else replies[i], where i is the number of assistant messages in the request.
//  3. Else the default. Else the call fails with CodeInvalid and says what is missing.
//
// A script is YAML (or JSON, which is read as YAML) without anchors, aliases and
// tags. An unknown field is an error that points at its line.
//
//	model: desk-1                 # exact id an answer reports; default the script's name
//	window: 200000                # tokens; a larger prompt is a context_overflow; default no limit
//	max_output: 8192              # tokens; default no limit
//	rates: {input: $2.50, output: $10, cache_read: $0.25, cache_write_5m: $3, cache_write_1h: $5}
//	                              # dollars per million tokens; default free
//	unpriced: false               # true: the rates are only the highest there may be
//	delay: 20ms                   # before the first byte; default none
//	stream: {chunk: 16, every: 5ms}   # bytes in a delta, and the pause between two; default one delta a part
//	replies:
//	  - reasoning: The customer wants two things.
//	    opaque: [{provider: script, data: {signature: abc}}]
//	    text: Let me look at both.
//	    calls:
//	      - {tool: find_order, args: {number: "1042"}}
//	      - {tool: find_customer, args: '{"broken": '}   # a string is sent exactly as it is
//	  - calls: [{tool: refund, id: call_7, args: {charge: "{{result.find_order.charge.id}}"}}]
//	    fail: [{code: overloaded, retry_after: 1s, times: 2}, {after_bytes: 10}]
//	  - text: "Refunded {{result.refund.amount}} cents."
//	    stop: end
//	    usage: {input: 900, cache_read: 700, output: 12}
//	    delay: 1s
//	    stream: {chunk: 4}
//	cases:
//	  - when: {user: {contains: stop}}
//	    text: I have stopped.
//	  - when: {result: {tool: refund*, is_error: true}}
//	    text: That did not work.
//	default: {text: I have nothing to add.}
//
// Instead of replies, cases and a default there may be a recording of what models
// really said; see [Recording] and [Tape]. It gives the same answers to the same
// requests, and none to others.
//
// The fields are described with the types they are read into; [Script] is where
// to start. Templates are described with [Reply], failures with [Fail],
// conditions with [When].
//
// # Usage
//
// Without usage in the script it is estimated: a token is four bytes, rounded up
// once for the prompt and once for the output. The prompt is the text, tool
// names, arguments, opaque blocks and data of all messages, the instructions, and
// the names, descriptions and schemas of the tools; see [PromptTokens]. There is
// no cache unless the script says so. An estimated output keeps to the cap of the
// request: what is over it is cut off and the answer stops with max_output, as a
// provider would. Usage that is written down is reported as it stands, and its
// reply is not cut.
package script
