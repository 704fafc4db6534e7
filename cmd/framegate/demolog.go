package main

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/framegate/framegate/proxy"
)

// A demoHandler prints what the gateway decided as a person would read it.
type demoHandler struct{ out *proxy.LogSink }

// Enabled implements slog.Handler.
func (demoHandler) Enabled(context.Context, slog.Level) bool { return true }

// WithAttrs implements slog.Handler.
func (h demoHandler) WithAttrs([]slog.Attr) slog.Handler { return h }

// WithGroup implements slog.Handler.
func (h demoHandler) WithGroup(string) slog.Handler { return h }

// Handle implements slog.Handler.
func (h demoHandler) Handle(_ context.Context, r slog.Record) error {
	f := map[string]any{}
	r.Attrs(func(a slog.Attr) bool {
		f[a.Key] = a.Value.Any()
		return true
	})
	line := demoLine(r.Message, f)
	if line == "" {
		return nil
	}
	_, err := fmt.Fprintf(h.out, "  %s  %s\n", r.Time.Format("15:04:05"), line)
	return err
}

// demoLine words one event; an empty line is one that the demo does not show.
func demoLine(msg string, f map[string]any) string {
	switch msg {
	case "admitted":
		return fmt.Sprintf("admitted  %v %v from %v", f["protocol"], f["path"], f["client"])
	case "refused":
		line := fmt.Sprintf("refused   %v %v from %v with %v: %v", f["protocol"], f["path"], f["client"], f["status"], f["reason"])
		if rule, ok := f["rule"]; ok {
			line += fmt.Sprintf(" (policy %v, rule %v)", f["policy"], rule)
		}
		return line
	case "connection":
		why := f["cause"]
		if reason, ok := f["reason"]; ok {
			why = fmt.Sprintf("%v, %v", why, reason)
		}
		return fmt.Sprintf("ended     %v with %v by the %v (%v); %v messages in, %v out, %.1f s", f["client"], f["close_code"], f["close_side"], why,
			f["messages_client"], f["messages_upstream"], f["duration"])
	case "draining":
		return "going away"
	}
	return ""
}
