package schema

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/framegate/framegate/internal/strictyaml"
)

// documents are the files as they were read, by location. What a schema says and the library does not know is lost when it is compiled; here
// it can be seen.
type documents map[string]any

// object returns the schema at a location such as "schema:///order.json#/properties/id", nil if that is no object.
func (d documents) object(location string) map[string]any {
	file, fragment, _ := strings.Cut(location, "#")
	pointer, err := url.PathUnescape(fragment)
	if err != nil {
		return nil
	}
	v := d[file]
	for token := range strings.SplitSeq(strings.TrimPrefix(pointer, "/"), "/") {
		if pointer == "" {
			break
		}
		switch at := v.(type) {
		case map[string]any:
			v = at[strings.NewReplacer("~1", "/", "~0", "~").Replace(token)]
		case []any:
			i, err := strconv.Atoi(token)
			if err != nil || i < 0 || i >= len(at) {
				return nil
			}
			v = at[i]
		}
	}
	object, _ := v.(map[string]any)
	return object
}

// The keywords of draft 2020-12, and definitions, which it still knows.
const (
	effective = `$schema $id $anchor $dynamicAnchor $ref $dynamicRef $vocabulary $defs definitions
		type enum const multipleOf maximum exclusiveMaximum minimum exclusiveMinimum maxLength minLength pattern
		maxItems minItems uniqueItems maxContains minContains maxProperties minProperties required dependentRequired
		allOf anyOf oneOf not if then else dependentSchemas prefixItems items contains
		properties patternProperties additionalProperties propertyNames unevaluatedItems unevaluatedProperties format`
	descriptive = `$comment contentEncoding contentMediaType contentSchema title description default deprecated readOnly writeOnly examples`
)

// misspelt says what in a schema would be ignored and cannot be meant so: an unknown format, and a keyword that is nearly one. Others may have
// words of their own in schemas.
func misspelt(schema map[string]any, formatKnown bool) string {
	if name, ok := schema["format"].(string); ok && !formatKnown {
		return fmt.Sprintf("unknown format %q, want one of draft 2020-12", name)
	}
	known := strings.Fields(effective)
	all := append(strings.Fields(descriptive), known...)
	for _, word := range slices.Sorted(maps.Keys(schema)) {
		if near, ok := strictyaml.Nearest(word, all); ok && !slices.Contains(all, word) && slices.Contains(known, near) {
			return fmt.Sprintf("unknown keyword %q, did you mean %q?", word, near)
		}
	}
	return ""
}
