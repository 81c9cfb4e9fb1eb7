// Package anthropic speaks the Messages API of Anthropic
// (https://platform.claude.com/docs/en/api/messages), streamed or in one piece,
// with Anthropic itself and with servers that copy it. The formats of
// requests, answers and events stand apart from the network: [EncodeRequest],
// [DecodeResponse] and [Stream] are pure, and their types read and write both
// directions.
//
// What goes back to the provider is what came from it, byte for byte, white
// space between tokens apart. The exceptions are what models write and the API
// does not take back, so that it would refuse every later request of a session:
//
//   - A text block of nothing but white space ("text content blocks must contain
//     non-whitespace text") is left out.
//   - So is thought at the end of an answer that was cut ("the final block in an
//     assistant message cannot be `thinking`").
//   - A call's id, name and input are made acceptable.
package anthropic
