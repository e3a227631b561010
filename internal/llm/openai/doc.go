// Package openai is an llm.Provider for servers that speak OpenAI's chat
// completions protocol, or say that they do.
//
// The client is github.com/sashabaranov/go-openai, and so are the types on the wire
// where they can say what has to be said. Between it and the wire stands one
// http.RoundTripper of ours, which normalises both ways, and encodes and decodes
// everything once:
//
//   - It writes the body of the request. The client's types of messages drop what
//     strict servers need (empty content, temperature 0) and have no place for
//     other fields.
//   - It asks for a stream (unless Quirks.NoStream), because only a stream shows
//     that a slow server is still alive, and joins it to one response. The client
//     never sees a stream, so its limits on them do not matter.
//   - It reads responses leniently and repairs what can be repaired. What came of it
//     goes to the caller past the client.
//   - It turns every failure into an *llm.Error, with the response's Retry-After,
//     and without any key.
//
// What counts as a failure: an HTTP status of 300 and above, an error inside a
// 200, no choices, a reply that ends before its end, finish reason tool_calls
// without calls, a tool call written as text (Quirks.TextToolCalls). A reply that
// has neither text nor calls is returned as it is, because its tokens are to be
// paid for; the loop counts it as empty. Where the output limit cut the reply
// short (llm.FinishLength), arguments are left as they came, never completed.
package openai
