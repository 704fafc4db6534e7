package demo

import (
	"encoding/json"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/coder/websocket"
)

const (
	maxText = 2000 // runes of one chat message
	maxName = 24   // runes of a name
)

// The types of request. A page sends the first two; the third is what a binary message becomes.
const (
	requestName   = "name"
	requestSay    = "say"
	requestBinary = "binary"
)

// request is what a client sends: {"type":"name","name":"Ada"} or {"type":"say","text":"Hello"}.
type request struct {
	Type string `json:"type"`
	Name string `json:"name"`
	Text string `json:"text"`
}

// parseRequest never fails: what is not a request is taken as said.
func parseRequest(kind websocket.MessageType, data []byte) request {
	if kind == websocket.MessageBinary {
		return request{Type: requestBinary, Text: string(data)}
	}
	var r request
	if err := json.Unmarshal(data, &r); err == nil && (r.Type == requestName || r.Type == requestSay) {
		r.Text = strings.TrimSpace(r.Text)
		return r
	}
	return request{Type: requestSay, Text: strings.TrimSpace(strings.ToValidUTF8(string(data), "\uFFFD"))}
}

// The types of event.
const (
	eventWelcome = "welcome" // Name is the receiver's own; People includes it; History is oldest first
	eventMessage = "message" // Name said Text
	eventJoin    = "join"    // Name came
	eventLeave   = "leave"   // Name went
	eventRename  = "rename"  // Name is now called To
	eventNotice  = "notice"  // Text is from the application, for the receiver alone
)

// event is what the application sends, as one text message.
type event struct {
	Type    string   `json:"type"`
	Name    string   `json:"name,omitempty"`
	To      string   `json:"to,omitempty"`
	Text    string   `json:"text,omitempty"`
	At      int64    `json:"at,omitempty"` // Unix time in milliseconds
	People  []string `json:"people,omitempty"`
	History []event  `json:"history,omitempty"`
}

func (e event) encode() []byte {
	if e.At == 0 {
		e.At = time.Now().UnixMilli()
	}
	b, err := json.Marshal(e)
	if err != nil {
		panic("demo: an event holds nothing that JSON cannot: " + err.Error())
	}
	return b
}

// notice tells m alone.
func (m *member) notice(text string) {
	m.send(event{Type: eventNotice, Text: text}.encode())
}

// cleanName makes a name fit to be shown: one line, no invisible runes, at most maxName runes. It may return "".
func cleanName(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) {
			return ' '
		}
		if !unicode.IsPrint(r) || r == utf8.RuneError {
			return -1
		}
		return r
	}, s)
	s = strings.Join(strings.Fields(s), " ")
	runes := []rune(s)
	if len(runes) > maxName {
		s = strings.TrimSpace(string(runes[:maxName]))
	}
	return s
}
