package message

import (
	"fmt"
	"strings"

	"github.com/framegate/framegate/internal/strictyaml"
	"github.com/framegate/framegate/policy/operation"
	"github.com/framegate/framegate/policy/rates"
)

// Report receives one configuration mistake and the path of the value that holds it.
type Report = func(path, format string, args ...any)

// Config is what a policy says about the content of the messages of one side.
type Config struct {
	Operations *OperationsConfig `yaml:"operations" doc:"How an operation's name is taken from a message, and which operations may pass how often."`
	JSON       *JSONConfig       `yaml:"json" doc:"Messages must be strict JSON: valid UTF-8, no name twice in an object, nothing behind the value. The text strict, or a mapping for more."`
	Deny       []DenyConfig      `yaml:"deny" doc:"Patterns (RE2) that no message may match."`
	Conditions []ConditionConfig `yaml:"conditions" doc:"Conditions (CEL) over message, claims, client, route and now; all of them must hold for every message. One that cannot be decided does not hold."`
}

// OperationsConfig says which operations may pass.
type OperationsConfig struct {
	From     SourceConfig            `yaml:"from" required:"true" doc:"Where the name of an operation stands: jsonrpc (the method), graphql-ws (the type, and subscribe:NAME of a named operation), socket.io (the event, with its namespace before it as in /admin:kick), stomp (the command), mqtt (the packet type), mqtt-topics (the packet type with its topic, as in publish:a/b), or {json: /pointer} for a value in a JSON message."`
	Allow    []string                `yaml:"allow" min:"1" doc:"The only operations that may pass; * stands for any text."`
	Deny     []string                `yaml:"deny" min:"1" doc:"Operations that may not pass, whatever allow says; * stands for any text."`
	Unknown  string                  `yaml:"unknown" enum:"allow,deny" doc:"Whether a message without an operation may pass. Default: deny if there is a list allow, else allow."`
	Limits   map[string]rates.Config `yaml:"limits" doc:"How often operations may pass, by name or pattern: a rate for each connection, or a mapping for other keys. Each entry counts all operations that it matches; an operation needs room under all entries that match it. What another rule refuses does not count."`
	MaxBatch int                     `yaml:"max_batch" default:"100" min:"1" max:"10000" doc:"The largest number of operations in one message."`
	Binary   string                  `yaml:"binary" enum:"inspect,pass" default:"inspect" doc:"Whether binary messages are read like text, which many applications do, or pass without operation. Only for sources in JSON."`
	OnMatch  Reaction                `yaml:"on_match" doc:"What happens to a message that may not pass: close (code 1008, the default), drop, or {reply: TEXT}."`
	OnLimit  *rates.Action           `yaml:"on_limit" doc:"What happens to a message over a limit: close (code 1008, the default), drop, delay (nothing is lost, its sender waits), or {reply: TEXT}."`
}

// JSONConfig demands strict JSON.
type JSONConfig struct {
	Strict   *bool           `yaml:"strict" doc:"Always true; may be written for clarity."`
	MaxDepth int             `yaml:"max_depth" default:"32" min:"1" max:"256" doc:"How deep arrays and objects may be nested."`
	MaxSize  strictyaml.Size `yaml:"max_size" doc:"The largest message that is read as JSON. Default: the limit of max_message."`
	Schema   *SchemaConfig   `yaml:"schema" doc:"JSON Schemas (draft 2020-12): one file for all messages, or a mapping."`
	Binary   string          `yaml:"binary" enum:"inspect,pass" default:"inspect" doc:"Whether binary messages must be JSON too, since many applications read both alike, or pass."`
	OnMatch  Reaction        `yaml:"on_match" doc:"What happens to a message that is not JSON, or does not match its schema: close (code 1008, the default), drop, or {reply: TEXT}."`
}

// SchemaConfig names schema files. A message must match every schema that is for it.
type SchemaConfig struct {
	All          string            `yaml:"all" doc:"Schema of every message."`
	Operations   map[string]string `yaml:"operations" doc:"Schemas by operation or pattern. In a batch each element is held against the schema of its own operation."`
	Subprotocols map[string]string `yaml:"subprotocols" doc:"Schemas by the subprotocol of the connection."`
	Files        []string          `yaml:"files" doc:"Further files that these refer to. References lead nowhere else."`
}

// DenyConfig is one pattern that no message may match.
type DenyConfig struct {
	Name    string   `yaml:"name" doc:"The rule's name in logs and metrics, of letters, digits, hyphens, underscores and dots. Default: its place, such as deny[0]."`
	Pattern string   `yaml:"pattern" required:"true" doc:"RE2 over the whole message, without anchors unless it has them."`
	Binary  *bool    `yaml:"binary" doc:"Whether it is held against binary messages too. Default: true, since many applications read both alike."`
	OnMatch Reaction `yaml:"on_match" doc:"What happens to a message that matches: close (code 1008, the default), drop, or {reply: TEXT}."`
}

// ConditionConfig is one condition that every message must meet.
type ConditionConfig struct {
	Name    string   `yaml:"name" doc:"The rule's name in logs and metrics, of letters, digits, hyphens, underscores and dots. Default: its place, such as conditions[0]."`
	Require string   `yaml:"require" required:"true" doc:"CEL expression that must be true."`
	OnMatch Reaction `yaml:"on_match" doc:"What happens to a message that does not meet it: close (code 1008, the default), drop, or {reply: TEXT}."`
}

// UnmarshalText reads the short form, a pattern alone.
func (c *DenyConfig) UnmarshalText(text []byte) error {
	c.Pattern = string(text)
	return nil
}

// Wanted names the short form in error messages.
func (DenyConfig) Wanted() string { return "a pattern" }

// UnmarshalText reads the short form, an expression alone.
func (c *ConditionConfig) UnmarshalText(text []byte) error {
	c.Require = string(text)
	return nil
}

// Wanted names the short form in error messages.
func (ConditionConfig) Wanted() string { return "a CEL expression" }

// UnmarshalText reads the short form, one file for all messages.
func (c *SchemaConfig) UnmarshalText(text []byte) error {
	c.All = string(text)
	return nil
}

// Wanted names the short form in error messages.
func (SchemaConfig) Wanted() string { return "the name of a schema file" }

// UnmarshalText reads the short form, the word strict.
func (c *JSONConfig) UnmarshalText(text []byte) error {
	if string(text) != "strict" {
		return fmt.Errorf("%.64q is not a way to read JSON, want %s", text, c.Wanted())
	}
	return nil
}

// Wanted names the short form in error messages.
func (JSONConfig) Wanted() string { return "strict" }

// JSONSchema describes the short form.
func (JSONConfig) JSONSchema() map[string]any { return map[string]any{"enum": []any{"strict"}} }

// SourceConfig says where the name of an operation stands.
type SourceConfig struct {
	JSON     string `yaml:"json" required:"true" doc:"JSON pointer (RFC 6901) to a text, number or boolean, such as /type."`
	protocol string
}

// UnmarshalText reads the name of a protocol.
func (c *SourceConfig) UnmarshalText(text []byte) error {
	if _, ok := operation.Protocol(string(text)); !ok {
		return fmt.Errorf("%.64q is not a source of operations, want %s", text, c.Wanted())
	}
	c.protocol = string(text)
	return nil
}

// Wanted names the short form in error messages.
func (SourceConfig) Wanted() string {
	return "one of " + strings.Join(operation.Protocols(), ", ") + ", or {json: /pointer}"
}

// JSONSchema describes the short form.
func (SourceConfig) JSONSchema() map[string]any {
	return map[string]any{"enum": operation.Protocols()}
}

// Action is what happens to a message that is refused.
type Action uint8

// The actions.
const (
	Close Action = iota // the connection ends with code 1008 and the reason
	Drop                // the message vanishes as a whole, the connection lives
	Reply               // the message vanishes, and its sender is sent a text
)

// String returns "close", "drop" or "reply".
func (a Action) String() string { return [...]string{"close", "drop", "reply"}[a] }

// Reaction is an Action in the configuration; the zero one is Close.
type Reaction struct {
	Reply *string `yaml:"reply" required:"true" doc:"Text message that is sent to the sender of the one that is dropped."`
	drop  bool
}

// UnmarshalText reads close or drop.
func (r *Reaction) UnmarshalText(text []byte) error {
	switch string(text) {
	case "close", "drop":
		r.drop = string(text) == "drop"
		return nil
	}
	return fmt.Errorf("%.64q is not what can happen to a message, want %s", text, r.Wanted())
}

// Wanted names the forms in error messages.
func (Reaction) Wanted() string { return "close, drop or {reply: TEXT}" }

// JSONSchema describes the short form.
func (Reaction) JSONSchema() map[string]any { return map[string]any{"enum": []any{"close", "drop"}} }
