package operation

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
)

// want is a tree of the places in a JSON value that somebody wants to know of.
type want struct {
	members map[string]*want // of an object by name, or of an array by index
	names   [][]byte         // of members
	each    *want            // of every element of an array
	leaf    role
}

// role is what stands at a wanted place.
type role uint8

const (
	nothing role = iota
	name         // of the operation
	detail       // that is added to the name
)

// step is one part of a path: a name or index, or every element of an array.
type step struct {
	name string
	each bool
}

func (w *want) add(leaf role, path ...step) {
	for _, s := range path {
		if s.each {
			if w.each == nil {
				w.each = &want{}
			}
			w = w.each
			continue
		}
		if w.members == nil {
			w.members = map[string]*want{}
		}
		if w.members[s.name] == nil {
			w.members[s.name] = &want{}
			w.names = append(w.names, []byte(s.name))
		}
		w = w.members[s.name]
	}
	w.leaf = leaf
}

// member returns what is wanted of the object's member of that name. It says that the name is ambiguous if it differs only in case from one
// that is wanted: some applications would take it for that.
func (w *want) member(name []byte) (sub *want, ambiguous bool) {
	if w == nil {
		return nil, false
	}
	if sub, ok := w.members[string(name)]; ok {
		return sub, false
	}
	for _, known := range w.names {
		if bytes.EqualFold(known, name) {
			return nil, true
		}
	}
	return nil, false
}

// element returns what is wanted of the array's element at an index.
func (w *want) element(i int) *want {
	if w == nil {
		return nil
	}
	if w.each != nil || len(w.members) == 0 {
		return w.each
	}
	var room [20]byte
	return w.members[string(strconv.AppendInt(room[:0], int64(i), 10))]
}

// parsePointer reads a JSON pointer (RFC 6901) that points below the root.
func parsePointer(pointer string) ([]step, error) {
	rest, ok := strings.CutPrefix(pointer, "/")
	if !ok {
		return nil, fmt.Errorf("%q is not a JSON pointer, want one such as /type or /body/action", pointer)
	}
	var path []step
	for token := range strings.SplitSeq(rest, "/") {
		if strings.Contains(strings.NewReplacer("~0", "", "~1", "").Replace(token), "~") {
			return nil, fmt.Errorf("%q is not a JSON pointer: ~ stands only in ~0 (for ~) and ~1 (for /)", pointer)
		}
		path = append(path, step{name: strings.NewReplacer("~1", "/", "~0", "~").Replace(token)})
	}
	return path, nil
}
