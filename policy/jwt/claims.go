package jwt

import (
	"math"
	"strconv"
	"sync"
	"time"
)

// Claims are those of a token that was verified. They are not to be changed: whoever sends the same token has the same.
type Claims struct {
	Issuer   string
	Subject  string    // empty if absent
	ID       string    // of jti; empty if absent
	Expires  time.Time // of exp
	Until    time.Time // the token is valid before this: Expires and the leeway of the issuer
	IssuedAt time.Time // of iat; zero if absent

	// All holds every claim under its exact name. The values are nil, bool, string, int64, float64, []any and map[string]any; a number is an
	// int64 if it is written as an integer that float64 could hold too.
	All map[string]any

	memo      *Memo
	notBefore time.Time // of nbf; zero if absent
	audience  []string

	deriving sync.Once
	derived  string
}

// Derive returns what derive makes of the claims: always the same, so it is asked once for all who send the same token.
func (c *Claims) Derive(derive func(*Claims) string) string {
	c.deriving.Do(func() { c.derived = derive(c) })
	return c.derived
}

// Get returns a claim that is a string, a number or a boolean as text, for headers and keys. Another one it does not have.
func (c *Claims) Get(name string) (string, bool) { return scalarText(c.All[name]) }

func scalarText(value any) (string, bool) {
	switch value := value.(type) {
	case string:
		return value, true
	case bool:
		return strconv.FormatBool(value), true
	case int64:
		return strconv.FormatInt(value, 10), true
	case float64:
		return strconv.FormatFloat(value, 'g', -1, 64), true
	}
	return "", false
}

// parseClaims parses the payload of a token and the registered claims in it (RFC 7519, section 4.1). Those of a wrong type are malformed, and
// exp, iss and aud are required.
func parseClaims(payload []byte) (*Claims, error) {
	all, err := decodeObject(payload, len(payload))
	if err != nil {
		return nil, ErrClaims
	}
	r := claimReader{all: all}
	c := &Claims{
		Issuer: r.text("iss"), Subject: r.text("sub"), ID: r.text("jti"), audience: r.texts("aud"),
		Expires: r.date("exp"), IssuedAt: r.date("iat"), notBefore: r.date("nbf"), All: all,
	}
	switch {
	case r.malformed:
		return nil, ErrClaims
	case !r.has("iss") || !r.has("aud") || !r.has("exp"):
		return nil, ErrClaimMissing
	}
	return c, nil
}

// claimReader reads registered claims, which may be absent, and remembers whether one was of a wrong type.
type claimReader struct {
	all       map[string]any
	malformed bool
}

func (r *claimReader) has(name string) bool {
	_, there := r.all[name]
	return there
}

func (r *claimReader) text(name string) string {
	value, ok := text(r.all, name)
	r.malformed = r.malformed || !ok
	return value
}

func (r *claimReader) texts(name string) []string {
	value, ok := texts(r.all[name])
	r.malformed = r.malformed || r.has(name) && !ok
	return value
}

func (r *claimReader) date(name string) time.Time {
	value, ok := numericDate(r.all[name])
	r.malformed = r.malformed || r.has(name) && !ok
	return value
}

// texts returns a value that is a string or a list of strings.
func texts(value any) ([]string, bool) {
	switch value := value.(type) {
	case string:
		return []string{value}, true
	case []any:
		list := make([]string, len(value))
		for i, element := range value {
			var ok bool
			if list[i], ok = element.(string); !ok {
				return nil, false
			}
		}
		return list, true
	}
	return nil, false
}

// maxDate is the last second of the year 9999.
const maxDate = 253402300799

// numericDate reads a NumericDate (RFC 7519, section 2): seconds since 1970, perhaps with a fraction. Only a number is one, and only one that a
// calendar has.
func numericDate(value any) (time.Time, bool) {
	var seconds float64
	switch value := value.(type) {
	case int64:
		seconds = float64(value) // exact: see decodeNumber
	case float64:
		seconds = value
	default:
		return time.Time{}, false
	}
	if !(0 <= seconds && seconds <= maxDate) {
		return time.Time{}, false
	}
	whole, fraction := math.Modf(seconds)
	return time.Unix(int64(whole), int64(fraction*1e9)).UTC(), true
}
