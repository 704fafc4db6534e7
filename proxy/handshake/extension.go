package handshake

// Limits of Sec-WebSocket-Extensions and Sec-WebSocket-Protocol; browsers offer one extension and applications a few subprotocols.
const (
	maxExtensions   = 16
	maxParams       = 16 // of one extension
	maxSubprotocols = 64
)

// Extension is one element of Sec-WebSocket-Extensions (RFC 6455 section 9.1).
type Extension struct {
	Name   string
	Params []Param
}

// Param is one parameter of an extension. A value is a token, or empty: `name=` and `name=""` are kept, so that an offer which says so can be
// declined instead of refused.
type Param struct {
	Name     string
	Value    string
	HasValue bool
}

// ParseExtensions parses all values of Sec-WebSocket-Extensions in one pass. Not ok are syntax errors, quoted values that are no token once
// unquoted, no extension at all, more than 16 extensions, and more than 16 parameters of one. Its time is linear in the length of values.
func ParseExtensions(values []string) (extensions []Extension, ok bool) {
	for _, value := range values {
		c := cursor{s: value}
		for !c.atEnd() {
			if c.skip(',') {
				continue
			}
			e, ok := c.extension()
			if !ok || len(extensions) == maxExtensions || !c.atEnd() && !c.skip(',') {
				return nil, false
			}
			extensions = append(extensions, e)
		}
	}
	return extensions, len(extensions) > 0
}

// AppendExtensions appends the field value that ParseExtensions reads as extensions.
func AppendExtensions(dst []byte, extensions []Extension) []byte {
	for i, e := range extensions {
		if i > 0 {
			dst = append(dst, ", "...)
		}
		dst = append(dst, e.Name...)
		for _, p := range e.Params {
			dst = append(dst, "; "...)
			dst = append(dst, p.Name...)
			switch {
			case p.HasValue && p.Value == "":
				dst = append(dst, `=""`...)
			case p.HasValue:
				dst = append(dst, '=')
				dst = append(dst, p.Value...)
			}
		}
	}
	return dst
}

// cursor walks over one field value and never goes back.
type cursor struct {
	s string
	i int
}

func (c *cursor) space() {
	for c.i < len(c.s) && (c.s[c.i] == ' ' || c.s[c.i] == '\t') {
		c.i++
	}
}

func (c *cursor) atEnd() bool {
	c.space()
	return c.i == len(c.s)
}

// skip passes over one byte b, with the white space before it.
func (c *cursor) skip(b byte) bool {
	c.space()
	if c.i == len(c.s) || c.s[c.i] != b {
		return false
	}
	c.i++
	return true
}

// token returns "" where none stands.
func (c *cursor) token() string {
	c.space()
	from := c.i
	for c.i < len(c.s) && classes[c.s[c.i]]&classToken != 0 {
		c.i++
	}
	return c.s[from:c.i]
}

func (c *cursor) extension() (e Extension, ok bool) {
	if e.Name = c.token(); e.Name == "" {
		return e, false
	}
	for c.skip(';') {
		p, ok := c.param()
		if !ok || len(e.Params) == maxParams {
			return e, false
		}
		e.Params = append(e.Params, p)
	}
	return e, true
}

func (c *cursor) param() (p Param, ok bool) {
	if p.Name = c.token(); p.Name == "" {
		return p, false
	}
	if p.HasValue = c.skip('='); !p.HasValue {
		return p, true
	}
	if c.skip('"') {
		p.Value, ok = c.quoted()
		return p, ok
	}
	p.Value = c.token()
	return p, true
}

// quoted reads a quoted string whose opening quote is behind the cursor; its content must be a token or empty.
func (c *cursor) quoted() (value string, ok bool) {
	from, escapes := c.i, false
	for ; c.i < len(c.s); c.i++ {
		b := c.s[c.i]
		if b == '"' {
			value = c.s[from:c.i]
			c.i++
			if escapes {
				value = unescape(value)
			}
			return value, true
		}
		if b == '\\' {
			escapes = true
			if c.i++; c.i == len(c.s) {
				return "", false
			}
			b = c.s[c.i]
		}
		if classes[b]&classToken == 0 {
			return "", false
		}
	}
	return "", false
}

// unescape drops the backslash of each quoted pair.
func unescape(s string) string {
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' {
			i++
		}
		out = append(out, s[i])
	}
	return string(out)
}
