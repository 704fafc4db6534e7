package outbound

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"unicode"
)

// maxExplained bounds an explanation, in bytes.
const maxExplained = 256

// Explain says for the log why a request failed: what the network or TLS had to say, short and without control characters. Whatever else the
// other side sent is not shown: net/http quotes a malformed answer, which may be anything.
func Explain(err error) string {
	var network net.Error
	var certificate *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	switch {
	case errors.As(err, &network) && network.Timeout():
		return "timed out"
	case errors.As(err, &record):
		return "the server does not speak TLS"
	case errors.As(err, &network), errors.As(err, &certificate), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return brief(err.Error())
	}
	return "no valid TLS or HTTP in the answer"
}

// brief cuts a text, and replaces what steers a terminal or cannot be seen.
func brief(s string) string {
	if len(s) > maxExplained {
		s = strings.ToValidUTF8(s[:maxExplained], "") + "..."
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsGraphic(r) && r != unicode.ReplacementChar {
			return r
		}
		return '?'
	}, s)
}

// Problem turns the mistakes that a check reports into one error, for those who have no configuration file to point at.
func Problem(check func(Report)) error {
	var all []error
	check(func(path, format string, args ...any) {
		all = append(all, fmt.Errorf("%s: %s", path, fmt.Sprintf(format, args...)))
	})
	return errors.Join(all...)
}
