// Package pattern holds the two kinds of pattern that policies may hold against what strangers send: RE2 of bounded size, and names with
// stars. The work of either is linear in the text, times a size that is known when the policy is loaded.
package pattern
