package relay

import "time"

// Limits is what the sessions of one route have in common. It is compiled
// once, shared by all sessions and never changed. Times of 0 mean that there
// is no such limit; New takes the other fields as they are, so start from
// Defaults.
type Limits struct {
	From [2]Shape // what each side may send, by Side

	PingInterval    time.Duration // silence after which a side is pinged
	PongTimeout     time.Duration // how long it may then stay silent
	IdleTimeout     time.Duration // without a frame in either direction; the gateway's own pings do not count
	MaxLifetime     time.Duration // of the session
	CloseTimeout    time.Duration // for the peer's part of a close, then TCP ends; must be positive
	WriteTimeout    time.Duration // without the peer taking any byte that was written to it
	AssemblyTimeout time.Duration // from the first to the last fragment of a message
	FrameGrace      time.Duration // for a header; afterwards a frame needs MinProgress
	MinProgress     int64         // bytes per second, of a frame that is sent and of what is still to be taken at the end

	ControlRate  float64 // pings and unsolicited pongs per second, of each side
	ControlBurst int
	AnswerPings  bool // answer pings here instead of relaying them

	HighWater int // unwritten bytes towards a side above which the other one is not read
	LowWater  int // unwritten bytes at which it is read again

	Codes Codes

	// Inflate has compressed messages inflated, to hold them to MaxMessage,
	// MaxRatio, UTF-8 and the rates of bytes by what their receiver gets. What
	// goes on is what came. Those under inspection are inflated anyway. Both sides
	// must have agreed not to keep any context (handshake.Inspect).
	Inflate bool

	// Memory is what messages that must be gathered, and what rates delay, are
	// kept in. Without one a session that needs it ends with Overload.
	Memory *Memory

	// Random returns an unpredictable value: the masking key of each frame that
	// the gateway makes (RFC 6455 §5.3), and the payload of its pings.
	Random func() [4]byte
}

// A Shape is what the messages of one side may look like.
type Shape struct {
	MaxFrame     uint64 // payload bytes
	MaxMessage   uint64 // payload bytes over all fragments, on the wire and inflated
	MaxRatio     int    // inflated bytes per byte on the wire; 0 is no limit but MaxMessage
	RatioFrom    uint64 // inflated bytes up to which MaxRatio is of no concern
	MaxFragments int    // frames of one message, empty ones included
	NoText       bool
	NoBinary     bool
	Rates        []Rate // all of them valid
}

// Defaults returns the limits of a route that sets none. Random is left to the
// caller.
func Defaults() Limits {
	shape := Shape{MaxFrame: 1 << 20, MaxMessage: 1 << 20, MaxFragments: 1024, MaxRatio: 100, RatioFrom: 1 << 20}
	return Limits{
		From:            [2]Shape{shape, shape},
		PingInterval:    20 * time.Second,
		PongTimeout:     20 * time.Second,
		IdleTimeout:     300 * time.Second,
		CloseTimeout:    5 * time.Second,
		WriteTimeout:    10 * time.Second,
		AssemblyTimeout: 30 * time.Second,
		FrameGrace:      5 * time.Second,
		MinProgress:     1 << 10,
		ControlRate:     10,
		ControlBurst:    20,
		HighWater:       256 << 10,
		LowWater:        64 << 10,
	}
}
