//go:build !race

package ratelimit

const manyKeys = 10_000_000
