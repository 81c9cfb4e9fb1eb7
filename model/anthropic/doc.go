// Package anthropic speaks the Messages API of Anthropic
// (https://platform.claude.com/docs/en/api/messages), streamed or in one piece,
// with Anthropic itself and with servers that copy it. The formats of
// requests, answers and events stand apart from the network: [EncodeRequest],
// [DecodeResponse] and [Stream] are pure, and their types read and write both
// directions.
//
// What goes back to the provider is what came from it, byte for byte, white
// space between tokens apart. There is one exception: a text block of nothing
// but white space, which models write and the API does not take ("text content
// blocks must contain non-whitespace text"), is left out.
package anthropic
