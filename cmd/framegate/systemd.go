package main

import (
	"log/slog"
	"strconv"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// A manager is systemd, where it has started this process and wants to hear of
// it; else nobody hears what it is told. The zero manager is nobody.
type manager struct {
	log   *slog.Logger
	alarm *time.Ticker // of the watchdog; nil without one
	mute  bool         // another process speaks
}

func newManager(log *slog.Logger) manager {
	m := manager{log: log}
	every, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		log.Warn("no watchdog", "error", err.Error())
	}
	if every > 1 {
		m.alarm = time.NewTicker(every / 2)
	}
	return m
}

// watchdog fires when alive must be called.
func (m *manager) watchdog() <-chan time.Time {
	if m.alarm == nil {
		return nil
	}
	return m.alarm.C
}

func (m *manager) ready()    { m.tell(daemon.SdNotifyReady) }
func (m *manager) stopping() { m.tell(daemon.SdNotifyStopping) }
func (m *manager) alive()    { m.tell(daemon.SdNotifyWatchdog) }
func (m *manager) reloading() {
	m.tell(daemon.SdNotifyReloading + "\n" + daemon.SdNotifyMonotonicUsec())
}

// succeededBy says which process is the service from now on. Only that one may
// speak then.
func (m *manager) succeededBy(pid int) {
	m.tell(daemon.SdNotifyReady + "\nMAINPID=" + strconv.Itoa(pid))
	m.mute = true
}

func (m *manager) tell(state string) {
	if m.log == nil || m.mute {
		return
	}
	if _, err := daemon.SdNotify(false, state); err != nil {
		m.log.Warn("cannot tell the service manager", "error", err.Error())
	}
}

func (m *manager) close() {
	if m.alarm != nil {
		m.alarm.Stop()
	}
}
