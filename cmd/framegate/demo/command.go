package demo

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/coder/websocket"
)

const (
	// maxReason is the longest close reason in bytes (RFC 6455 section 5.5: 125 less the code).
	maxReason = 123

	// hugeSize is above the gateway's default limit of 1 MiB for one message.
	hugeSize = 2 << 20
)

const commandHelp = "/close CODE REASON: the application closes your connection with that code. " +
	"/die: it drops the connection without a Close. " +
	"/bad: it sends you text that is not UTF-8. " +
	"/huge: it sends you a message of 2 MiB. " +
	"/name NAME: what others call you."

// command carries out what a member typed after a slash; all but /name concern that member's own connection alone.
func (a *App) command(m *member, line string) {
	verb, rest, _ := strings.Cut(line, " ")
	rest = strings.TrimSpace(rest)
	switch verb {
	case "/help":
		m.notice(commandHelp)
	case "/name":
		a.room.rename(m, rest)
	case "/close":
		e, err := parseClose(rest)
		if err != nil {
			m.notice(err.Error())
			return
		}
		m.end(e)
	case "/die":
		m.end(ending{code: -1, abrupt: true})
	case "/bad":
		m.send([]byte("this is not UTF-8: \xc3\x28")) // a lead byte without its continuation
	case "/huge":
		m.send(a.huge)
	default:
		m.notice(fmt.Sprintf("unknown command %q; /help lists them", cleanName(verb)))
	}
}

// parseClose reads "CODE" or "CODE REASON". It admits every code that may stand in a Close frame, also those that only
// a library should send: the gateway has to pass them all on.
func parseClose(s string) (ending, error) {
	number, reason, _ := strings.Cut(s, " ")
	code, err := strconv.ParseUint(number, 10, 16)
	if err != nil || !validCloseCode(code) {
		return ending{}, fmt.Errorf("close code %q: want 1000 to 1014 but not 1004, 1005 or 1006, or 3000 to 4999, "+
			"for example /close 4321 see you", cleanName(number))
	}
	return ending{code: websocket.StatusCode(code), reason: cutReason(strings.TrimSpace(reason))}, nil
}

// validCloseCode tells whether code may go on the wire (RFC 6455 section 7.4 and the IANA registry).
func validCloseCode(code uint64) bool {
	switch {
	case code == 1004 || code == 1005 || code == 1006:
		return false
	case code >= 1000 && code <= 1014:
		return true
	default:
		return code >= 3000 && code <= 4999
	}
}

// cutReason shortens s to maxReason bytes at the edge of a rune.
func cutReason(s string) string {
	if len(s) <= maxReason {
		return s
	}
	end := maxReason
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end]
}
