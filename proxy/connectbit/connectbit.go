// Package connectbit makes net/http offer extended CONNECT (RFC 8441 section 3) on HTTP/2.
//
// net/http looks for http2xconnect=1 in the environment variable GODEBUG when its own init runs, and nowhere else. A program cannot ask for it
// by a go:debug line. Packages that are ready are initialised in the order of their import paths (Go specification, "Program
// initialization"): this one needs little and its path sorts before net/http, so it comes first. What the operator has set stays.
package connectbit

import (
	"os"
	"strings"
)

func init() {
	set := os.Getenv("GODEBUG")
	if strings.Contains(set, "http2xconnect=") {
		return
	}
	os.Setenv("GODEBUG", strings.Trim(set+",http2xconnect=1", ","))
}
