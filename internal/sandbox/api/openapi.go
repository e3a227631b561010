package api

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// OpenAPI is the document that describes the interface (OpenAPI 3.1, in JSON). It is
// made of Routes and the types that they name.
var OpenAPI = sync.OnceValue(func() []byte {
	d := document{schemas: object{}}
	paths := object{}
	for _, r := range Routes() {
		item, ok := paths[r.Path].(object)
		if !ok {
			item = object{}
			paths[r.Path] = item
		}
		item[strings.ToLower(r.Method)] = d.operation(r)
	}
	for _, v := range []any{Output{}, Lost{}, Exit{}} { // in events
		d.schema(reflect.TypeOf(v))
	}
	data, err := json.MarshalIndent(object{
		"openapi": "3.1.0",
		"info": object{
			"title": "Sampan sandbox", "version": "v1." + strconv.Itoa(Protocol),
			"description": "What the server in a sandbox container does for who may ask. Requests on its socket carry a secret, of which the first one decides who is obeyed.",
			"license":     object{"name": "Apache-2.0", "identifier": "Apache-2.0"},
		},
		"servers":  []any{object{"url": "http://sandbox"}},
		"security": []any{object{"owner": []string{}}},
		"paths":    paths,
		"components": object{
			"schemas":         d.schemas,
			"securitySchemes": object{"owner": object{"type": "http", "scheme": "bearer"}},
		},
	}, "", "  ")
	if err != nil {
		panic(err) // it is made of maps and strings
	}
	return data
})

type object = map[string]any

// document collects the schemas that are referred to.
type document struct{ schemas object }

func (d *document) operation(r Route) object {
	op := object{"summary": r.Summary, "operationId": operationID(r)}
	var parameters []any
	for _, name := range []string{"id", "path"} {
		if strings.Contains(r.Path, "{"+name+"}") {
			parameters = append(parameters, object{"name": name, "in": "path", "required": true, "schema": object{"type": "string"}})
		}
	}
	for _, p := range r.Parameters {
		parameter := object{"name": p.Name, "in": p.In, "description": p.Summary, "schema": object{"type": p.Type}}
		if p.Type == "" {
			parameter["schema"], parameter["allowEmptyValue"] = object{"type": "string"}, true
		}
		parameters = append(parameters, parameter)
	}
	if len(parameters) > 0 {
		op["parameters"] = parameters
	}
	if content := d.content(r.Body, r.BodyType); content != nil {
		op["requestBody"] = object{"required": true, "content": content}
	}
	answer := object{"description": "Success"}
	if content := d.content(r.Answer, r.AnswerType); content != nil {
		answer["content"] = content
	}
	if len(r.Headers) > 0 {
		headers := object{}
		for _, h := range r.Headers {
			headers[h] = object{"schema": object{"type": "string"}}
		}
		answer["headers"] = headers
	}
	op["responses"] = object{
		strconv.Itoa(r.Status): answer,
		"default": object{
			"description": "It was refused or failed. The header " + HeaderError + " has the code, too, also where there is no body.",
			"content":     d.content(Error{}, ""),
		},
	}
	return op
}

// operationID is a name such as getProcessesIdStream.
func operationID(r Route) string {
	id := strings.ToLower(r.Method)
	for _, part := range strings.FieldsFunc(strings.TrimPrefix(r.Path, "/v1/"), func(c rune) bool { return strings.ContainsRune("/{}.", c) }) {
		id += strings.ToUpper(part[:1]) + part[1:]
	}
	return id
}

// content is that of a body of a type, of raw bytes, or of either.
func (d *document) content(value any, media string) object {
	content := object{}
	if media != "" {
		content[media] = object{}
	}
	if value != nil {
		content[typeJSON] = object{"schema": d.schema(reflect.TypeOf(value))}
	}
	if len(content) == 0 {
		return nil
	}
	return content
}

// schema describes a type as encoding/json writes it.
func (d *document) schema(t reflect.Type) object {
	switch t {
	case reflect.TypeFor[time.Time]():
		return object{"type": "string", "format": "date-time"}
	case reflect.TypeFor[time.Duration]():
		return object{"type": "integer", "description": "nanoseconds"}
	case reflect.TypeFor[fs.FileMode]():
		return object{"type": "integer", "description": "type and permissions, as the number of Go's fs.FileMode"}
	case reflect.TypeFor[[]byte]():
		return object{"type": "string", "contentEncoding": "base64"}
	case reflect.TypeFor[Code]():
		return object{"type": "string", "enum": codes()}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return d.schema(t.Elem())
	case reflect.Slice:
		return object{"type": "array", "items": d.schema(t.Elem())}
	case reflect.Map:
		return object{"type": "object", "additionalProperties": d.schema(t.Elem())}
	case reflect.Struct:
		if _, known := d.schemas[t.Name()]; !known {
			s := object{"type": "object", "properties": object{}, "required": []string{}}
			d.schemas[t.Name()] = s
			d.fields(t, s)
		}
		return object{"$ref": "#/components/schemas/" + t.Name()}
	case reflect.String:
		return object{"type": "string"}
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.Float64:
		return object{"type": "number"}
	case reflect.Int, reflect.Int64, reflect.Uint16:
		return object{"type": "integer"}
	default:
		panic(fmt.Sprintf("no schema for %s", t))
	}
}

func (d *document) fields(t reflect.Type, s object) {
	for f := range t.Fields() {
		if f.Anonymous {
			d.fields(f.Type, s)
			continue
		}
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		s["properties"].(object)[name] = d.schema(f.Type)
		if options != "omitempty" {
			s["required"] = append(s["required"].([]string), name)
		}
	}
}

func codes() []string {
	all := []string{string(CodeInternal)}
	for c := range statuses {
		all = append(all, string(c))
	}
	slices.Sort(all)
	return all
}
