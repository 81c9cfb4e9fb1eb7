// Package google is the driver of Google's generateContent wire: the Gemini API
// (https://ai.google.dev/api/generate-content) and Vertex AI, which speaks the same
// bodies under other paths
// (https://cloud.google.com/vertex-ai/generative-ai/docs/model-reference/inference).
//
// # What an answer becomes
//
// Google answers with parts, and a stream of it is a stream of parts: a text is
// many parts there and one part when it is not streamed. A part may carry a
// thoughtSignature, which has to come back on exactly that part
// (https://ai.google.dev/gemini-api/docs/thought-signatures): parts with a
// signature are never merged with others. So:
//
//   - Text parts that hold nothing but text, and follow each other, are one part;
//     so are thoughts. Their text is what an SDK's user has after concatenation.
//   - A part with anything else in it, such as a signature, is a part of its own,
//     with the raw part in Opaque. A text that is empty and signed, as streams end
//     with, is a PartOpaque: there is nothing in it for another provider.
//   - A function call has the id Google gave it, or else one that is derived from
//     the id of the response and the place of the call. Only Google's own goes back.
//   - Arguments that Vertex AI streams in pieces (partialArgs) are put together
//     into the args that the call would have had.
//   - Inline data is an image or a file; whatever else there is (executableCode,
//     codeExecutionResult, toolCall, toolResponse, fileData, thought images, what
//     is not known yet) is a PartOpaque, verbatim.
//
// # What does not go back
//
// An unsigned text that is empty: it carries nothing, streams end with it, and
// Vertex AI refuses it in a request. What stands beside the content of a
// candidate, which requests have no field for: groundingMetadata,
// urlContextMetadata, citationMetadata, safetyRatings, finishMessage, avgLogprobs
// and logprobsResult. Candidates other than the first: none is asked for.
package google
