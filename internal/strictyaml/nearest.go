package strictyaml

import "strings"

// maxWord bounds the words that are compared; a longer one is no misspelling of a key.
const maxWord = 64

// Nearest returns the known word that word most likely misspells: the one at the smallest edit distance, where swapping
// two neighbours counts as one edit, and case, '-' and '_' do not count. It reports false when none is near enough, that
// is within a third of the word's length. Of equally near words the first one wins.
func Nearest(word string, known []string) (string, bool) {
	if word == "" || len(word) > maxWord {
		return "", false
	}
	folded := fold(word)
	best, nearest := max(1, len(folded)/3)+1, ""
	for _, k := range known {
		if len(k) > maxWord {
			continue
		}
		if d := distance(folded, fold(k)); d < best && d < len(folded) {
			best, nearest = d, k
		}
	}
	return nearest, nearest != ""
}

func fold(s string) []rune {
	return []rune(strings.ReplaceAll(strings.ToLower(s), "-", "_"))
}

// distance is the optimal string alignment distance of a and b.
func distance(a, b []rune) int {
	before, above, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range above {
		above[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(above[j]+1, row[j-1]+1, above[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, above, row = above, row, before
	}
	return above[len(b)]
}
