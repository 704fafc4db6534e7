package tlsmgr

import (
	"errors"
	"log/slog"
	"strings"
	"testing"

	"go.uber.org/zap"
)

// What certmagic says arrives, one level lower, without what is secret.
func TestBridge(t *testing.T) {
	book, log := newLog()
	z := newBridge(log).Named("x").With(zap.Strings("identifiers", []string{"a.example"}), zap.String("contact", "CANARY"))
	z.Debug("of each handshake")
	z.Info("step", zap.String("uri", "/CANARY"), zap.String("token", "CANARY"))
	z.Warn("odd", zap.Int("attempt", 2))
	z.Error("broken", zap.Error(errors.New("why")), zap.Any("headers", map[string]string{"a": "CANARY"}), zap.ByteString("csr_pem", []byte("CANARY")))
	text := book.String()
	for _, want := range []string{
		`level=DEBUG msg="acme: step" identifiers=[a.example]`, `level=INFO msg="acme: odd" identifiers=[a.example] attempt=2`,
		`level=WARN msg="acme: broken" identifiers=[a.example] error=why`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
	if strings.Contains(text, "CANARY") || strings.Contains(text, "of each handshake") {
		t.Error(text)
	}
	quiet := newBridge(slog.New(slog.DiscardHandler))
	if quiet.Core().Enabled(zap.ErrorLevel) {
		t.Error("a log that discards is asked to write")
	}
}
