package transcript

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/framegate/framegate/proxy/frame"
	"github.com/framegate/framegate/proxy/relay"
)

// settings are what a transcript says before its first input.
type settings struct {
	limits relay.Limits
	grant  relay.Grant
	// operations are the words to which rates are bound, in the order of their
	// numbers; the Deniers of both sides know them by it.
	operations []string
}

func newSettings() *settings {
	s := &settings{limits: relay.Defaults()}
	s.limits.Memory = relay.NewMemory(64 << 20)
	var made byte // keys and ping payloads that the gateway makes are f0000001, f0000002 ...
	s.limits.Random = func() [4]byte {
		made++
		return [4]byte{0xf0, 0, 0, made}
	}
	return s
}

// set takes one KEY=VALUE.
func (s *settings) set(word string) error {
	key, value, _ := strings.Cut(word, "=")
	switch key {
	case "deflate":
		s.grant.Deflate = true
		return nil
	case "pings":
		s.limits.AnswerPings = value == "answer"
		return nil
	case "inflate":
		s.limits.Inflate = true
		return nil
	case "memory":
		n, err := strconv.ParseInt(value, 10, 64)
		s.limits.Memory = relay.NewMemory(n)
		return err
	case "control_rate":
		rate, err := strconv.ParseFloat(value, 64)
		s.limits.ControlRate = rate
		return err
	}
	if side, rest, ok := strings.Cut(key, "."); ok {
		if name, code, ok := strings.Cut(rest, "."); ok && side == "code" {
			return s.code(name, code, value)
		}
		if of, ok := units()[rest]; ok {
			return s.rate(side, of, value)
		}
		switch rest {
		case "inspect":
			return s.inspect(side, value)
		case "deny":
			return s.deny(side, value)
		}
		return s.shape(side, rest, value)
	}
	if d, ok := s.times()[key]; ok {
		t, err := time.ParseDuration(value)
		*d = t
		return err
	}
	if n, ok := s.numbers()[key]; ok {
		v, err := strconv.Atoi(value)
		*n = v
		return err
	}
	if key == "min_progress" {
		v, err := strconv.ParseInt(value, 10, 64)
		s.limits.MinProgress = v
		return err
	}
	if err := s.shape("client", key, value); err != nil {
		return err
	}
	return s.shape("upstream", key, value)
}

func (s *settings) times() map[string]*time.Duration {
	l := &s.limits
	return map[string]*time.Duration{
		"ping_interval": &l.PingInterval, "pong_timeout": &l.PongTimeout, "idle": &l.IdleTimeout, "lifetime": &l.MaxLifetime,
		"close": &l.CloseTimeout, "write": &l.WriteTimeout, "assembly": &l.AssemblyTimeout, "grace": &l.FrameGrace,
	}
}

func (s *settings) numbers() map[string]*int {
	return map[string]*int{"control_burst": &s.limits.ControlBurst, "high": &s.limits.HighWater, "low": &s.limits.LowWater}
}

// shape sets what one side may send: max_frame, max_message, max_fragments,
// types=text or types=binary.
func (s *settings) shape(side, key, value string) error {
	from, err := sideOf(side)
	if err != nil {
		return err
	}
	shape := &s.limits.From[from]
	if key == "types" {
		shape.NoText, shape.NoBinary = value != "text", value != "binary"
		return nil
	}
	n, err := strconv.ParseUint(value, 10, 63)
	switch key {
	case "max_frame":
		shape.MaxFrame = n
	case "max_message":
		shape.MaxMessage = n
	case "max_ratio":
		shape.MaxRatio, shape.RatioFrom = int(n), 64<<10
	case "max_fragments":
		shape.MaxFragments = int(n)
	default:
		return fmt.Errorf("unknown limit %q", key)
	}
	return err
}

// code overrides a close code: code.drain.client=1012.
func (s *settings) code(cause, side, value string) error {
	c, err := causeOf(cause)
	if err != nil {
		return err
	}
	to, err := sideOf(side)
	if err != nil {
		return err
	}
	n, err := strconv.ParseUint(value, 10, 16)
	s.limits.Codes[c][to] = frame.StatusCode(n)
	return err
}

func sideOf(name string) (relay.Side, error) {
	for _, side := range []relay.Side{relay.Client, relay.Upstream} {
		if side.String() == name {
			return side, nil
		}
	}
	return 0, fmt.Errorf("%q is neither client nor upstream", name)
}

func causeOf(name string) (relay.Cause, error) {
	for _, c := range relay.Causes() {
		if c.String() == name {
			return c, nil
		}
	}
	return 0, fmt.Errorf("unknown cause %q", name)
}
