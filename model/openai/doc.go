// Package openai speaks the two wires of OpenAI: chat completions, which many
// other providers and local servers speak too, and Responses. The types and the
// functions that encode and decode are pure and serve both directions.
//
// What a provider sent comes back to it byte for byte, but for what the API would
// refuse in every later request: the id, the name and the arguments of a call that
// cannot be, and reasoning where it does not belong. A part of the other's own
// form keeps that form in its Opaque: of Responses that is the item; of chat, where
// a message is one object, it is a fragment, an object with those members of the
// message that the part stands for. An item has a "type", a fragment has none, so
// that neither wire takes the other's for its own.
//
// Sources: https://platform.openai.com/docs/api-reference/chat,
// https://platform.openai.com/docs/api-reference/responses, and the documents of
// the other providers where a rule names them.
package openai
