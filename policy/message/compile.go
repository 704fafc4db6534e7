package message

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/framegate/framegate/internal/strictyaml"
	"github.com/framegate/framegate/policy/condition"
	"github.com/framegate/framegate/policy/operation"
	"github.com/framegate/framegate/policy/pattern"
	"github.com/framegate/framegate/policy/rates"
	"github.com/framegate/framegate/policy/schema"
)

const (
	defaultMaxDepth = 32
	defaultMaxBatch = 100
	maxReply        = 4 << 10 // bytes
	maxRuleName     = 64      // bytes
	pass            = "pass"  // a value of binary
)

// Compile makes the inspector of one policy's section for one side. It is nil if the section has no rule that reads payloads, and if there is a
// mistake, which is reported. files reads the schema files that the section names.
func (c Config) Compile(report Report, files func(string) ([]byte, error)) *Inspector {
	k := compiler{files: files, report: report, names: map[string]string{}}
	p := part{source: -1}
	if c.Operations != nil {
		p.operations = k.operations(c.Operations)
	}
	if c.JSON != nil {
		p.json = k.json(c.JSON, p.operations)
	}
	p.deny = k.deny(c.Deny)
	p.conditions = k.conditions(c.Conditions)
	k.compatible(&c, &p)
	if k.failed || p.operations == nil && p.json == nil && len(p.deny)+len(p.conditions) == 0 {
		return nil
	}
	return assemble([]part{p})
}

// compiler makes the rules of one section.
type compiler struct {
	files  func(string) ([]byte, error)
	report Report
	failed bool
	names  map[string]string // of rules, to their places
}

func (k *compiler) fail(path, format string, args ...any) {
	k.failed = true
	k.report(path, format, args...)
}

func (k *compiler) operations(c *OperationsConfig) *operations {
	o := &operations{
		reaction: k.reaction("operations", "operations.on_match", c.OnMatch), source: k.source(c.From),
		hasAllow: c.Allow != nil, allow: k.globs("operations.allow", c.Allow), deny: k.globs("operations.deny", c.Deny),
		max: cmp.Or(c.MaxBatch, defaultMaxBatch), passBinary: c.Binary == pass,
	}
	switch c.Unknown {
	case "", "allow", "deny":
		o.allowNone = c.Unknown == "allow" || c.Unknown == "" && c.Allow == nil
	default:
		k.fail("operations.unknown", "want allow or deny, not %q", c.Unknown)
	}
	if c.MaxBatch < 0 {
		k.fail("operations.max_batch", "max_batch is %d, want a number above zero", c.MaxBatch)
	}
	if len(c.Limits) > maxLimits {
		k.fail("operations.limits", "%d limits, want at most %d", len(c.Limits), maxLimits)
	}
	k.action("operations.on_limit", c.OnLimit)
	for _, name := range slices.Sorted(maps.Keys(c.Limits)) {
		o.limits = append(o.limits, k.limit(name, c.Limits[name], c.OnLimit))
	}
	return o
}

// limit compiles what is said of the operations of a name or pattern.
func (k *compiler) limit(name string, c rates.Config, common *rates.Action) Limit {
	path := strictyaml.Key("operations.limits", name)
	k.action(strictyaml.Join(path, "on_limit"), c.OnLimit)
	if len(c.Limits()) == 0 {
		k.fail(path, "no rate, want one such as 2/s burst 5, or one of per_connection, per_ip, per_user, per_claim and per_route")
	}
	for _, l := range c.Limits() {
		if r := l.Rate; !(r.PerSecond > 0) || math.IsInf(r.PerSecond, 0) || r.Burst < 1 {
			k.fail(path, "a rate of %s lets nothing pass, want one such as 2/s burst 5", r)
		}
	}
	return Limit{Rule: "operations.limits." + name, Rates: c, Action: cmp.Or(c.OnLimit, common), operations: k.glob(path, name)}
}

// action checks what happens at a limit.
func (k *compiler) action(path string, a *rates.Action) {
	if err := a.Check(); err != nil {
		k.fail(strictyaml.Key(path, "reply"), "%v", err)
	}
}

// source compiles the place where operations are named.
func (k *compiler) source(c SourceConfig) operation.Source {
	if s, ok := operation.Protocol(c.protocol); ok {
		return s
	}
	s, err := operation.Pointer(c.JSON)
	if err != nil {
		k.fail("operations.from.json", "%v", err)
	}
	return s
}

func (k *compiler) globs(path string, texts []string) []pattern.Glob {
	if texts != nil && (len(texts) == 0 || len(texts) > maxPatterns) {
		k.fail(path, "%d entries, want 1 to %d", len(texts), maxPatterns)
	}
	var globs []pattern.Glob
	for i, text := range texts {
		globs = append(globs, k.glob(fmt.Sprintf("%s[%d]", path, i), text))
	}
	return globs
}

func (k *compiler) glob(path, text string) pattern.Glob {
	g, err := pattern.CompileGlob(text)
	if err != nil {
		k.fail(path, "%v", err)
	}
	return g
}

// reaction compiles what a rule does.
func (k *compiler) reaction(rule, path string, c Reaction) reaction {
	r := reaction{rule: rule}
	switch {
	case c.Reply != nil:
		r.action, r.reply = Reply, []byte(*c.Reply)
		if len(r.reply) == 0 || len(r.reply) > maxReply || !utf8.Valid(r.reply) {
			k.fail(strictyaml.Key(path, "reply"), "the reply has %d bytes, want 1 to %d of valid UTF-8", len(r.reply), maxReply)
		}
	case c.drop:
		r.action = Drop
	}
	return r
}

func (k *compiler) json(c *JSONConfig, o *operations) *jsonRule {
	j := &jsonRule{
		reaction: k.reaction("json", "json.on_match", c.OnMatch),
		maxDepth: cmp.Or(c.MaxDepth, defaultMaxDepth), maxSize: cmp.Or(int(c.MaxSize), math.MaxInt), passBinary: c.Binary == pass,
	}
	if c.Strict != nil && !*c.Strict {
		k.fail("json.strict", "strict is false, want true, or no section json")
	}
	if c.MaxDepth < 0 || c.MaxDepth > 256 {
		k.fail("json.max_depth", "max_depth is %d, want 1 to 256", c.MaxDepth)
	}
	if c.MaxSize < 0 {
		k.fail("json.max_size", "max_size is %d, want a size such as 64KiB", int64(c.MaxSize))
	}
	if c.Schema != nil {
		j.schemas = k.schemas(c.Schema, o)
		j.schemas.reaction = k.reaction("json.schema", "json.on_match", c.OnMatch)
	}
	return j
}

func (k *compiler) schemas(c *SchemaConfig, o *operations) *schemaRule {
	files := schema.NewCompiler()
	known := map[string]bool{}
	add := func(path, file string) {
		if _, ok := known[file]; ok || file == "" {
			return
		}
		known[file] = k.addFile(files, path, file)
	}
	add("json.schema.all", c.All)
	operations, subprotocols := slices.Sorted(maps.Keys(c.Operations)), slices.Sorted(maps.Keys(c.Subprotocols))
	for _, name := range operations {
		add(strictyaml.Key("json.schema.operations", name), c.Operations[name])
	}
	for _, name := range subprotocols {
		add(strictyaml.Key("json.schema.subprotocols", name), c.Subprotocols[name])
	}
	for i, file := range c.Files {
		add(fmt.Sprintf("json.schema.files[%d]", i), file)
	}
	compile := func(path, file string) *schema.Schema {
		if file == "" {
			k.fail(path, "want the name of a schema file")
		}
		if !known[file] {
			return nil
		}
		s, err := files.Compile(file)
		if err != nil {
			k.fail(path, "schema file %q: %v", file, err)
		}
		return s
	}
	rule := &schemaRule{subprotocols: map[string]*schema.Schema{}}
	if c.All != "" {
		rule.all = compile("json.schema.all", c.All)
	} else if len(operations)+len(subprotocols) == 0 {
		k.fail("json.schema", "no schema, want all, operations or subprotocols")
	}
	if len(operations) > 0 && o == nil || len(operations) > maxLimits {
		k.fail("json.schema.operations", "want at most %d, and a section operations that says where their names stand", maxLimits)
		return rule
	}
	for _, name := range operations {
		path := strictyaml.Key("json.schema.operations", name)
		rule.operations = append(rule.operations, compile(path, c.Operations[name]))
		o.schemas = append(o.schemas, k.glob(path, name))
	}
	for _, name := range subprotocols {
		rule.subprotocols[name] = compile(strictyaml.Key("json.schema.subprotocols", name), c.Subprotocols[name])
	}
	return rule
}

// addFile reads a schema file and says whether it can be used.
func (k *compiler) addFile(to *schema.Compiler, path, file string) bool {
	content, err := k.files(file)
	if err == nil {
		err = to.Add(file, content)
	}
	if err != nil {
		k.fail(path, "schema file %q: %v", file, err)
	}
	return err == nil
}

// deny compiles the patterns, whose programs together have a bounded size: a message is held against all of them.
func (k *compiler) deny(all []DenyConfig) []denyRule {
	var rules []denyRule
	size := 0
	for i, c := range all {
		path := fmt.Sprintf("deny[%d]", i)
		rule := denyRule{binary: c.Binary == nil || *c.Binary}
		rule.reaction = k.reaction(k.name("deny", i, c.Name), strictyaml.Key(path, "on_match"), c.OnMatch)
		var err error
		if rule.pattern, err = pattern.Compile(c.Pattern); err != nil {
			k.fail(strictyaml.Key(path, "pattern"), "%v", err)
			continue
		}
		if c.Pattern == "" {
			k.fail(strictyaml.Key(path, "pattern"), "it is empty and would match every message")
		}
		if size += rule.pattern.Size(); size > pattern.MaxSize {
			k.fail(strictyaml.Key(path, "pattern"), "with this one the patterns compile to %d instructions, want at most %d for all of them", size, pattern.MaxSize)
		}
		rules = append(rules, rule)
	}
	return rules
}

func (k *compiler) conditions(all []ConditionConfig) []conditionRule {
	var rules []conditionRule
	if len(all) == 0 {
		return nil
	}
	scope := condition.Message()
	for i, c := range all {
		path := fmt.Sprintf("conditions[%d]", i)
		rule := conditionRule{reaction: k.reaction(k.name("conditions", i, c.Name), strictyaml.Key(path, "on_match"), c.OnMatch)}
		var err error
		if rule.condition, err = scope.Compile(c.Require); err != nil {
			k.fail(strictyaml.Key(path, "require"), "%v", err)
			continue
		}
		rule.readsJSON, rule.readsText = rule.condition.Reads("message", "json"), rule.condition.Reads("message", "text")
		rules = append(rules, rule)
	}
	return rules
}

// name is that of a rule in a list: its own, which no other rule of the section has, or its place.
func (k *compiler) name(list string, i int, own string) string {
	path := fmt.Sprintf("%s[%d]", list, i)
	if own == "" {
		return path
	}
	odd := func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' || r == '.')
	}
	switch {
	case len(own) > maxRuleName || strings.ContainsFunc(own, odd):
		k.fail(path+".name", "%q is not a name, want at most %d letters, digits, hyphens, underscores and dots", own, maxRuleName)
	case own == "json", strings.HasPrefix(own, "json."), own == "operations", strings.HasPrefix(own, "operations."):
		k.fail(path+".name", "%q is the name of a rule of the section %s", own, own[:strings.IndexByte(own+".", '.')])
	case k.names[own] != "":
		k.fail(path+".name", "%q is the name of %s already", own, k.names[own])
	}
	k.names[own] = path
	return own
}

// compatible reports rules that could not do anything in messages of the section's source.
func (k *compiler) compatible(c *Config, p *part) {
	if p.operations == nil {
		return
	}
	src := p.operations.source
	json, whole := src.JSON()
	if !whole && c.Operations.Binary == pass {
		k.fail("operations.binary", "a source %s knows itself what binary messages are", src)
	}
	if !json && p.json != nil {
		k.fail("json", "messages of a source %s are not JSON", src)
	}
	for i, rule := range p.conditions {
		if !json && rule.readsJSON {
			k.fail(fmt.Sprintf("conditions[%d].require", i), "messages of a source %s are not JSON, so there is no message.json", src)
		}
	}
	if !src.Binary() {
		return
	}
	replies := func(rule string) {
		k.fail("operations.from", "messages of a source %s are binary, so the reply of rule %s, a text, would not be understood", src, rule)
	}
	p.each(func(r *reaction) {
		if r.action == Reply {
			replies(r.rule)
		}
	})
	for _, l := range p.operations.limits {
		if l.Action.Name() == rates.Reply {
			replies(l.Rule)
		}
	}
}
