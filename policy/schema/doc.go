// Package schema checks JSON values against JSON Schemas (draft 2020-12) with bounded work.
//
// github.com/santhosh-tekuri/jsonschema reads the schemas: it checks them against the meta-schema, resolves references and anchors. This
// package translates what comes out of it into nodes of its own and evaluates those, because a validator for documents does what one for
// messages of strangers must not: it collects every error, which costs memory for each wrong element; it follows a recursive oneOf with
// work that doubles at each level of the message; and it compares the elements under uniqueItems pairwise.
//
// # Bounds
//
// Everything that evaluation does costs steps: one for each schema that is applied to a value, and more for texts, patterns and comparisons,
// by length. A value may cost stepsBase, and all values of a message together stepsPerByte for each byte of it; then the evaluation stops. Its
// stack is bounded by the value's depth times maxChain. It stops at the first thing that decides, and allocates only for uniqueItems, unevaluated*, and
// numbers under a multipleOf with fractions.
//
// # What differs from the specification
//
// The keyword format is an assertion, and an unknown one a mistake: who writes "format: uuid" into a policy means it. A $dynamicRef, a format
// regex and other drafts than 2020-12 are refused. Numbers are float64, in messages and in schemas. Patterns are RE2, of limited size.
package schema
