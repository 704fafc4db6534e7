package tlsmgr

import (
	"context"
	"log/slog"
	"slices"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// newBridge gives certmagic, which speaks zap, a logger that writes to log. What it says of each step of an order is for debugging: the manager
// itself logs what became of it. So all goes down one level.
func newBridge(log *slog.Logger) *zap.Logger { return zap.New(bridge{log}) }

// A bridge is a zapcore.Core over a slog.Logger.
type bridge struct{ log *slog.Logger }

// bridgeLevel is the level of ours for one of certmagic's.
func bridgeLevel(l zapcore.Level) slog.Level {
	switch {
	case l >= zapcore.ErrorLevel:
		return slog.LevelWarn
	case l == zapcore.WarnLevel:
		return slog.LevelInfo
	case l == zapcore.InfoLevel:
		return slog.LevelDebug
	}
	return slog.LevelDebug - 4 // of every handshake and HTTP request
}

// bridgeFieldNames are the fields that are logged: neither tokens, which are secrets until they are used, nor addresses of mail, nor headers.
var bridgeFieldNames = []string{
	"identifier", "identifiers", "names", "subject", "subjects", "issuer", "ca", "error", "problem", "title", "detail", "attempt", "attempts",
	"remaining", "expiration", "new_expiration", "status_code", "challenge_type", "url", "method", "lock_key", "zone", "dns_name", "fqdn", "resolvers",
	"selected_time", "next_update", "explanation_url", "from", "to", "ocsp_status", "revoked_at", "server_name", "stack",
}

// Enabled implements zapcore.LevelEnabler.
func (b bridge) Enabled(l zapcore.Level) bool {
	return b.log.Enabled(context.Background(), bridgeLevel(l))
}

// With implements zapcore.Core.
func (b bridge) With(fields []zapcore.Field) zapcore.Core {
	return bridge{b.log.With(bridgeFields(fields)...)}
}

// Check implements zapcore.Core.
func (b bridge) Check(e zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if b.Enabled(e.Level) {
		return checked.AddCore(e, b)
	}
	return checked
}

// Write implements zapcore.Core.
func (b bridge) Write(e zapcore.Entry, fields []zapcore.Field) error {
	b.log.Log(context.Background(), bridgeLevel(e.Level), "acme: "+e.Message, bridgeFields(fields)...)
	return nil
}

// Sync implements zapcore.Core.
func (b bridge) Sync() error { return nil }

// bridgeFields are the fields as slog takes them, in their order.
func bridgeFields(fields []zapcore.Field) (args []any) {
	values := zapcore.NewMapObjectEncoder()
	for _, f := range fields {
		if !slices.Contains(bridgeFieldNames, f.Key) {
			continue
		}
		f.AddTo(values)
		if v, ok := values.Fields[f.Key]; ok {
			args = append(args, f.Key, v)
		}
	}
	return args
}
