package jwks

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/framegate/framegate/policy/jwt"
	"github.com/framegate/framegate/policy/outbound"
)

const (
	fetchTimeout = 5 * time.Second

	defaultLifetime = 10 * time.Minute
	minLifetime     = time.Minute
	maxLifetime     = 24 * time.Hour
)

// answer is what came from the URL.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// The results of a fetch, as the metrics name them.
const (
	resultOK          = "ok"
	resultUnreachable = "unreachable" // no answer
	resultStatus      = "status"      // another one than 200, a redirect for example
	resultInvalid     = "invalid"     // no key set, or none with a key that can be used
)

var results = []string{resultOK, resultUnreachable, resultStatus, resultInvalid}

// parse reads the keys of an answer, and why others were skipped. All errors are fit for the log, they quote nothing but key ids.
func (a answer) parse() (set *jwt.KeySet, skipped []error, result string, err error) {
	if a.status != http.StatusOK {
		return nil, nil, resultStatus, fmt.Errorf("the answer has status %d, want 200", a.status)
	}
	set, flaws := jwt.ParseKeySet(a.body)
	switch {
	case set == nil:
		return nil, nil, resultInvalid, flaws[0]
	case set.Len() > 0:
		return set, flaws, resultOK, nil
	case len(flaws) > 0:
		return nil, nil, resultInvalid, fmt.Errorf("no key can be used: %w", flaws[0])
	}
	return nil, nil, resultInvalid, errors.New("the set has no key")
}

// get asks the URL of c once. Each request has a connection of its own, closed behind it: they are minutes apart.
func get(ctx context.Context, c Config) (answer, error) {
	var service outbound.Service
	err := outbound.Problem(func(report outbound.Report) {
		service = outbound.Service{URL: outbound.CheckURL(c.URL, c.plain(), "jwks_url", report), Plain: c.plain(), Timeout: fetchTimeout}
		if c.CAFile != "" {
			service.Roots = outbound.Roots(c.CAFile, "jwks_ca", report)
		}
	})
	if err != nil {
		return answer{}, err
	}
	transport := service.Transport()
	defer transport.CloseIdleConnections() // ends a dial that nobody waits for any more
	r := (&http.Request{Method: http.MethodGet, URL: service.URL, Header: http.Header{
		"Accept":     {"application/jwk-set+json, application/json"}, // RFC 7517, section 8.5.2
		"User-Agent": {outbound.UserAgent},
	}}).WithContext(ctx)
	resp, err := transport.RoundTrip(r)
	if err != nil {
		return answer{}, errors.New(outbound.Explain(err))
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, jwt.MaxKeySet+1)) // one byte too many is for parse to refuse
	if err != nil {
		return answer{}, errors.New(outbound.Explain(err))
	}
	return answer{resp.StatusCode, resp.Header, body}, nil
}

// lifetime is how long an answer is fresh by its Cache-Control (RFC 9111, section 5.2.2), within bounds: an issuer that says no-store or
// max-age=0 is asked once a minute, one that names a year once a day.
func lifetime(h http.Header) time.Duration {
	seconds := int64(-1)
	for _, value := range h.Values("Cache-Control") {
		for directive := range strings.SplitSeq(value, ",") {
			name, argument, _ := strings.Cut(strings.TrimSpace(directive), "=")
			switch strings.ToLower(name) {
			case "no-store", "no-cache":
				return minLifetime
			case "max-age":
				// A number that is too large for its type comes back as the largest.
				if n, err := strconv.ParseInt(strings.Trim(argument, `"`), 10, 64); err == nil || errors.Is(err, strconv.ErrRange) {
					seconds = n
				}
			}
		}
	}
	if seconds < 0 {
		return defaultLifetime
	}
	return min(max(time.Duration(min(seconds, int64(maxLifetime/time.Second)))*time.Second, minLifetime), maxLifetime)
}
