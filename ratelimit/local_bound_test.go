package ratelimit

import (
	"fmt"
	"math"
	"strconv"
	"testing"
	"time"
)

// Keys without number: the memory stays what it is, and what does not find room is limited together.
func TestLocalIsBounded(t *testing.T) {
	const maxKeys = 5000
	s := NewLocal(maxKeys)
	l := limit("l", Rate{1.0 / 60, 5})
	admitted, most := 0, 0
	now := epoch
	for i := range manyKeys {
		now = now.Add(time.Microsecond) // 10 s in all
		if ok, _ := s.Take(l, strconv.Itoa(i), 1, now); ok {
			admitted++
		}
		if i%10_000 == 0 {
			buckets, _ := s.Keys()
			most = max(most, buckets)
		}
	}
	if most < maxKeys*9/10 || most > maxKeys+1 {
		t.Errorf("%d buckets, want %d and one for all others", most, maxKeys)
	}
	if admitted > maxKeys+5+1 || s.Overflows() < manyKeys-maxKeys-1 {
		t.Errorf("%d admitted, %d times no room", admitted, s.Overflows())
	}
	// Minutes later all of them are full, so any key finds room again, and the old ones go as new ones come.
	now = now.Add(time.Hour)
	for i := range maxKeys * 9 / 10 {
		if ok, _ := s.Take(l, fmt.Sprint("new", i), 5, now); !ok {
			t.Fatal("no full bucket for a new key")
		}
	}
	now = now.Add(time.Hour)
	for i := range 10 {
		s.Take(l, fmt.Sprint("newer", i), 5, now)
	}
	if buckets, _ := s.Keys(); buckets > maxKeys-10 {
		t.Errorf("%d buckets, want the full ones to go", buckets)
	}
}

// One bucket among many is full: a new key finds its room, wherever it is.
func TestRoomIsFound(t *testing.T) {
	const keys = 20
	l := limit("l", Rate{1, 5})
	for full := range keys {
		s := NewLocal(keys)
		for i := range keys {
			s.Take(l, strconv.Itoa(i), 1, epoch)
		}
		now := epoch.Add(time.Minute)
		for i := range keys {
			if i != full {
				s.Take(l, strconv.Itoa(i), 5, now)
			}
		}
		for i, room := range []bool{true, false} {
			if s.Take(l, fmt.Sprint("new", i), 1, now); (s.Overflows() == 0) != room {
				t.Errorf("bucket %d full, new key %d: no room is %t", full, i, room)
			}
		}
	}
}

func TestAcquireIsBounded(t *testing.T) {
	s := NewLocal(100)
	l := &Limit{Name: "l", Max: 3}
	var releases []func()
	for i := range 1000 {
		if release, ok := s.Acquire(l, fmt.Sprint(i), epoch); ok {
			releases = append(releases, release)
		}
	}
	if len(releases) != 103 {
		t.Errorf("%d keys with a place, want 100 and 3 that share a count", len(releases))
	}
	if _, places := s.Keys(); places != 101 {
		t.Errorf("%d counts, want 101", places)
	}
	if release, ok := s.Acquire(l, "0", epoch); !ok {
		t.Error("a key lost its count to others")
	} else {
		release()
	}
	for _, release := range releases {
		release()
	}
	if _, places := s.Keys(); places != 0 {
		t.Errorf("%d counts at the end", places)
	}
}

// A bucket that a session holds is its own for as long as it wants, whatever comes.
func TestSharedIsNotForgotten(t *testing.T) {
	s := NewLocal(10)
	l := limit("l", Rate{1000, 5})
	first, second := s.Bucket(l, "user", epoch), s.Bucket(l, "user", epoch)
	now := epoch
	flood := func() {
		for i := range 100 {
			now = now.Add(100 * ms)
			s.Take(l, fmt.Sprint(i), 5, now)
		}
	}
	flood()
	first.TakeN(now, 5)
	if ok, _ := second.TakeN(now, 1); ok {
		t.Error("two sessions of a user have two buckets")
	}
	if ok, _ := s.Take(l, "user", 1, now); ok {
		t.Error("the user has another bucket than the one that is held")
	}
	first.Release()
	first.Release()
	flood()
	second.TakeN(now, 5)
	if ok, _ := s.Take(l, "user", 1, now); ok {
		t.Error("a bucket was forgotten although one session still holds it")
	}
	second.Release()
	flood()
	if buckets, _ := s.Keys(); buckets > 3 {
		t.Errorf("%d buckets, want those of the last two keys at most", buckets)
	}
}

// When all buckets are held, more sessions share one.
func TestSharedOverflow(t *testing.T) {
	s := NewLocal(2)
	l := limit("l", Rate{1, 4})
	var held []*Shared
	for i := range 5 {
		held = append(held, s.Bucket(l, fmt.Sprint(i), epoch))
	}
	admitted := 0
	for _, h := range held {
		if ok, _ := h.TakeN(epoch, 4); ok {
			admitted++
		}
	}
	if buckets, _ := s.Keys(); admitted != 3 || buckets != 3 {
		t.Errorf("%d of 5 took a burst from %d buckets, want 3 and 3", admitted, buckets)
	}
	for _, h := range held {
		h.Release()
	}
	if ok, _ := s.Take(l, "9", 4, epoch.Add(time.Hour)); !ok {
		t.Error("no room after all were released")
	}
}

func TestNoKeysAtAll(t *testing.T) {
	for _, maxKeys := range []int{0, -1, math.MinInt} {
		s := NewLocal(maxKeys)
		l := &Limit{Name: "l", Rate: Rate{1, 2}, Max: 1}
		ok1, _ := s.Take(l, "a", 2, epoch)
		ok2, _ := s.Take(l, "b", 1, epoch)
		_, ok3 := s.Acquire(l, "a", epoch)
		_, ok4 := s.Acquire(l, "b", epoch)
		if !ok1 || ok2 || !ok3 || ok4 {
			t.Errorf("a store of %d keys: %t, %t, %t, %t, want one bucket and one count for all", maxKeys, ok1, ok2, ok3, ok4)
		}
	}
}

func BenchmarkTake(b *testing.B) {
	s := NewLocal(DefaultMaxKeys)
	l := limit("l", Rate{1e9, 1e9})
	now := epoch
	b.ReportAllocs()
	for b.Loop() {
		now = now.Add(time.Microsecond)
		s.Take(l, "2001:db8::/64", 1, now)
	}
}

func BenchmarkTakeManyKeys(b *testing.B) {
	s := NewLocal(DefaultMaxKeys)
	l := limit("l", Rate{1, 5})
	now := epoch
	keys := make([]string, 1<<18)
	for i := range manyKeys {
		keys[i] = fmt.Sprint(i)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		now = now.Add(time.Microsecond)
		s.Take(l, keys[i%len(keys)], 1, now)
	}
}

func BenchmarkShared(b *testing.B) {
	held := NewLocal(1).Bucket(limit("l", Rate{1e9, 1e9}), "key", epoch)
	now := epoch
	b.ReportAllocs()
	for b.Loop() {
		now = now.Add(time.Microsecond)
		held.TakeN(now, 1)
	}
}
