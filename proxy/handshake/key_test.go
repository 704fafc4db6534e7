package handshake

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestAcceptKey(t *testing.T) {
	if got := AcceptKey(sampleKey); got != sampleAccept {
		t.Errorf("got %s, want %s", got, sampleAccept)
	}
}

func TestNewKey(t *testing.T) {
	key, err := NewKey(strings.NewReader("the sample nonce"))
	if err != nil || key != sampleKey {
		t.Errorf("got %q, %v; want %q", key, err, sampleKey)
	}
	other, err := NewKey(rand.Reader)
	if err != nil || !validKey(other) || other == key {
		t.Errorf("got %q, %v", other, err)
	}
	if key, err := NewKey(bytes.NewReader(make([]byte, 15))); key != "" || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("with 15 bytes: %q, %v", key, err)
	}
}

func TestValidKey(t *testing.T) {
	for key, want := range map[string]bool{
		sampleKey:                     true,
		"AAAAAAAAAAAAAAAAAAAAAA==":    true,
		"AAAAAAAAAAAAAAAAAAAAAB==":    true, // unused bits
		"":                            false,
		"AAAAAAAAAAAAAAAAAAAA":        false, // 15 bytes
		"AAAAAAAAAAAAAAAAAAAAAAA=":    false, // 17 bytes
		"AAAAAAAAAAAAAAAAAAAAAAAA":    false, // 18 bytes
		"AAAAAAAAAAAAAAAAAAAAAA":      false,
		"AAAAAAAAAAAAAAAAAAAAAA==AAA": false,
		"AAAAAAAAAAAAAAAAAAAAA===":    false,
		"AAAAAAAAAAAAAAAAAAAAA!==":    false,
		"AAAAAAAAAAAAAAAAAAAA-_==":    false, // of the URL alphabet
		"AAAAAAAAAA\nAAAAAAAAAAA==":   false,
		"AAAAAAAAAA\r\nAAAAAAAAAA==":  false,
		" AAAAAAAAAAAAAAAAAAAAAA=":    false,
	} {
		if got := validKey(key); got != want {
			t.Errorf("%q: %v, want %v", key, got, want)
		}
	}
}
