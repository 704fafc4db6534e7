package policytest

import "testing"

func TestCertificatesOfClients(t *testing.T) {
	t.Parallel()
	const config = `version: 1
listeners: [{address: ":8443", tls: {certificates: internal}}]
routes: [{name: app, hosts: [app.example.com], upstream: app, policies: [feeders]}]
upstreams: {app: {servers: ["ws://127.0.0.1:9000"]}}
policies: {feeders: {origin: {absent: allow}, conditions: [{require: "'spiffe://example.com/feeder' in certificate.uris && certificate.subject == 'CN=f1,O=Example'"}]}}
`
	s := run(t, config, `tests:
  - {name: a feeder, request: {url: "wss://app.example.com/", certificate: {common_name: f1, organization: [Example], uris: ["spiffe://example.com/feeder"]}}, expect: {decision: admit}}
  - {name: another one, request: {url: "wss://app.example.com/", certificate: {common_name: f2, uris: ["spiffe://example.com/feeder"]}}, expect: {decision: refuse, status: 403, rule: "conditions[0]"}}
  - {name: none, request: {url: "wss://app.example.com/"}, expect: {decision: refuse, status: 403, rule: "conditions[0]"}}
`)
	for _, r := range s.Results {
		if len(r.Failures) > 0 {
			t.Errorf("%s: %+v", r.Name, r.Failures)
		}
	}
	if err := (&Request{URL: "wss://app.example.com/", Address: "192.0.2.1", Certificate: &Certificate{URIs: []string{"feeder"}}}).Check(); err == nil {
		t.Error("a URI without a scheme was taken")
	}
}
