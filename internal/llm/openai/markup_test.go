package openai

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/sampan-dev/sampan/internal/jsontext"
	"github.com/sampan-dev/sampan/internal/llm"
)

// tooled is a request with tools whose parameters are of several types.
func tooled() llm.Request {
	req := hello()
	req.Tools = append(req.Tools, llm.ToolSpec{Name: "read_file", Parameters: []byte(`{"type":"object","properties":{"path":{"type":"string"},` +
		`"from":{"type":"integer"},"all":{"type":"boolean"},"tags":{"type":"array","items":{"type":"string"}}},"required":["path"],"additionalProperties":false}`)})
	return req
}

var (
	lsCall   = llm.ToolCall{Name: "bash", Arguments: `{"command":"ls -l"}`}
	readCall = llm.ToolCall{Name: "read_file", Arguments: `{"from":3,"path":"a b.txt"}`}
	listCall = llm.ToolCall{Name: "list", Arguments: `{}`}
)

// dialectCases are calls as models write them.
var dialectCases = map[string]struct {
	text string
	want []llm.ToolCall
}{
	"Hermes, Qwen":           {"<tool_call>\n{\"name\": \"bash\", \"arguments\": {\"command\": \"ls -l\"}}\n</tool_call>", []llm.ToolCall{lsCall}},
	"Hermes, two":            {"<tool_call>{\"name\":\"bash\",\"arguments\":{\"command\":\"ls -l\"}}</tool_call>\n<tool_call>{\"name\":\"list\",\"arguments\":{}}</tool_call>", []llm.ToolCall{lsCall, listCall}},
	"Hermes, no end":         {"<tool_call>{\"name\":\"bash\",\"arguments\":{\"command\":\"ls -l\"}}", []llm.ToolCall{lsCall}},
	"Hermes, a comma":        {"<tool_call>{\"name\":\"bash\",\"arguments\":{\"command\":\"ls -l\",}}</tool_call>", []llm.ToolCall{lsCall}},
	"Hermes, text in text":   {"<tool_call>{\"name\":\"bash\",\"arguments\":\"{\\\"command\\\":\\\"ls -l\\\"}\"}</tool_call>", []llm.ToolCall{lsCall}},
	"Hermes in a fence":      {"I will look.\n```xml\n<tool_call>\n{\"name\": \"bash\", \"arguments\": {\"command\": \"ls -l\"}}\n</tool_call>\n```", []llm.ToolCall{lsCall}},
	"Qwen2.5-Coder":          {"<tools>\n{\"name\": \"bash\", \"arguments\": {\"command\": \"ls -l\"}}\n</tools>", []llm.ToolCall{lsCall}},
	"MiniMax-M1":             {"<tool_calls>\n{\"name\": \"bash\", \"arguments\": {\"command\": \"ls -l\"}}\n{\"name\": \"list\", \"arguments\": {}}\n</tool_calls>", []llm.ToolCall{lsCall, listCall}},
	"Hunyuan, Jamba":         {"<tool_calls>[{\"name\": \"bash\", \"arguments\": {\"command\": \"ls -l\"}}]</tool_calls>", []llm.ToolCall{lsCall}},
	"Granite 3":              {"<|tool_call|>[{\"name\": \"bash\", \"arguments\": {\"command\": \"ls -l\"}}]", []llm.ToolCall{lsCall}},
	"Phi-4":                  {"<|tool_call|>[{\"name\": \"bash\", \"arguments\": {\"command\": \"ls -l\"}}]<|/tool_call|>", []llm.ToolCall{lsCall}},
	"Phi-4-mini":             {"functools[{\"name\": \"bash\", \"arguments\": {\"command\": \"ls -l\"}}]", []llm.ToolCall{lsCall}},
	"Nemotron":               {"<TOOLCALL>[{\"name\": \"bash\", \"arguments\": {\"command\": \"ls -l\"}}]</TOOLCALL>", []llm.ToolCall{lsCall}},
	"LongCat":                {"<longcat_tool_call>\n{\"name\": \"bash\", \"arguments\": {\"command\": \"ls -l\"}}\n</longcat_tool_call>", []llm.ToolCall{lsCall}},
	"Apertus":                {"<|tools_prefix|>[{\"bash\": {\"command\": \"ls -l\"}}]<|tools_suffix|>", []llm.ToolCall{lsCall}},
	"InternLM":               {"<|action_start|><|plugin|>\n{\"name\": \"bash\", \"parameters\": {\"command\": \"ls -l\"}}<|action_end|>", []llm.ToolCall{lsCall}},
	"Cohere":                 {"<|START_ACTION|>[{\"tool_call_id\": \"0\", \"tool_name\": \"bash\", \"parameters\": {\"command\": \"ls -l\"}}]<|END_ACTION|>", []llm.ToolCall{lsCall}},
	"Command-R":              {"Action: ```json\n[\n    {\n        \"tool_name\": \"bash\",\n        \"parameters\": {\n            \"command\": \"ls -l\"\n        }\n    }\n]```", []llm.ToolCall{lsCall}},
	"LM Studio":              {"[TOOL_REQUEST]{\"name\": \"bash\", \"arguments\": {\"command\": \"ls -l\"}}[END_TOOL_REQUEST]", []llm.ToolCall{lsCall}},
	"xLAM":                   {"[{\"name\": \"bash\", \"arguments\": {\"command\": \"ls -l\"}}]", []llm.ToolCall{lsCall}},
	"xLAM in a fence":        {"Sure.\n```json\n[{\"name\": \"bash\", \"arguments\": {\"command\": \"ls -l\"}}]\n```", []llm.ToolCall{lsCall}},
	"OpenAI's own, as text":  {"{\"tool_calls\": [{\"id\": \"x\", \"type\": \"function\", \"function\": {\"name\": \"bash\", \"arguments\": \"{\\\"command\\\": \\\"ls -l\\\"}\"}}]}", []llm.ToolCall{lsCall}},
	"multi_tool_use":         {"{\"tool_uses\": [{\"recipient_name\": \"functions.bash\", \"parameters\": {\"command\": \"ls -l\"}}]}", []llm.ToolCall{lsCall}},
	"Llama":                  {"<|python_tag|>{\"type\": \"function\", \"name\": \"bash\", \"parameters\": {\"command\": \"ls -l\"}}<|eom_id|>", []llm.ToolCall{lsCall}},
	"Llama, bare":            {"{\"name\": \"bash\", \"parameters\": {\"command\": \"ls -l\"}}", []llm.ToolCall{lsCall}},
	"Llama, two":             {"{\"name\": \"bash\", \"parameters\": {\"command\": \"ls -l\"}}; {\"name\": \"list\", \"parameters\": {}}", []llm.ToolCall{lsCall, listCall}},
	"Llama behind words":     {"I will list the files.\n{\"name\": \"bash\", \"parameters\": {\"command\": \"ls -l\"}}", []llm.ToolCall{lsCall}},
	"Llama, tagged":          {"<function=bash>{\"command\": \"ls -l\"}</function>", []llm.ToolCall{lsCall}},
	"Llama, .call":           {"<|python_tag|>bash.call(command=\"ls -l\")", []llm.ToolCall{lsCall}},
	"Llama 4":                {"[bash(command=\"ls -l\"), list()]", []llm.ToolCall{lsCall, listCall}},
	"Llama 4, marked":        {"<|python_start|>[bash(command='ls -l')]<|python_end|>", []llm.ToolCall{lsCall}},
	"Olmo":                   {"<function_calls>bash(command=\"ls -l\")\nlist()</function_calls>", []llm.ToolCall{lsCall, listCall}},
	"LFM2":                   {"<|tool_call_start|>[read_file(path=\"a b.txt\", from=3)]<|tool_call_end|>", []llm.ToolCall{readCall}},
	"Gemma":                  {"```tool_code\nbash(command=\"ls -l\")\n```", []llm.ToolCall{lsCall}},
	"Gemini":                 {"```tool_code\nprint(default_api.bash(command = \"ls -l\"))\n```", []llm.ToolCall{lsCall}},
	"Gemma, JSON":            {"```tool_code\n{\"name\": \"bash\", \"parameters\": {\"command\": \"ls -l\"}}\n```", []llm.ToolCall{lsCall}},
	"FunctionGemma":          {"<start_function_call>call:read_file{path:<escape>a b.txt<escape>,from:3}<end_function_call>", []llm.ToolCall{readCall}},
	"Gemma 4":                {"<|tool_call>call:bash{command:<|\"|>ls -l<|\"|>}<tool_call|>", []llm.ToolCall{lsCall}},
	"Qwen3-Coder":            {"<tool_call>\n<function=read_file>\n<parameter=path>\na b.txt\n</parameter>\n<parameter=from>\n3\n</parameter>\n</function>\n</tool_call>", []llm.ToolCall{readCall}},
	"Qwen3-Coder, half":      {"<function=bash>\n<parameter=command>\nls -l\n</parameter>\n</function>\n</tool_call>", []llm.ToolCall{lsCall}},
	"Seed-OSS":               {"<seed:tool_call>\n<function=bash>\n<parameter=command>ls -l</parameter>\n</function>\n</seed:tool_call>", []llm.ToolCall{lsCall}},
	"GLM":                    {"<tool_call>read_file\n<arg_key>path</arg_key>\n<arg_value>a b.txt</arg_value>\n<arg_key>from</arg_key>\n<arg_value>3</arg_value>\n</tool_call>", []llm.ToolCall{readCall}},
	"GLM, none":              {"<tool_call>list</tool_call>", []llm.ToolCall{listCall}},
	"GLM-4.7, one line":      {"<tool_call>bash<arg_key>command</arg_key><arg_value>ls -l</arg_value></tool_call>", []llm.ToolCall{lsCall}},
	"a name and JSON":        {"<tool_call>bash\n{\"command\": \"ls -l\"}\n</tool_call>", []llm.ToolCall{lsCall}},
	"Kimi":                   {"<|tool_calls_section_begin|><|tool_call_begin|>functions.bash:0<|tool_call_argument_begin|>{\"command\": \"ls -l\"}<|tool_call_end|><|tool_call_begin|>functions.list:1<|tool_call_argument_begin|>{}<|tool_call_end|><|tool_calls_section_end|>", []llm.ToolCall{lsCall, listCall}},
	"DeepSeek V3, R1":        {"<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>bash\n```json\n{\"command\": \"ls -l\"}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>", []llm.ToolCall{lsCall}},
	"DeepSeek V3.1":          {"<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>bash<｜tool▁sep｜>{\"command\": \"ls -l\"}<｜tool▁call▁end｜><｜tool▁call▁begin｜>list<｜tool▁sep｜>{}<｜tool▁call▁end｜><｜tool▁calls▁end｜>", []llm.ToolCall{lsCall, listCall}},
	"DeepSeek, ASCII":        {"<|tool_calls_begin|><|tool_call_begin|>bash<|tool_sep|>{\"command\": \"ls -l\"}<|tool_call_end|>", []llm.ToolCall{lsCall}},
	"DeepSeek V3.2, DSML":    {"<｜DSML｜function_calls>\n<｜DSML｜invoke name=\"read_file\">\n<｜DSML｜parameter name=\"path\" string=\"true\">a b.txt</｜DSML｜parameter>\n<｜DSML｜parameter name=\"from\" string=\"false\">3</｜DSML｜parameter>\n</｜DSML｜invoke>\n</｜DSML｜function_calls>", []llm.ToolCall{readCall}},
	"Mistral":                {"[TOOL_CALLS]bash[ARGS]{\"command\": \"ls -l\"}[TOOL_CALLS]list[ARGS]{}", []llm.ToolCall{lsCall, listCall}},
	"Mistral, with an id":    {"[TOOL_CALLS]bash[CALL_ID]a1b2c3d4e[ARGS]{\"command\": \"ls -l\"}", []llm.ToolCall{lsCall}},
	"Mistral, v11":           {"[TOOL_CALLS]bash{\"command\": \"ls -l\"}", []llm.ToolCall{lsCall}},
	"Mistral, older":         {"[TOOL_CALLS] [{\"name\": \"bash\", \"arguments\": {\"command\": \"ls -l\"}}]", []llm.ToolCall{lsCall}},
	"gpt-oss":                {"<|channel|>commentary to=functions.bash <|constrain|>json<|message|>{\"command\": \"ls -l\"}<|call|>", []llm.ToolCall{lsCall}},
	"gpt-oss, recipient 1st": {"<|start|>assistant to=functions.bash<|channel|>commentary json<|message|>{\"command\": \"ls -l\"}<|call|>", []llm.ToolCall{lsCall}},
	"gpt-oss, tokens gone":   {"assistantcommentary to=functions.bash json{\"command\": \"ls -l\"}", []llm.ToolCall{lsCall}},
	"Claude":                 {"I'll look.\n\n<function_calls>\n<invoke name=\"read_file\">\n<parameter name=\"path\">a b.txt</parameter>\n<parameter name=\"from\">3</parameter>\n</invoke>\n</function_calls>", []llm.ToolCall{readCall}},
	"MiniMax-M2":             {"<minimax:tool_call>\n<invoke name=\"bash\">\n<parameter name=\"command\">ls -l</parameter>\n</invoke>\n</minimax:tool_call>", []llm.ToolCall{lsCall}},
	"Step-3":                 {"<steptml:invoke name=\"bash\"><steptml:parameter name=\"command\">ls -l</steptml:parameter></steptml:invoke>", []llm.ToolCall{lsCall}},
	"Functionary 2":          {"<|from|>assistant\n<|recipient|>bash\n<|content|>{\"command\": \"ls -l\"}", []llm.ToolCall{lsCall}},
	"Functionary 3":          {">>>bash\n{\"command\": \"ls -l\"}", []llm.ToolCall{lsCall}},
	"Functionary 3, first":   {"bash\n{\"command\": \"ls -l\"}", []llm.ToolCall{lsCall}},
	"ReAct":                  {"Thought: I should look.\nAction: bash\nAction Input: {\"command\": \"ls -l\"}", []llm.ToolCall{lsCall}},
	"LangChain":              {"```json\n{\"action\": \"bash\", \"action_input\": {\"command\": \"ls -l\"}}\n```", []llm.ToolCall{lsCall}},
	"XML by names":           {"<read_file>\n<path>a b.txt</path>\n<from>3</from>\n</read_file>", []llm.ToolCall{readCall}},
	"XML in parts":           {"<tool_use><name>bash</name><arguments>{\"command\": \"ls -l\"}</arguments></tool_use>", []llm.ToolCall{lsCall}},
	"XML in smaller parts":   {"<tool_call>\n<name>read_file</name>\n<arguments>\n<path>a b.txt</path>\n<from>3</from>\n</arguments>\n</tool_call>", []llm.ToolCall{readCall}},
}

func TestCallsInMarkupAreNoAnswer(t *testing.T) {
	for name, tc := range dialectCases {
		for where, fields := range map[string]llm.Message{
			"alone": {Content: tc.text}, "behind words": {Content: "First I look around.\n\n" + tc.text}, "in the thoughts": {Reasoning: "I look.\n" + tc.text},
		} {
			if where != "alone" && name == "Functionary 3, first" {
				continue // all of a text, or none of it
			}
			t.Run(name+"/"+where, func(t *testing.T) {
				_, err := judged(tooled(), Quirks{}, fields)
				if err == nil || err.Category != llm.TextToolCall || !strings.Contains(err.Hint, tc.want[0].Name) {
					t.Errorf("rejected with %+v", err)
				}
				r, err := judged(tooled(), Quirks{TextToolCalls: TextToolCallsSalvage}, fields)
				if err != nil {
					t.Fatal(err)
				}
				if d := cmp.Diff(tc.want, r.calls, cmpopts.IgnoreFields(llm.ToolCall{}, "ID")); d != "" {
					t.Errorf("salvaged (-want +got):\n%s", d)
				}
				if onlyMarks(r.content) && r.content != "" || strings.Contains(r.content+r.reasoning, "ls -l") {
					t.Errorf("left over: %q, %q", r.content, r.reasoning)
				}
			})
		}
	}
}

// A call that was cut, wherever: never an answer and never run.
func TestCutMarkupIsNoAnswer(t *testing.T) {
	for name, text := range map[string]string{
		"JSON":            `<tool_call>{"name": "bash", "arguments": {"command": "rm -r`,
		"after the name":  `<tool_call>{"name": "bash"`,
		"bare JSON":       `{"name": "bash", "parameters": {"command": "rm -r`,
		"parameters":      "<function=bash>\n<parameter=command>\nrm -r",
		"a function":      "I will write it.\n<tool_call>\n<function=bash>",
		"invoke":          `<function_calls><invoke name="bash"><parameter name="command">rm -r`,
		"invoke's name":   "Now:\n<invoke name=\"bash\">",
		"keys and values": "<tool_call>bash\n<arg_key>command</arg_key>\n<arg_value>rm -r",
		"a key":           "<tool_call>bash\n<arg_key>comm",
		"Kimi":            `<|tool_calls_section_begin|><|tool_call_begin|>functions.bash:0<|tool_call_argument_begin|>{"command": "rm -r`,
		"Kimi's name":     `<|tool_calls_section_begin|><|tool_call_begin|>functions.bash:0`,
		"DeepSeek":        `<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>bash<｜tool▁sep｜>{"command": "rm -r`,
		"Mistral":         `[TOOL_CALLS]bash[ARGS]{"command": "rm -r`,
		"gpt-oss":         `<|channel|>commentary to=functions.bash <|constrain|>json<|message|>{"command": "rm -r`,
		"pythonic":        `[bash(command="rm -r`,
		"Gemma":           "```tool_code\nbash(command=\"rm -r",
		"Gemma 4":         `<|tool_call>call:bash{command:<|"|>rm -r`,
		"XML by names":    "<bash>\n<command>rm -r",
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

// Words about markup, and code that shows it, are an answer.
func TestWordsAboutMarkupAreAnAnswer(t *testing.T) {
	for name, text := range map[string]string{
		"a tag":                    "The parser now finds <tool_call> and </tool_call> at line ends.",
		"a tag with a tool's name": "The parser takes <function=bash> for the beginning of a call, as it should.",
		"a tag at the end":         "What the parser looks for is `<function=bash>`",
		"a call in code":           "It reads `<tool_call>{\"name\": \"bash\", \"arguments\": {\"command\": \"ls\"}}</tool_call>` now.",
		"a call in a fence":        "It reads this:\n```\n<tool_call>\n{\"name\": \"bash\", \"arguments\": {\"command\": \"ls\"}}\n</tool_call>\n```\nAll tests pass.",
		"a call in an indented block": "It reads this:\n\n    <invoke name=\"bash\">\n    <parameter name=\"command\">ls</parameter>\n    </invoke>\n\n" +
			"All tests pass.",
		"a quoted call":              "The issue says:\n> [TOOL_CALLS]bash[ARGS]{\"command\": \"ls\"}\n\nThat works now.",
		"a template":                 "<tool_call>\n{\"name\": <function-name>, \"arguments\": <args-json-object>}\n</tool_call>",
		"a template of a name":       "Calls look like <invoke name=\"$NAME\"> with a parameter each.",
		"another tool":               "Say <tool_call>{\"name\": \"get_weather\"}</tool_call> to the weather service, and it answers.",
		"a tool in passing":          "I ran bash to list the files, and read_file to read one.",
		"a recipient in passing":     "The header says to=functions.bash and nothing else.",
		"an action in passing":       "Action: bash scripts were made executable.",
		"JSON that is an answer":     `{"name": "bash", "version": 5}`,
		"a package":                  "The package is\n```json\n{\"name\": \"list\", \"version\": \"1.0.0\"}\n```",
		"JSON before the end":        "```json\n{\"name\": \"bash\", \"arguments\": {}}\n```\nis what the model sent.",
		"Python that is an answer":   "Call it like this:\n```python\nbash(command=\"ls\")\n```\nIt returns a string.",
		"Python of something else":   "[f(x) for x in xs]",
		"HTML":                       "<list>\n<item>one</item>\n</list>",
		"a list of files":            "[a.go, b.go]",
		"a link":                     "[bash](https://www.gnu.org/software/bash/)",
		"half a mark in the thought": "The end mark is [TOOL_CALLS], which the tokenizer drops.",
	} {
		t.Run(name, func(t *testing.T) {
			for _, q := range []Quirks{{}, {TextToolCalls: TextToolCallsSalvage}} {
				r, err := judged(tooled(), q, llm.Message{Content: text, Reasoning: "The model means `<tool_call>`, or <invoke name=\"bash\"> as such."})
				if err != nil || r.content != text || len(r.calls) > 0 {
					t.Errorf("%+v, %v", r, err)
				}
			}
		})
	}
}

func TestNothingButMarksIsAnEmptyReply(t *testing.T) {
	for _, text := range []string{"</tool_call>", "\n</function>\n</tool_call>", "<|tool_calls_section_end|>", "```tool_code\n```", "<tool_call>"} {
		if r, err := judged(tooled(), Quirks{}, llm.Message{Content: text}); err != nil || r.content != "" {
			t.Errorf("%q: %+v, %v", text, r, err)
		}
	}
}

func TestPythonLiterals(t *testing.T) {
	for text, want := range map[string]string{
		`read_file(path='it\'s', from=-3)`:                      `{"from":-3,"path":"it's"}`,
		`read_file(path="a\tb\\n\u00e9", all=True)`:             `{"all":true,"path":"a\tb\\né"}`,
		`read_file(path="""two` + "\n" + `"lines" """)`:         `{"path":"two\n\"lines\" "}`,
		`read_file(path=r'\d+', tags=['a', "b,c)"])`:            `{"path":"\\d+","tags":["a","b,c)"]}`,
		`read_file("a, (b)")`:                                   `{"path":"a, (b)"}`,
		`read_file(path='say "hi"', tags=[], from=3, all=True)`: `{"all":true,"from":3,"path":"say \"hi\"","tags":[]}`,
	} {
		r, err := judged(tooled(), Quirks{TextToolCalls: TextToolCallsSalvage}, llm.Message{Content: text})
		if err != nil || len(r.calls) != 1 || r.calls[0].Arguments != want {
			t.Errorf("%s: %+v, %v", text, r, err)
		}
	}
}

// judged is what is made of a message that ended well.
func judged(req llm.Request, q Quirks, m llm.Message) (*result, *llm.Error) {
	x := &exchange{req: req, quirks: q}
	a := &assembly{known: x.hasTool, choices: true, finish: "stop"}
	a.content.WriteString(m.Content)
	a.reasoning.WriteString(m.Reasoning)
	r, err := x.judge(a)
	if err != nil && err.Category == llm.TextToolCall && (!err.Retryable || errors.Unwrap(err) != nil) {
		panic("a text call can be tried again")
	}
	return r, err
}

func FuzzMarkup(f *testing.F) {
	for _, tc := range dialectCases {
		f.Add(tc.text)
	}
	for _, text := range garbledCases {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := judged(tooled(), Quirks{TextToolCalls: TextToolCallsSalvage}, llm.Message{Content: text})
		if err != nil {
			return
		}
		for _, c := range r.calls {
			x := &exchange{req: tooled()}
			if !isObject(c.Arguments) || fits(x.tool(c.Name), c.Arguments) != nil {
				t.Fatalf("%q gave %+v", text, c)
			}
		}
	})
}

// One text holds at most so much that is repaired, whatever the markup.
func TestRepairsInTextAreBounded(t *testing.T) {
	broken := `{"name":"bash","arguments":{"command":"` + strings.Repeat("x", 40<<10) + `",}}`
	x := &exchange{req: hello()}
	l := x.lookup()
	for n := 1; n <= 4; n++ {
		if _, _, whole := l.jsonValue(broken); whole != (n <= 3) {
			t.Errorf("value %d: whole %v", n, whole)
		}
	}
	deep := strings.Repeat("[", jsontext.MaxRepairDepth+1) + "," + strings.Repeat("]", jsontext.MaxRepairDepth+1)
	if _, _, whole := x.lookup().jsonValue(deep); whole {
		t.Error("a deep value was repaired")
	}
	if _, ok := x.lookup().pythonValue(deep); ok {
		t.Error("a deep literal was repaired")
	}
	if calls, _ := readBraces(x.lookup(), `{command:`+deep+`}`, "bash"); len(calls) != 1 || calls[0].whole {
		t.Errorf("deep braces: %+v", calls)
	}
}

func TestParametersAreBounded(t *testing.T) {
	x := &exchange{req: hello()}
	for n, whole := range map[int]bool{maxParameters: true, maxParameters + 1: false, 50000: false} {
		for name, end := range map[string]string{"closed": "</parameter>", "not closed": ""} {
			text := strings.Repeat("\n<parameter=command>ls"+end, n) + "\n</function>"
			calls, _ := readParameters(x.lookup(), text, "bash")
			if len(calls) != 1 || calls[0].whole != whole {
				t.Errorf("%d, %s: %+v", n, name, calls)
			}
		}
	}
}
