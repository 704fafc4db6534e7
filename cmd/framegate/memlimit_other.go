//go:build !linux

package main

// limitMemory knows of no limits here but GOMEMLIMIT.
func limitMemory() int64 { return 0 }
