package main

import (
	"fmt"
	"net"
	"net/url"
	"strings"
)

// serverOf turns what a person types after --to into a server of an upstream:
// localhost:3000, http://localhost:3000, wss://app.internal.
func serverOf(to string) (string, error) {
	if !strings.Contains(to, "://") {
		to = "ws://" + to
	}
	u, err := url.Parse(to)
	if err != nil || u.Host == "" && u.Scheme != "unix" {
		return "", fmt.Errorf("--to %q is not an upstream, want one such as localhost:3000 or wss://app.internal", to)
	}
	switch u.Scheme {
	case "http":
		u.Scheme = "ws"
	case "https":
		u.Scheme = "wss"
	}
	if u.Path == "/" {
		u.Path = ""
	}
	return u.String(), nil
}

// listenOn turns localhost:PORT into the address to bind, and hosts to serve.
func listenOn(listen string) (address string, err error) {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return "", fmt.Errorf("--listen %q is not an address, want host:port such as localhost:8443", listen)
	}
	if host == "localhost" {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port), nil
}
