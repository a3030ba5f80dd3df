package http

import (
	"reflect"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

// finish adds to the document what huma cannot, from tags:
//
//	needed:"true"                 required
//	says:"enum=en|zu|af;min=2"    enum, format, pattern, min and max length of a field in a body
//
// It also allows null for a pointer to an object that is always present, and for a
// nullable enumeration.
//
// huma must not enforce these, since the domain checks them itself, in its own words and
// with all faults at once. So the schemas of the document are not those that serve.
func finish(registry huma.Registry) {
	for name, schema := range registry.Map() {
		t := registry.TypeFromRef(schemaPrefix + name)
		if t == nil || t.Kind() != reflect.Struct {
			continue
		}

		for _, field := range reflect.VisibleFields(t) {
			name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
			of := schema.Properties[name]

			if field.Tag.Get("needed") == "true" {
				schema.Required = append(schema.Required, name)
			}
			if of != nil && of.Ref != "" && field.Type.Kind() == reflect.Pointer && options == "" {
				schema.Properties[name] = &huma.Schema{
					AnyOf: []*huma.Schema{{Ref: of.Ref}, {Type: "null"}}, Description: of.Description,
				}
			}
			if of != nil && of.Nullable && len(of.Enum) > 0 {
				of.Enum = append(of.Enum, nil)
			}
			if says := field.Tag.Get("says"); says != "" && of != nil {
				schema.Properties[name] = saying(of, says)
			}
		}
	}
}

// saying returns a copy of a text's schema, completed from a says tag.
func saying(of *huma.Schema, tag string) *huma.Schema {
	copied := *of

	for part := range strings.SplitSeq(tag, ";") {
		key, value, _ := strings.Cut(part, "=")
		switch n, _ := strconv.Atoi(value); key {
		case "enum":
			for one := range strings.SplitSeq(value, "|") {
				copied.Enum = append(copied.Enum, one)
			}
			if of.Nullable {
				copied.Enum = append(copied.Enum, nil)
			}
		case "format":
			copied.Format = value
		case "pattern":
			copied.Pattern = value
		case "min":
			copied.MinLength = &n
		case "max":
			copied.MaxLength = &n
		default:
			panic("unknown key in a says tag: " + tag)
		}
	}

	return &copied
}
