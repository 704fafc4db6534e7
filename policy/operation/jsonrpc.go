package operation

func wantMethods(w *want) {
	w.add(name, step{name: "method"})
	w.add(name, step{each: true}, step{name: "method"})
}

func wantTypes(w *want) {
	w.add(name, step{name: "type"})
	w.add(detail, step{name: "payload"}, step{name: "operationName"})
}

// pointerCalls are those of a source {json: /pointer}: one.
func pointerCalls(r *Reader, _ Message) Problem {
	if len(r.json.found) == 0 {
		return r.one(Unnamed, nil)
	}
	return r.one(Named, r.json.textOf(r.json.found[0]))
}

// elementCalls are those of JSON-RPC 2.0: the method of the object, or of each object in a batch (section 6). Responses have none.
func elementCalls(r *Reader, m Message) Problem {
	if r.json.elements <= 0 {
		return pointerCalls(r, m)
	}
	if r.json.elements > r.bounds.Calls {
		return TooMany
	}
	found := r.json.found
	for i := range r.json.elements {
		c := Call{State: Unnamed, Element: i}
		if len(found) > 0 && found[0].element == i {
			c.State, c.Name = Named, r.json.textOf(found[0])
			found = found[1:]
		}
		if p := r.add(c); p != Sound {
			return p
		}
	}
	return Sound
}

// graphqlCalls are those of graphql-transport-ws: the type of the message, with the name of the GraphQL operation in subscribe (and in start of
// the older graphql-ws). That name is the client's own word, and says nothing about what the query asks for.
func graphqlCalls(r *Reader, m Message) Problem {
	var kind, operation []byte
	for _, c := range r.json.found {
		if c.leaf == name {
			kind = r.json.textOf(c)
		} else {
			operation = r.json.textOf(c)
		}
	}
	switch {
	case kind == nil:
		return r.one(Unnamed, nil)
	case len(operation) > 0 && (string(kind) == "subscribe" || string(kind) == "start"):
		kind = r.join(kind, []byte(":"), operation)
	}
	return r.one(Named, kind)
}
