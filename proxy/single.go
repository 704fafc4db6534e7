package proxy

import (
	"github.com/framegate/framegate/internal/strictyaml"
	"github.com/framegate/framegate/proxy/upstream"
)

// single is what the commands that need no file run; the defaults are those of
// every configuration.
const single = `
version: 1
listeners: [{address: "localhost:0", tls: {certificates: internal}}]
routes: [{name: app, hosts: [localhost], upstream: app}]
upstreams: {app: {servers: ["ws://localhost"]}}
admin: {address: "off"}
log: {format: text}
drain: {delay: 0s, window: 1s, hard_stop: 10s}
`

// Single returns a configuration of one listener, with a certificate of the
// internal CA, one route for hosts and one upstream server. It has no admin
// listener.
func Single(listen, server string, hosts []string) (*Config, error) {
	cfg := &Config{}
	doc, errs := strictyaml.Decode("built-in configuration", []byte(single), nil, cfg)
	if len(errs) > 0 {
		return nil, errs
	}
	cfg.main = doc
	cfg.Listeners[0].Address = listen
	cfg.Routes[0].Hosts = hosts
	cfg.Upstreams["app"] = upstream.Config{Servers: []upstream.ServerConfig{{URL: server}}, Balance: cfg.Upstreams["app"].Balance}
	return cfg, nil
}
