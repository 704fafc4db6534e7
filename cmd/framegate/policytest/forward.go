package policytest

import (
	"errors"
	"io"
	"net/http"
	"strings"
)

// Service is what the services of forward_auth answer while one request is
// decided about. Nobody asks them.
type Service struct {
	Status  int               `yaml:"status" default:"200" min:"200" max:"599" doc:"The HTTP status of the answer."`
	Headers map[string]Values `yaml:"headers" doc:"Header fields of the answer, each with its value or a list of values."`
}

// A stage is where services answer. On an empty one none can be reached.
type stage struct{ service *Service }

// RoundTrip implements http.RoundTripper.
func (s *stage) RoundTrip(r *http.Request) (*http.Response, error) {
	if s.service == nil {
		return nil, errors.New("the test says nothing of an answer")
	}
	h := http.Header{}
	for name, values := range s.service.Headers {
		h[http.CanonicalHeaderKey(name)] = values
	}
	return &http.Response{StatusCode: s.service.Status, Header: h, Body: io.NopCloser(strings.NewReader("")), Request: r}, nil
}
