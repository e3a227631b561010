package openai

import "encoding/json"

// plainKeywords are the keywords of JSON Schema that every server takes.
var plainKeywords = map[string]bool{
	"type": true, "description": true, "properties": true, "required": true, "items": true, "enum": true,
	"minimum": true, "maximum": true, "minItems": true, "maxItems": true, "nullable": true,
}

// plainSchema leaves of a tool's schema what every server takes. The result says
// less, and the arguments are held against the whole one all the same. Nil for a
// tool without parameters: some servers refuse an object that has none.
func plainSchema(schema []byte) json.RawMessage {
	var v map[string]any
	if len(schema) == 0 || json.Unmarshal(schema, &v) != nil {
		return nil
	}
	plain := plainOf(v, v, maxSchemaDepth)
	if properties, _ := plain["properties"].(map[string]any); len(properties) == 0 {
		return nil
	}
	text, err := marshalPlain(plain)
	if err != nil {
		return nil
	}
	return json.RawMessage(text)
}

// maxSchemaDepth bounds schemas that refer to themselves.
const maxSchemaDepth = 16

func plainOf(v, root map[string]any, depth int) map[string]any {
	v = resolved(v, root)
	out := map[string]any{}
	for key, value := range v {
		if plainKeywords[key] {
			out[key] = value
		}
	}
	if constant, ok := v["const"]; ok && out["enum"] == nil {
		out["enum"] = []any{constant}
	}
	for _, key := range []string{"anyOf", "oneOf", "allOf"} {
		// What can be said plainly of alternatives is the first that is not null.
		alternatives, _ := v[key].([]any)
		for _, a := range alternatives {
			if one, ok := a.(map[string]any); ok && depth > 0 && out["type"] == nil && one["type"] != "null" {
				for k, inner := range plainOf(one, root, depth-1) {
					out[k] = inner
				}
			}
		}
	}
	oneType(out)
	properties, _ := out["properties"].(map[string]any)
	clean := map[string]any{}
	for name, p := range properties {
		clean[name] = plainChild(p, root, depth)
	}
	if properties != nil {
		out["properties"] = clean
	}
	if items, ok := out["items"]; ok {
		out["items"] = plainChild(items, root, depth)
	} else if out["type"] == "array" {
		out["items"] = map[string]any{"type": "string"}
	}
	if out["type"] != "string" {
		delete(out, "enum") // Gemini takes one of strings only
	}
	return out
}

// plainChild is plainOf for what may also be true, false or too deep.
func plainChild(v any, root map[string]any, depth int) map[string]any {
	if child, ok := v.(map[string]any); ok && depth > 0 {
		if plain := plainOf(child, root, depth-1); plain["type"] != nil {
			return plain
		}
	}
	return map[string]any{"type": "string"}
}

// oneType makes one type of a list: ["string", "null"] is a string that may be null.
func oneType(out map[string]any) {
	types, ok := out["type"].([]any)
	if !ok {
		return
	}
	delete(out, "type")
	for _, t := range types {
		if t == "null" {
			out["nullable"] = true
		} else if out["type"] == nil {
			out["type"] = t
		}
	}
}

// resolved follows a reference into the schema's own definitions.
func resolved(v, root map[string]any) map[string]any {
	ref, _ := v["$ref"].(string)
	for _, place := range []string{"$defs", "definitions"} {
		defs, _ := root[place].(map[string]any)
		prefix := "#/" + place + "/"
		if len(ref) > len(prefix) && ref[:len(prefix)] == prefix {
			if target, ok := defs[ref[len(prefix):]].(map[string]any); ok {
				return target
			}
		}
	}
	return v
}
