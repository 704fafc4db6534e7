// Package message inspects whole messages: which operations of the application one holds, whether it is strict JSON, whether it matches its
// schema, no deny pattern and every condition. It is pure: it is given the payload and told the time.
//
// # The journey of a message
//
//	inspector.go   each policy of a route is asked in turn; the first rule that refuses decides, or is noted if its policy is in shadow
//	operations.go  may the operations of the message pass (package operation finds them), and
//	limits.go      which limits do they count for?
//	json.go        is it strict JSON, does each operation match its schema (package schema)?
//	deny.go        does a pattern match it?
//	conditions.go  does every condition hold, for each operation (package condition)?
//
// A message is read once for all policies. A batch is several operations, each with its own element as JSON, and each must pass.
//
// # Bounds
//
// Work and memory are linear in the size of the message, with these factors:
//
//	finding operations   what package operation says
//	lists and limits     for each operation one pass over its name for each pattern that is no plain name, of which a list has maxPatterns
//	deny patterns        one pass for each, of at most pattern.MaxSize instructions for all of them together
//	schemas              a fixed number of steps for each byte (package schema)
//	conditions           the cost limit of package condition, for each condition and operation
//
// Between messages a connection keeps one number for each limit and what package operation keeps; nothing before its first message.
package message
