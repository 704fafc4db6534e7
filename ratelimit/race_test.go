//go:build race

package ratelimit

// manyKeys is fewer under the race detector, which makes each one thirty times as dear.
const manyKeys = 200_000
