package handshake

import (
	"fmt"
	"net/http"
	"strconv"
)

// What clients are told. The texts are constant: nothing that a peer sent, no address and no version ever stands in them.
const (
	reasonMalformed     = "malformed request"
	reasonFields        = "request header fields too large"
	reasonTarget        = "request target too long"
	reasonHTTPVersion   = "HTTP version not supported"
	reasonCoding        = "transfer coding not supported"
	reasonMethod        = "method not allowed"
	reasonExpectation   = "expectation not supported"
	reasonEarly         = "early data not accepted"
	reasonHandshake     = "malformed WebSocket handshake"
	reasonVersion       = "WebSocket version not supported"
	reasonProtocol      = "protocol not supported"
	reasonHost          = "malformed host"
	reasonPath          = "malformed path"
	reasonUpstreamReply = "bad answer from upstream"
)

// A Refusal is an HTTP answer in place of the one that the peer hoped for, and an error for the log.
type Refusal struct {
	Status int         // HTTP status, 4xx or 5xx
	Reason string      // constant text, shown to the client
	Detail string      // for the log only: which rule was broken; never a value of the client's, which may be a secret in the wrong place
	Header [][2]string // further header fields of the answer, in order
}

// Error says what the log should: status, reason and detail.
func (r *Refusal) Error() string {
	s := strconv.Itoa(r.Status) + " " + r.Reason
	if r.Detail != "" {
		s += ": " + r.Detail
	}
	return s
}

// ProblemType is the media type of Problem.
const ProblemType = "application/problem+json"

// Problem is the body of the answer (RFC 9457): the status, its name and the reason, all of which are ASCII.
func (r *Refusal) Problem() []byte {
	return fmt.Appendf(nil, "{\"title\": %q, \"status\": %d, \"detail\": %q}\n", http.StatusText(r.Status), r.Status, r.Reason)
}

// AppendHTTP1 appends the whole HTTP/1.1 response to dst: a short body, and Connection: close, since bytes that follow a refused handshake
// must never be read as a second request.
func (r *Refusal) AppendHTTP1(dst []byte) []byte {
	dst = append(dst, "HTTP/1.1 "...)
	dst = strconv.AppendInt(dst, int64(r.Status), 10)
	dst = append(dst, ' ')
	dst = append(dst, http.StatusText(r.Status)...)
	dst = append(dst, "\r\nConnection: close\r\n"...)
	for _, f := range r.Header {
		if f[0] == "Upgrade" {
			dst = append(dst, "Connection: Upgrade\r\n"...) // RFC 9110 section 7.8: whoever sends Upgrade names it in Connection
		}
		dst = appendField(dst, f[0], f[1])
	}
	body := r.Problem()
	dst = append(dst, "Content-Type: "+ProblemType+"\r\nX-Content-Type-Options: nosniff\r\nContent-Length: "...)
	dst = strconv.AppendInt(dst, int64(len(body)), 10)
	dst = append(dst, "\r\n\r\n"...)
	return append(dst, body...)
}

func refuse(status int, reason, detail string) *Refusal {
	return &Refusal{Status: status, Reason: reason, Detail: detail}
}

func malformed(detail string) *Refusal { return refuse(http.StatusBadRequest, reasonMalformed, detail) }

func badHandshake(detail string) *Refusal {
	return refuse(http.StatusBadRequest, reasonHandshake, detail)
}

func badReply(detail string) *Refusal {
	return refuse(http.StatusBadGateway, reasonUpstreamReply, detail)
}

// methodNotAllowed is a 405; RFC 9110 section 15.5.6 wants Allow with it.
func methodNotAllowed(detail string) *Refusal {
	r := refuse(http.StatusMethodNotAllowed, reasonMethod, detail)
	r.Header = [][2]string{{"Allow", http.MethodGet}}
	return r
}

// quote makes a peer's value fit for a log line: ASCII, quoted, at most 64 bytes of it. Never use it on values that may hold a secret.
func quote[T text](s T) string {
	const most = 64
	if len(s) > most {
		return strconv.QuoteToASCII(string(s[:most])) + "..."
	}
	return strconv.QuoteToASCII(string(s))
}
