package policy

import (
	"fmt"
	"slices"

	"github.com/framegate/framegate/internal/strictyaml"
	"github.com/framegate/framegate/policy/message"
	"github.com/framegate/framegate/policy/rates"
)

// The limits that hold where no policy of a route names others.
const (
	defaultMaxFrame     = 1 << 20
	defaultMaxMessage   = 1 << 20
	defaultMaxFragments = 1024
	defaultMaxRatio     = 100
	defaultRatioFrom    = 1 << 20 // a bomb costs this much, however large messages may be
	ratioFrom           = 64 << 10
)

// ShapeConfig limits the messages of one side. A limit that is not there is left to the route's other policies, then to its default.
type ShapeConfig struct {
	Messages     *rates.Config   `yaml:"messages" doc:"How many messages may be sent in a time, such as 50/s burst 100 for each connection, or a mapping for other keys."`
	Bytes        *rates.Bytes    `yaml:"bytes" doc:"How many bytes of payload may be sent in a time, such as 256KiB/s burst 1MiB for each connection, or a mapping for other keys. They count as they travel, or inflated where compression is inspect."`
	Frames       *rates.Config   `yaml:"frames" doc:"How many frames may be sent in a time, control frames included, for each connection or by a mapping."`
	OnLimit      *rates.Action   `yaml:"on_limit" doc:"What happens at a limit of messages, bytes or frames: close (1008), drop (the message vanishes whole), delay (nothing is lost, its sender waits), or {reply: TEXT} (dropped, and its sender is told). Default: close."`
	MaxFrame     strictyaml.Size `yaml:"max_frame" doc:"The largest payload of one frame, as it travels (perhaps compressed). A larger one ends the connection with code 1009. Default: 1MiB, or max_message if that is larger."`
	MaxMessage   strictyaml.Size `yaml:"max_message" doc:"The largest message, all of its fragments together. A larger one ends the connection with code 1009. Default: 1MiB."`
	MaxFragments int             `yaml:"max_fragments" min:"1" doc:"The largest number of frames in one message, empty ones included. More end the connection with code 1009. Default: 1024."`
	MaxRatio     int             `yaml:"max_ratio" min:"1" max:"10000" doc:"The largest number of bytes to which one byte of a compressed message may inflate, where compression is inspect, of messages that inflate to more than 64KiB. A larger one ends the connection with code 1009. Default: 100, of messages that inflate to more than 1MiB."`
	Content      message.Config  `yaml:",inline"`
	Types        []string        `yaml:"types" enum:"text,binary" doc:"The message types that may pass. Another one ends the connection with code 1003. Default: text and binary."`
}

// Shape limits the messages that one side sends. No limit is ever 0 or "unlimited", and at least one type may pass.
type Shape struct {
	MaxFrame     int64 // payload bytes of one frame, as on the wire
	MaxMessage   int64 // payload bytes of one message
	MaxFragments int   // frames of one message, empty ones included
	MaxRatio     int   // inflated bytes per byte on the wire
	RatioFrom    int64 // inflated bytes up to which MaxRatio is of no concern
	Text, Binary bool  // the message types that may pass
}

func (s Shape) anyType() bool { return s.Text || s.Binary }

// validate reports what is wrong in one section; side is its key. Absent keys are zero here, and a zero that the file holds was refused when the
// file was decoded.
func (c *ShapeConfig) validate(side string, report Report) {
	if c == nil {
		return
	}
	if c.MaxFrame < 0 {
		report(side+".max_frame", "max_frame is %d, want a size such as 64KiB", int64(c.MaxFrame))
	}
	if c.MaxMessage < 0 {
		report(side+".max_message", "max_message is %d, want a size such as 64KiB", int64(c.MaxMessage))
	}
	if c.MaxRatio < 0 {
		report(side+".max_ratio", "max_ratio is %d, want a number above zero", c.MaxRatio)
	}
	if c.MaxFragments < 0 {
		report(side+".max_fragments", "max_fragments is %d, want a number above zero", c.MaxFragments)
	}
	if c.Types != nil && len(c.Types) == 0 {
		report(side+".types", "types is empty, want text, binary or both")
	}
	for i, name := range c.Types {
		if name != "text" && name != "binary" {
			report(indexed(side+".types", i), "unknown message type %q, want text or binary", name)
		}
	}
}

// compileContent makes the rules of one side about the content of messages; side is its key. The section may be nil.
func (c *ShapeConfig) compileContent(at place, side string, report Report) *message.Inspector {
	if c == nil {
		return nil
	}
	in := func(path, format string, args ...any) { report(strictyaml.Join(side, path), format, args...) }
	return c.Content.Compile(in, at.file)
}

// combine takes the strictest of each limit over valid sections, of which any may be nil, and the default where none names it.
func combine(sections []*ShapeConfig) Shape {
	s := Shape{Text: true, Binary: true}
	for _, c := range sections {
		if c == nil {
			continue
		}
		s.MaxFrame = stricter(s.MaxFrame, int64(c.MaxFrame))
		s.MaxMessage = stricter(s.MaxMessage, int64(c.MaxMessage))
		s.MaxFragments = stricter(s.MaxFragments, c.MaxFragments)
		s.MaxRatio = stricter(s.MaxRatio, c.MaxRatio)
		s.Text = s.Text && allowsType(c.Types, "text")
		s.Binary = s.Binary && allowsType(c.Types, "binary")
	}
	if s.MaxMessage == 0 {
		s.MaxMessage = defaultMaxMessage
	}
	if s.MaxFrame == 0 {
		// Who raises the message limit alone means messages of one frame too.
		s.MaxFrame = max(defaultMaxFrame, s.MaxMessage)
	}
	s.RatioFrom = ratioFrom
	if s.MaxRatio == 0 {
		s.MaxRatio, s.RatioFrom = defaultMaxRatio, defaultRatioFrom
	}
	if s.MaxFragments == 0 {
		s.MaxFragments = defaultMaxFragments
	}
	return s
}

// stricter returns the smaller limit, where 0 is none.
func stricter[T int | int64](a, b T) T {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// allowsType says whether a list of types lets one pass; a list that is not there lets all pass.
func allowsType(types []string, name string) bool {
	return types == nil || slices.Contains(types, name)
}

func indexed(path string, i int) string { return fmt.Sprintf("%s[%d]", path, i) }
