package strictyaml

import (
	"fmt"
	"strings"

	"gopkg.in/yaml.v3"
)

const (
	nullTag  = "!!null"
	mergeTag = "!!merge"

	maxDepth   = 64     // levels of lists and mappings
	maxAliased = 10_000 // nodes that all aliases of a file stand for
)

type kind uint8

const (
	broken kind = iota // reported already, decodes to nothing
	scalar
	null
	list
	mapping
)

// node is a value in the file. Aliases are resolved: an alias is a copy of its anchor's node with its own position, and
// shares what is below.
type node struct {
	kind   kind
	at     Position
	text   string // of a scalar, before expansion; of a null what stands in the file
	quoted bool
	fields []member // of a mapping, in the order of the file
	items  []*node  // of a list

	nodes, depth int        // of the whole value, with aliases resolved
	expansion    *expansion // of a scalar, once it was asked for
}

// member is one key of a mapping, or one entry of a list, which has no key.
type member struct {
	key   string
	at    Position // of the key
	value *node
}

// builder copies the parser's nodes into a tree and reports what no file may hold, whatever struct it is for. Its cost is
// linear in the size of the file: an alias is counted, not copied.
type builder struct {
	*collector
	anchored map[*yaml.Node]*node // nil while the value is being built
	aliased  int                  // nodes that aliases stood for so far; above maxAliased no further one is resolved
}

func newBuilder(c *collector) *builder {
	return &builder{collector: c, anchored: make(map[*yaml.Node]*node)}
}

func (b *builder) build(y *yaml.Node, path string, level int) *node {
	at := Position{y.Line, y.Column}
	if y.Style&yaml.TaggedStyle != 0 {
		return b.refuse(at, path, "explicit types such as "+quote(y.Tag)+" are not supported")
	}
	if level > maxDepth {
		return b.refuse(at, path, fmt.Sprintf("nested deeper than %d levels", maxDepth))
	}
	n := &node{at: at, nodes: 1, depth: 1}
	if y.Anchor != "" {
		b.anchored[y] = nil
		defer func() { b.anchored[y] = n }()
	}
	switch y.Kind {
	case yaml.AliasNode:
		return b.alias(y, path, level)
	case yaml.SequenceNode:
		n.kind = list
		for i, item := range y.Content {
			n.items = append(n.items, n.hold(b.build(item, index(path, i), level+1)))
		}
	case yaml.MappingNode:
		n.kind = mapping
		b.mapping(n, y, path, level)
	default:
		n.kind, n.text, n.quoted = scalar, y.Value, y.Style != 0
		if y.Tag == nullTag {
			n.kind = null
		}
	}
	return n
}

// refuse reports a value and returns what stands for it.
func (b *builder) refuse(at Position, path, message string) *node {
	b.add(at, path, message)
	return &node{at: at}
}

// hold counts child as a part of n.
func (n *node) hold(child *node) *node {
	n.nodes += child.nodes
	n.depth = max(n.depth, child.depth+1)
	return child
}

func (b *builder) alias(y *yaml.Node, path string, level int) *node {
	at := Position{y.Line, y.Column}
	target, visited := b.anchored[y.Alias]
	switch {
	case !visited, b.aliased > maxAliased: // reported already: it is part of a refused value, or there are too many
		return &node{at: at}
	case target == nil:
		return b.refuse(at, path, "the alias *"+y.Value+" stands inside of what it refers to")
	case level+target.depth-1 > maxDepth:
		return b.refuse(at, path, fmt.Sprintf("nested deeper than %d levels", maxDepth))
	}
	if b.aliased += target.nodes; b.aliased > maxAliased {
		return b.refuse(at, path, fmt.Sprintf("the aliases of this file stand for more than %d values", maxAliased))
	}
	n := *target
	n.at = at
	return &n
}

func (b *builder) mapping(n *node, y *yaml.Node, path string, level int) {
	first := make(map[string]Position, len(y.Content)/2)
	for i := 0; i+1 < len(y.Content); i += 2 {
		k := y.Content[i]
		at := Position{k.Line, k.Column}
		if problem := refuseKey(k); problem != "" {
			b.add(at, path, problem)
			continue
		}
		if k.Anchor != "" {
			b.build(k, path, level)
		}
		inner := Key(path, k.Value)
		if before, ok := first[k.Value]; ok {
			b.add(at, inner, fmt.Sprintf("duplicate key, the first one is in line %d", before.Line))
			continue
		}
		first[k.Value] = at
		n.fields = append(n.fields, member{k.Value, at, n.hold(b.build(y.Content[i+1], inner, level+1))})
	}
}

// refuseKey says why k cannot be a key, or "".
func refuseKey(k *yaml.Node) string {
	switch {
	case k.Kind == yaml.AliasNode:
		return "an alias cannot be a key"
	case k.Kind != yaml.ScalarNode:
		return "a key must be text"
	case k.Tag == mergeTag:
		return "merge keys (<<) are not supported, write the keys out or use an alias for the whole value"
	case k.Style&yaml.TaggedStyle != 0:
		return "explicit types such as " + quote(k.Tag) + " are not supported"
	case k.Value == "":
		return "the key is empty"
	case strings.Contains(k.Value, "${"):
		return "a key cannot be expanded, ${...} works in values only"
	}
	return ""
}
