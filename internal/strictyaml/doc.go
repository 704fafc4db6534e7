// Package strictyaml decodes one YAML file into structs and refuses whatever it does not fully understand.
//
// The usual ways to decode YAML stop at the first mistake, lose its place, or let a misspelt key pass in silence. In a
// security gateway a key that is silently ignored is a protection that is silently absent. So this package parses to a
// node tree with gopkg.in/yaml.v3, walks the tree against the struct by reflection, and collects every mistake with
// file:line:column, path and, for a misspelt word, the nearest right one.
//
// The journey of a file: [Decode] checks the bytes (source.go), has them parsed (syntax.go), copies the nodes into a tree
// of its own with aliases resolved within bounds (tree.go), and fills the struct (decode.go, scalar.go), expanding
// ${...} on scalars on the way (expand.go). The [Document] that remains answers where a path stands, for the checks that
// other packages make afterwards. [Schema] describes the same structs to editors; both read the struct tags through
// fields.go, so they cannot disagree about them.
//
// # Struct tags
//
//	yaml:"name"          required on every exported field; "-" skips it; the option omitempty is ignored here
//	yaml:",inline"       on a struct: its keys stand beside the others
//	doc:"One sentence."  the description in the schema
//	required:"true"      the key must be present
//	default:"text"       applied when the key is absent; the elements of a list are separated by commas
//	enum:"a,b,c"         what a string, or each string in a list, may be
//	min:"1" max:"9"      bounds of an integer, [Duration] or [Size]; of the length of a list or map
//
// A [Duration] must be above zero unless its tag says min:"0". There is no value that means "unlimited".
//
// # Kinds
//
// Strings, bools, integers, structs, lists, maps with string keys, pointers to these, any (whatever stands there, as
// encoding/json would give it), and every type that implements encoding.TextUnmarshaler, which then gets the scalar's text. A struct or list type that implements it takes either
// form: a scalar for UnmarshalText, or a mapping (or list) for its fields (or elements). Such types may say more about
// themselves ([Duration], [Size] and [Network] do):
//
//	JSONSchema() map[string]any   the schema of the scalar form
//	Wanted() string               what error messages ask for, such as "a rate such as 50/s burst 100"
//
// Any other type is a mistake of the program, and Decode panics about it whatever the file holds.
//
// # Secrets
//
// A value that came from ${...} may be a secret. No error of this package quotes one, and [Document.Errorf] keeps other
// packages from doing so.
package strictyaml
