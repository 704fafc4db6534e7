package wstest

import (
	"time"
	"unsafe"
)

// SetWall returns t as a clock would tell it whose wall time had been set forward by so much, in whole seconds, or back: the monotonic reading is
// that of t. Package time has no way to make such a time.
func SetWall(t time.Time, by time.Duration) time.Time {
	const (
		hasMonotonic = 1 << 63
		secondsAt    = 30 // of the wall field, above the nanoseconds
	)
	wall := (*uint64)(unsafe.Pointer(&t)) // the first field of a time.Time
	if *wall&hasMonotonic == 0 {
		panic("wstest: a time without a monotonic reading")
	}
	*wall += uint64(int64(by/time.Second)) << secondsAt
	return t
}
