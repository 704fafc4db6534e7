package operation

import (
	"bytes"
	"strconv"
)

// maxCommand is the length of the longest command that is one, UNSUBSCRIBE.
const maxCommand = 16

// stompCalls are those of STOMP 1.2: the command of each frame in the message, which holds whole frames and line ends (heart-beats) between
// them. A frame that is cut into several messages is Malformed here.
func stompCalls(r *Reader, m Message) Problem {
	p := m.Payload
	for {
		p = trimLineEnds(p)
		if len(p) == 0 {
			break
		}
		command, rest, ok := cutFrame(p)
		if !ok {
			return Malformed
		}
		if problem := r.one(Named, command); problem != Sound {
			return problem
		}
		p = rest
	}
	if len(r.Calls) == 0 {
		return r.one(Internal, nil)
	}
	return Sound
}

func trimLineEnds(p []byte) []byte {
	for {
		switch {
		case len(p) > 0 && p[0] == '\n':
			p = p[1:]
		case len(p) > 1 && p[0] == '\r' && p[1] == '\n':
			p = p[2:]
		default:
			return p
		}
	}
}

// cutFrame takes one frame: command, headers, an empty line, a body of content-length bytes or up to a NUL, and a NUL.
func cutFrame(p []byte) (command, rest []byte, ok bool) {
	command, p, ok = cutLine(p)
	if !ok || !isCommand(command) {
		return nil, nil, false
	}
	length := -1
	for {
		var header []byte
		if header, p, ok = cutLine(p); !ok {
			return nil, nil, false
		}
		if len(header) == 0 {
			break
		}
		if length, ok = contentLength(header, length); !ok {
			return nil, nil, false
		}
	}
	if length < 0 {
		length = bytes.IndexByte(p, 0)
	}
	if length < 0 || length >= len(p) || p[length] != 0 {
		return nil, nil, false
	}
	return command, p[length+1:], true
}

// cutLine takes a line without its end, LF or CRLF.
func cutLine(p []byte) (line, rest []byte, ok bool) {
	line, rest, ok = bytes.Cut(p, []byte("\n"))
	return bytes.TrimSuffix(line, []byte("\r")), rest, ok
}

func isCommand(p []byte) bool {
	for _, c := range p {
		if c < 'A' || c > 'Z' {
			return false
		}
	}
	return len(p) > 0 && len(p) <= maxCommand
}

// contentLength reads one header. Of headers that are there twice the first one counts (STOMP 1.2, "Repeated Header Entries"), so a second
// content-length is refused, as is anything that a lax server could take for one: it would find other frames in this message.
func contentLength(header []byte, before int) (length int, ok bool) {
	name, value, ok := bytes.Cut(header, []byte(":"))
	if !ok || bytes.ContainsAny(header, "\r\x00") {
		return 0, false
	}
	if !bytes.EqualFold(bytes.TrimSpace(name), []byte("content-length")) {
		return before, true
	}
	if string(name) != "content-length" || before >= 0 || len(value) == 0 || leadingDigits(value) < len(value) {
		return 0, false
	}
	length, err := strconv.Atoi(string(value))
	return length, err == nil
}
