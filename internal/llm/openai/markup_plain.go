package openai

import (
	"html"
	"strings"
)

// callTags are the names of the tags of which calls are made.
const callTags = `tool_calls?|function_calls?|tool_use|tool_name|tool_sep|invoke|functions?|tools?|parameters?|param|arguments?|arg_key|arg_value|args|name`

// plainMarkup gives a text as it would be had its model or server not garbled the
// markup: the same tags, spelled as the dialects have them.
func plainMarkup(text string) string {
	if !strings.ContainsAny(text, "<&") && !strings.Contains(text, `\u003c`) && !strings.Contains(text, "invoke") {
		return text
	}
	if escapedTag.MatchString(text) {
		text = html.UnescapeString(strings.NewReplacer(`\u003c`, "<", `\u003e`, ">").Replace(text))
	}
	for _, g := range garbles {
		text = g.found.ReplaceAllString(text, g.plain)
	}
	return text
}

var escapedTag = compile(`(?:&lt;|\\u003c)/?[|｜]?(?:` + callTags + `)\b`)

// garbles are spellings that were seen, and what they stand for.
var garbles = []struct {
	found pattern
	plain string
}{
	// MiniMax puts a mark of its own around every tag.
	{compile(`\]<\]\w+\[>\[`), ""},
	// DeepSeek's DSML with more bars than it has, or with spaces.
	{compile(`<[ \t]*(/?)[ \t]*` + bar + `{1,2}[ \t]*DSML[ \t]*` + bar + `{1,2}[ \t]*`), "<$1"},
	// Spaces and underscores inside of a tag: "< invoke", "<__function=", "<function =".
	{compile(`<[ \t]*(/?)[ \t]*_*(` + callTags + `)\b`), "<$1$2"},
	{compile(`<(function|parameter|tool|invoke)[ \t]+=[ \t]*`), "<$1="},
	// Hunyuan's tags of the open models: <arg_key:opensource>.
	{compile(`<(/?(?:` + callTags + `)):[a-z]+>`), "<$1>"},
	{compile(`[ \t]*<tool_sep>`), ""},
	// GLM's without the tag before the name.
	{compile(`(?m:^)[ \t]*([\w.-]+)<arg_key>`), "<tool_call>$1<arg_key>"},
	// Claude's with a letter too many, or without the bracket that opens them.
	{compile(`<(/?)\w{1,3}voke\b`), "<${1}invoke"},
	{compile(`<(invoke|parameter)[ \t]+[a-z]name=`), "<$1 name="},
	{compile(`(?m:^)[ \t]*(?:[a-z]+[ \t]+)?(?:[a-z]+:)?invoke[ \t]+name=(["'][\w.-]+["'][ \t]*>)`), "<invoke name=$1"},
}
