package rates

import (
	"errors"
	"fmt"
	"unicode/utf8"
)

// maxReply is the size of a reply in bytes.
const maxReply = 4 << 10

// Action is what happens to a message over a limit.
type Action struct {
	Reply string `yaml:"reply" required:"true" doc:"A text message for the sender, of at most 4 KiB; the message that was too much is dropped."`
	word  string // close, drop or delay; reply where it is empty
}

// The actions at a limit.
const (
	Close = "close"
	Drop  = "drop"
	Delay = "delay"
	Reply = "reply"
)

// UnmarshalText reads the form that is a word.
func (a *Action) UnmarshalText(text []byte) error {
	switch word := string(text); word {
	case Close, Drop, Delay:
		a.word = word
		return nil
	}
	return errAction
}

// Wanted names the forms in error messages.
func (Action) Wanted() string { return "close, drop, delay or {reply: TEXT}" }

// JSONSchema describes the form that is a word.
func (Action) JSONSchema() map[string]any {
	return map[string]any{"type": "string", "enum": []any{Close, Drop, Delay}}
}

var errAction = errors.New("want " + Action{}.Wanted())

// Name is the action's, Close for none.
func (a *Action) Name() string {
	switch {
	case a == nil:
		return Close
	case a.word == "":
		return Reply
	}
	return a.word
}

// Text is what is sent with Reply.
func (a *Action) Text() string {
	if a == nil {
		return ""
	}
	return a.Reply
}

// Check says what makes the action impossible.
func (a *Action) Check() error {
	if n := len(a.Text()); a.Name() == Reply && (n == 0 || n > maxReply || !utf8.ValidString(a.Reply)) {
		return fmt.Errorf("the reply has %d bytes, want 1 to %d of valid UTF-8", n, maxReply)
	}
	return nil
}
