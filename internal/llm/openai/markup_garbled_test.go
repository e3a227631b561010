package openai

import (
	"testing"

	"github.com/sampan-dev/sampan/internal/llm"
)

// garbledCases are calls in markup that a server or model garbled, or made up. The
// command of each is ls, with options.
var garbledCases = map[string]string{
	"CDATA":                            "<invoke name=\"bash\"><parameter name=\"command\"><![CDATA[ls]]></parameter></invoke>",
	"brackets for tags":                "[function=bash]{\"command\": \"ls\"}[/function]",
	"a label and a fence":              "Tool: bash\n```json\n{\"command\": \"ls\"}\n```",
	"DSML with spaces":                 "<｜DSML｜ invoke name=\"bash\">\n<｜DSML｜ parameter name=\"command\" string=\"true\">ls</｜DSML｜ parameter>\n</｜DSML｜ invoke>",
	"DSML, a parameter for the call":   "<｜DSML｜ parameter name=\"bash\">\n <｜DSML｜ parameter name=\"command\" string=\"true\">ls</｜DSML｜ parameter>\n</｜DSML｜ invoke>",
	"DSML with two bars":               "<||DSML||invoke name=\"bash\">\n<||DSML||parameter name=\"command\" string=\"true\">ls</||DSML||parameter>\n</||DSML||invoke>",
	"DSML with two wide bars":          "<｜｜DSML｜｜tool_calls>\n<｜｜DSML｜｜invoke name=\"bash\">\n<｜｜DSML｜｜parameter name=\"command\" string=\"true\">ls</｜｜DSML｜｜parameter>\n</｜｜DSML｜｜invoke>\n</｜｜DSML｜｜tool_calls>",
	"Claude without a bracket":         "antml:invoke name=\"bash\">\n<antml:parameter name=\"command\">ls</antml:parameter>\n</antml:invoke>",
	"Claude, a word for the bracket":   "court invoke name=\"bash\">\n<parameter name=\"command\">ls</parameter>\n</invoke>",
	"Claude with spaces":               "< invoke name=\"bash\">\n< parameter name=\"command\">ls</ parameter>\n</ invoke>",
	"Claude with letters wrong":        "<rivoke name=\"bash\">\n<parameter rname=\"command\">ls</parameter>\n</rivoke>",
	"a name and Args":                  ": bash Args :{\"command\":\"ls\"}",
	"a name in brackets":               "[Tool call: bash]\n{\"command\": \"ls\"}",
	"in parentheses":                   "[Calling tool: bash({\"command\": \"ls\"})]",
	"in words":                         "[Called tool bash with arguments {\"command\": \"ls\"}]",
	"a tag in a tag":                   "```xml\n<toolcall><bash>{\"command\":\"pwd && ls -la\"}</bash></toolcall>\n```",
	"Qwen3-Coder with spaces":          "<function =bash>\n<parameter =command>ls</parameter>\n</function>",
	"Gemini, call:":                    "call:default_api:bash{command:ls -la}",
	"Gemini, call: and JSON":           "call:default_api:bash{\"command\":\"ls -la\"}",
	"Gemini, call: and Python":         "call:default_api.bash(command=\"ls\")",
	"Gemma 4, no beginning":            "call:bash{command:<|\"|>ls<|\"|>}<tool_call|>",
	"Gemma 4, another mark":            "<|tool_call|>call:bash{command:\"ls\"}<|tool_call|>",
	"Gemma, Python":                    "```python\nbash(command=\"ls\")\n```",
	"Solar":                            "<|tool_calls|><|tool_call:begin|>abc123<|tool_call:name|>bash<|tool_call:args|>{\"command\": \"ls\"}<|tool_call:end|>",
	"Hunyuan 3":                        "<tool_calls>\n<tool_call>bash<tool_sep>\n<arg_key>command</arg_key>\n<arg_value>ls</arg_value>\n</tool_call>\n</tool_calls>",
	"Hunyuan 3, open":                  "<tool_calls:opensource>\n<tool_call:opensource>bash<tool_sep:opensource>\n<arg_key:opensource>command</arg_key:opensource>\n<arg_value:opensource>ls</arg_value:opensource>\n</tool_call:opensource>\n</tool_calls:opensource>",
	"Kimi, tokens gone":                "functions.bash:0{\"command\": \"ls\"}",
	"DeepSeek, tokens gone":            "function<｜tool▁sep｜>bash\n```json\n{\"command\": \"ls\"}\n```",
	"GLM, no beginning":                "bash<arg_key>command</arg_key><arg_value>ls</arg_value></tool_call>",
	"MiniMax-M3":                       "]<]minimax[>[<tool_call>\n]<]minimax[>[<invoke name=\"bash\">]<]minimax[>[<command>ls]<]minimax[>[</command>]<]minimax[>[</invoke>\n]<]minimax[>[</tool_call>",
	"XML by names, one more tag":       "<bash>\n<command>ls</command>\n<requires_approval>false</requires_approval>\n</bash>",
	"JSON, flat":                       "{\"tool\":\"bash\",\"command\":\"ls\"}",
	"JSON, flat, a name":               "{\"name\": \"bash\", \"command\": \"ls\"}",
	"Hermes, flat":                     "<tool_call>{\"name\": \"bash\", \"command\": \"ls -l\"}</tool_call>",
	"JavaScript":                       "```javascript\nbash({command: \"ls\"})\n```",
	"a call with an object":            "bash({\"command\": \"ls\"})",
	"Python behind words":              "Let me look.\n\nbash(command=\"ls -l\")",
	"JSON and a made-up result":        "{\"name\":\"bash\",\"arguments\":{\"command\":\"ls\"}}\n<tool_response>\na.txt\n</tool_response>",
	"Nova":                             "<thinking>I look</thinking>\n<__function=bash>\n<__parameter=command>ls</__parameter>\n</__function>",
	"Llama, quoted":                    "[\"bash(command='ls')\"]",
	"XML with function_name":           "<function_call>\n<function_name>bash</function_name>\n<parameters>\n<command>ls</command>\n</parameters>\n</function_call>",
	"XML with attribute and tags":      "<tool name=\"bash\">\n<command>ls</command>\n</tool>",
	"Mistral, brackets gone":           "TOOL_CALLS: bash {\"command\": \"ls\"}",
	"Mistral, first mark gone":         "bash[ARGS]{\"command\": \"ls\"}",
	"Mistral, marks gone":              "bash{\"command\": \"ls\"}",
	"escaped for HTML":                 "&lt;tool_call&gt;\n{\"name\": \"bash\", \"arguments\": {\"command\": \"ls\"}}\n&lt;/tool_call&gt;",
	"escaped for JSON":                 "\\u003ctool_call\\u003e{\"name\": \"bash\", \"arguments\": {\"command\": \"ls\"}}\\u003c/tool_call\\u003e",
	"Gemini in a tag":                  "<tool_code>\nprint(bash(command=\"ls\"))\n</tool_code>",
	"Gemini, execute_tool":             "<execute_tool>\nprint(bash(command=\"ls\"))\n</execute_tool>",
	"ReAct, text":                      "Action: bash\nAction Input: ls -l",
	"Markdown":                         "### Tool Call\n**Tool:** bash\n**Arguments:**\n```json\n{\"command\": \"ls\"}\n```",
	"Pangu":                            "[unused11][{\"name\": \"bash\", \"arguments\": {\"command\": \"ls\"}}][unused12]",
	"Phi-4-mini, Python":               "functools[bash(command=\"ls\")]",
	"a tag with attributes":            "<bash command=\"ls\"/>",
	"a tag with attributes and an end": "<bash command=\"ls\"></bash>",
}

func TestCallsInGarbledMarkupAreNoAnswer(t *testing.T) {
	for name, text := range garbledCases {
		t.Run(name, func(t *testing.T) {
			if _, err := judged(tooled(), Quirks{}, llm.Message{Content: text}); err == nil || err.Category != llm.TextToolCall {
				t.Errorf("taken for an answer, or failed with %v", err)
			}
			r, err := judged(tooled(), Quirks{TextToolCalls: TextToolCallsSalvage}, llm.Message{Content: text})
			if err != nil {
				t.Fatal(err)
			}
			if len(r.calls) != 1 || r.calls[0].Name != "bash" || !lsArguments.MatchString(r.calls[0].Arguments) {
				t.Errorf("salvaged %+v", r.calls)
			}
		})
	}
}

var lsArguments = compile(`^\{"command":"(?:pwd && )?ls[^"<]*"\}$`)

// What is left of a call that nobody can run is no answer either.
func TestLostCallsAreNoAnswer(t *testing.T) {
	for name, text := range map[string]string{
		"Qwen3-Coder, text for a parameter": "<tool_call><function=bash>ls -la && cat x\n</parameter></function></tool_call>",
		"the beginning alone":               "I'll write it now.\n\n<｜DSML｜tool_calls>",
		"parameters alone":                  "<parameter=command>\nls\n</parameter>\n</function>\n</tool_call>",
		"parameters behind words":           "I'll look at it.\n<parameter=command>\nls\n</parameter>\n</function>",
		"a name without its tag":            "bash\n<parameter=command>\nls\n</parameter>\n</function>\n</tool_call>",
		"unknown tokens":                    "<|open|>call tool=\"bash\"<|sep|><|open|>argument key=\"command\" type=\"string\"<|sep|>ls<|close|>argument<|sep|><|close|>call<|sep|>",
		"lines in a tag":                    "<tool_call>bash\ncommand: ls\n</tool_call>",
		"another agent's tag":               "<execute_bash>\nls\n</execute_bash>",
		"a tool of another server":          "<function=repo_tools.bash>\n<parameter=command>ls</parameter>\n</function>",
		"cut behind the name":               "bash{\"command\": \"rm -r",
	} {
		t.Run(name, func(t *testing.T) {
			for _, q := range []Quirks{{}, {TextToolCalls: TextToolCallsSalvage}} {
				if r, err := judged(tooled(), q, llm.Message{Content: text}); err == nil || err.Category != llm.TextToolCall {
					t.Errorf("%+v, %v", r, err)
				}
			}
		})
	}
}

// Words, code and data that look like the garbled forms.
func TestWordsAboutGarbledMarkupAreAnAnswer(t *testing.T) {
	for name, text := range map[string]string{
		"arguments as an example":                "I documented how to call bash:\n\n```json\n{\"command\": \"ls\"}\n```",
		"a list of marks":                        "The tags are:\n- <tool_call>\n- </tool_call>",
		"arguments in a table":                   "| tool | args |\n|---|---|\n| bash | {\"command\": \"ls\"} |",
		"prose invoke":                           "I replaced the call to invoke name=\"bash\" in the docs, which was wrong.",
		"prose functions.bash":                   "The registry now maps functions.bash:0 to the tool; see call.go.",
		"fence documentation then done":          "I documented the protocol in PROTOCOL.md:\n\n```xml\n<invoke name=\"bash\">\n<parameter name=\"command\">ls</parameter>\n</invoke>\n```\n\nThe tests pass.",
		"inline python mention":                  "The helper is now called as bash(command=\"ls\"), and returns its output.",
		"end on inline code":                     "You can run it with `bash(command=\"ls\")`",
		"shell fence at end":                     "Done. To run the tests, use:\n\n```bash\nbash run.sh\n```",
		"json config at end":                     "Done. The configuration is now:\n\n```json\n{\"name\": \"list\", \"command\": \"list --all\"}\n```",
		"json config at end with tool key":       "The entry that I added is:\n\n```json\n{\"tool\": \"eslint\", \"args\": [\"--fix\"]}\n```",
		"yaml at end":                            "The task file is now:\n\n```yaml\ntool: bash\nargs:\n  command: ls\n```",
		"github workflow":                        "I added the step:\n\n```yaml\n- name: bash\n  run: ls\n```",
		"call: prose":                            "Note the call: bash is required for this script.",
		"action words":                           "Action: bash was updated to 5.2.",
		"json answer":                            "{\"status\": \"ok\", \"files\": [\"a.go\"]}",
		"package json":                           "{\"name\": \"list\", \"version\": \"1.0.0\", \"scripts\": {\"test\": \"bash run.sh\"}}",
		"bullet":                                 "- `list(dir)` lists a directory\n- `bash(cmd)` runs a command",
		"dockerfile end":                         "The Dockerfile ends with\n\n```dockerfile\nCMD [\"bash\", \"-c\", \"ls\"]\n```",
		"prose DSML":                             "The model's DSML format uses <｜DSML｜invoke name=\"...\"> tags.",
		"prose args":                             "Args: bash takes a command.",
		"python list at end":                     "The result is:\n\n```python\nlist(range(3))\n```",
		"python list at end unfenced":            "The last line is now\n\nlist(map(str, xs))",
		"json name + arguments, other tool, end": "The new test's fixture is:\n\n```json\n{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Paris\"}}\n```",
		"html list":                              "<list><item>x</item></list>",
		"commentary mention":                     "The channel named commentary to=functions.bash is parsed now.",
		"test of parser, words last":             "The failing case was `{\"name\": \"bash\", \"arguments\": {\"command\": \"ls\"}}`, which now parses.",
		"opening mark inside prose at end":       "The parser looks for <tool_call>",
		"fence doc at end with tags":             "Documented in README:\n\n```xml\n<tool_call>\n{\"name\": \"get_weather\", \"arguments\": {}}\n</tool_call>\n```",
		"http body prose":                        "The endpoint bash takes {\"timeout\": 3}",
		"grep code prose":                        "Run it as `read_file {\"path\": \"x\"}`.",
		"revoke prose":                           "I ran revoke name=\"x\" on the token.",
		"list with object":                       "The servers list: {\"a\": 1}",
		"bash with env":                          "Use bash (with args) {see the manual}",
		"html select":                            "The page has\n\n<select name=\"list\">\n</select>",
		"jsx":                                    "I changed <Tool name=\"bash\" /> to <Tool name=\"sh\" />.",
		"closing tag alone":                      "All tests pass.\n</tool_call>",
		"xml answer":                             "<result>\n<name>bash</name>\n</result>",
		"python def":                             "The function is\n\ndef bash(command=\"ls\"):\n    pass",
		"python doc at end":                      "Call it like this:\n\n```python\nread_file(path=\"x\")\n```",
	} {
		t.Run(name, func(t *testing.T) {
			if r, err := judged(tooled(), Quirks{}, llm.Message{Content: text}); err != nil || r.content != text {
				t.Errorf("%+v, %v", r, err)
			}
		})
	}
}
