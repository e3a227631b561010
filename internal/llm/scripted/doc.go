// Package scripted plays a model from a YAML script: as an llm.Provider in
// process, and as an HTTP server that speaks the chat completions protocol. Both
// play the same script in the same way, so a run against either is deterministic,
// free and needs no network: that is what tests, benchmarks and the demo use.
//
// A script is a list of turns. A turn is one reply of the model:
//
//	turns:
//	- text: I will look at the file first.
//	  toolCalls:
//	  - name: read_file
//	    arguments: {path: greeting.txt}
//	- expect: hello                 # the observation must hold this, else the run fails
//	  toolCalls:
//	  - name: bash
//	    arguments: {command: "echo {{turn}} >> greeting.txt"}
//	  usage: {inputTokens: 900, cachedInputTokens: 800, outputTokens: 20}
//	  repeat: 3                     # turns 1, 2 and 3
//	- fault: {status: 429, retryAfter: 1s, times: 2}   # then plays the turn itself
//	  text: Done.
//
// Several scripts live in one file, chosen by the id of the model and by words of
// the user's prompt; what no model and no case claims plays the turns at the top:
//
//	models:
//	  small-model:
//	    turns:
//	    - text: I am the small model.
//	cases:
//	- match: fix the build            # a part of the first user message
//	  turns:
//	  - fault: {kind: reset, times: 1}
//	    text: Fixed.
//	turns:
//	- text: I was not asked anything I know.
//
// Fields of a turn, all optional:
//
//   - text, reasoning: what the model says and thinks. "{{turn}}" stands for the
//     number of the turn, from 0, here and in arguments.
//   - toolCalls: a list of name, arguments (a mapping, or a string sent as it is,
//     valid JSON or not) and id (made when absent).
//   - usage: inputTokens, cachedInputTokens, outputTokens; estimated when absent.
//   - finishReason: stop, tool_calls, length or content_filter; follows from the
//     turn when absent.
//   - delay: time before the reply ("50ms").
//   - expect, expectMatch: a substring and a regular expression that must be found
//     in what came after the last assistant message (for turn 0: the prompt). When
//     they are not, the reply is error 422 naming what was expected and what came.
//   - repeat: play this turn so many times in a row.
//   - fault: fail; see Fault. With times, only so often per conversation.
//
// Which turn plays next follows from the request alone: one more than the turn
// whose tool calls the conversation last holds (their ids carry its number), or
// the number of assistant messages where there are none. So one server serves any
// number of runs at once, a retry gets the same turn again, and a conversation
// whose middle was compacted goes on where it was. Past the last turn the reply is
// error 410 saying so.
package scripted
