package condition

import (
	"maps"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
)

// A Scope declares the variables of one place where conditions stand. It is immutable and safe for concurrent use.
type Scope struct {
	env  *cel.Env
	vars map[string]schema
	err  error
}

// A schema is the type of a variable or field, and the size that a condition's cost is estimated with.
type schema struct {
	kind   *cel.Type
	size   uint64            // characters of a string, elements of a list, entries of a map; or any of these, of what JSON can be
	fields map[string]schema // of an object, which is a map with these keys
	elem   *schema           // of a list or map
}

func text(size uint64) schema { return schema{kind: cel.StringType, size: size} }

// object is a map with known keys. Its type has a name that no source can spell, so that none can make one.
func object(name string, fields map[string]schema) schema {
	return schema{kind: cel.ObjectType("map of " + name), size: uint64(len(fields)), fields: fields}
}

func list(size uint64, elem schema) schema {
	return schema{kind: cel.ListType(elem.kind), size: size, elem: &elem}
}

// dict is a map with any keys.
func dict(size uint64, elem schema) schema {
	return schema{kind: cel.MapType(cel.StringType, elem.kind), size: size, elem: &elem}
}

// anything is what JSON can be.
func anything(size uint64) schema { return schema{kind: cel.DynType, size: size} }

// Handshake is where conditions on opening handshakes and plain requests stand.
func Handshake() *Scope {
	return newScope(map[string]schema{
		"request": object("request", map[string]schema{
			"websocket":    {kind: cel.BoolType}, // it is a handshake, not a plain request
			"method":       text(32),
			"host":         text(255),                      // canonical: lower case, no port
			"path":         text(8 << 10),                  // canonical
			"query":        dict(64, list(8, text(1<<10))), // name to values, in order
			"headers":      dict(100, text(1<<10)),         // name in lower case to value
			"subprotocols": list(64, text(128)),            // as offered, in order
			"secure":       {kind: cel.BoolType},           // it came over TLS
			"origin":       text(1 << 10),                  // absent if there is none
		}),
		// An empty map if the client showed none.
		"certificate": object("certificate", map[string]schema{
			"subject":     text(1 << 10),
			"common_name": text(255), // of the subject
			"issuer":      text(1 << 10),
			"serial":      text(64), // in lower-case hexadecimal
			"dns":         list(128, text(255)),
			"emails":      list(128, text(255)),
			"uris":        list(128, text(1<<10)),
			"fingerprint": text(64), // SHA-256 of the certificate in lower-case hexadecimal
		}),
		"claims": claims(),
		"client": client(),
		"now":    {kind: cel.TimestampType},
		"route":  text(255),
	})
}

// Message is where conditions on messages stand.
func Message() *Scope {
	return newScope(map[string]schema{
		"message": object("message", map[string]schema{
			"type":      text(6),             // text or binary
			"size":      {kind: cel.IntType}, // bytes
			"text":      text(32 << 10),      // absent in a binary message
			"json":      anything(1 << 10),   // null if the message is not JSON; numbers are float64 or int64
			"operation": text(255),
		}),
		"claims": claims(),
		"client": client(),
		"now":    {kind: cel.TimestampType},
		"route":  text(255),
	})
}

func client() schema { return object("client", map[string]schema{"address": text(maxAddress)}) }

// claims are those of the verified token, and an empty map without one.
func claims() schema { return dict(64, anything(512)) }

// at follows a path as CEL's cost estimate writes it: names of fields, and @items, @values, @keys and @indices.
func (s schema) at(path []string) (schema, bool) {
	for _, step := range path {
		switch {
		case s.fields != nil:
			field, ok := s.fields[step]
			if !ok {
				return schema{}, false
			}
			s = field
		case step == "@keys":
			s = text(keySize)
		case s.elem != nil:
			s = *s.elem
		case s.kind != cel.DynType:
			return schema{}, false
		case strings.HasPrefix(step, "@"):
			// One of many is smaller than one alone, or the estimates of legitimate loops would be absurd.
			s = anything(min(s.size, elementSize))
		}
	}
	return s, true
}

func newScope(vars map[string]schema) *Scope {
	s := &Scope{vars: vars}
	registry, err := types.NewRegistry()
	if err != nil {
		s.err = err
		return s
	}
	options := []cel.EnvOption{
		cel.CustomTypeAdapter(registry),
		cel.CustomTypeProvider(objects{registry, vars}),
		cel.ParserExpressionSizeLimit(maxSource),
		cel.ParserRecursionLimit(maxDepth),
		cel.ASTValidators(cel.ValidateDurationLiterals(), cel.ValidateTimestampLiterals(), literals{}),
		inNetwork(), zoneCosts(),
	}
	for name, v := range vars {
		options = append(options, cel.Variable(name, v.kind))
	}
	s.env, s.err = cel.NewEnv(options...)
	return s
}

func (s *Scope) names() string { return strings.Join(slices.Sorted(maps.Keys(s.vars)), ", ") }

// objects tells CEL's type checker which fields the objects among the variables have. CEL itself then takes them from maps.
type objects struct {
	*types.Registry
	vars map[string]schema
}

func (o objects) find(typeName string) (schema, bool) {
	for _, v := range o.vars {
		if v.fields != nil && v.kind.TypeName() == typeName {
			return v, true
		}
	}
	return schema{}, false
}

// FindStructType returns the type of an object.
func (o objects) FindStructType(typeName string) (*types.Type, bool) {
	v, ok := o.find(typeName)
	if !ok {
		return o.Registry.FindStructType(typeName)
	}
	return types.NewTypeTypeWithParam(v.kind), true
}

// FindStructFieldNames returns the fields of an object, sorted.
func (o objects) FindStructFieldNames(typeName string) ([]string, bool) {
	v, ok := o.find(typeName)
	if !ok {
		return o.Registry.FindStructFieldNames(typeName)
	}
	return slices.Sorted(maps.Keys(v.fields)), true
}

// FindStructFieldType returns the type of a field. Without ways to get the field of its own, CEL looks in the map.
func (o objects) FindStructFieldType(typeName, field string) (*types.FieldType, bool) {
	v, ok := o.find(typeName)
	if !ok {
		return o.Registry.FindStructFieldType(typeName, field)
	}
	f, ok := v.fields[field]
	if !ok {
		return nil, false
	}
	return &types.FieldType{Type: f.kind}, true
}
