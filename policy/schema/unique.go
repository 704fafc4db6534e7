package schema

import "hash/maphash"

// isUnique says whether no two items are equal. Only those with the same hash are compared; its seed is new each time, so nobody can choose
// items that have.
func (e *evaluation) isUnique(items []any) bool {
	seed := maphash.MakeSeed()
	byHash := make(map[uint64][]any, min(len(items), 1<<10))
	for _, item := range items {
		h := e.hash(seed, item)
		for _, other := range byHash[h] {
			if e.equal(other, item) {
				return false
			}
		}
		byHash[h] = append(byHash[h], item)
		if e.steps < 0 {
			return false
		}
	}
	return true
}

// hash is the same for equal values.
func (e *evaluation) hash(seed maphash.Seed, v any) uint64 {
	if !e.spend(hashSteps) {
		return 0
	}
	switch v := v.(type) {
	case []any:
		sum := uint64(array)
		for _, item := range v {
			sum = maphash.Comparable(seed, [2]uint64{sum, e.hash(seed, item)})
		}
		return sum
	case map[string]any:
		type member struct {
			name  string
			value uint64
		}
		sum := uint64(object)
		for name, value := range v { // in any order
			sum += maphash.Comparable(seed, member{name, e.hash(seed, value)})
		}
		return sum
	}
	return maphash.Comparable(seed, v)
}
