package harness

import "github.com/sampan-dev/sampan/internal/harness/tool"

// ToolResult is what a model sees of a tool call.
type ToolResult = tool.Result

var _ Tools = (*tool.Set)(nil)
