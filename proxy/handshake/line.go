package handshake

// lineState is what liner.next found.
type lineState uint8

const (
	lineMore lineState = iota // the line has not ended yet
	lineFull                  // a whole line
	lineLong                  // the line cannot end within its limit any more
	lineBad                   // a byte that may not stand there: control bytes, bare CR, bare LF
)

// liner cuts lines out of a buffer that grows at its end. It looks at each byte once, whatever the cuts, and its verdict depends only on the
// bytes before it: a prefix is either incomplete or has the verdict of the whole.
type liner struct {
	start int // of the current line
	seen  int // the first byte not looked at
}

// next returns the current line without its CRLF. The LF must stand before the index limit, and all other bytes must be of the class allowed.
func (l *liner) next(b []byte, limit int, allowed class) (line []byte, state lineState) {
	end := min(len(b), limit)
	for i, c := range b[:end][l.seen:] {
		if classes[c]&allowed != 0 {
			continue
		}
		i += l.seen
		switch {
		case c != '\r':
			return nil, lineBad
		case i+1 >= end:
			l.seen = i
			return nil, moreOrLong(len(b), limit)
		case b[i+1] != '\n':
			return nil, lineBad
		}
		line = b[l.start:i]
		l.start, l.seen = i+2, i+2
		return line, lineFull
	}
	l.seen = end
	return nil, moreOrLong(len(b), limit)
}

func moreOrLong(have, limit int) lineState {
	if have >= limit {
		return lineLong
	}
	return lineMore
}

// cutField splits a field line (RFC 9112 section 5). The name must be of the class names, without space before the colon; a continuation line
// (obs-fold) has an empty name or a space in it and fails as well.
func cutField(line []byte, names class) (name, value []byte, ok bool) {
	for i, c := range line {
		if classes[c]&names != 0 {
			continue
		}
		if c != ':' || i == 0 {
			break
		}
		return line[:i], trimOWS(line[i+1:]), true
	}
	return nil, nil, false
}
