package revocation

import (
	"errors"
	"strconv"
	"testing"
	"time"
)

var start = time.Unix(1_800_000_000, 0)

func claims(all map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		value, ok := all[name]
		return value, ok
	}
}

// A name is of one kind, one issuer and one identifier, wherever the border between these is.
func TestNamesDiffer(t *testing.T) {
	t.Parallel()
	seen := map[Name]string{}
	for _, kind := range Kinds() {
		for _, pair := range [][2]string{{"", "ab"}, {"a", "b"}, {"ab", ""}, {"b", "a"}, {"a", "b\x00"}, {"a\x00", "b"}} {
			n, text := NameOf(kind, pair[0], pair[1]), strconv.Quote(string(kind)+" "+pair[0]+" "+pair[1])
			if other, ok := seen[n]; ok {
				t.Errorf("%s and %s have one name", text, other)
			}
			seen[n] = text
			if back, err := parseName(n.String()); back != n || err != nil {
				t.Errorf("%v is read as %v, %v", n, back, err)
			}
		}
	}
	for _, text := range []string{"", "00", "zz00000000000000000000000000000000"[:32], NameOf(Token, "", "a").String() + "0"} {
		if _, err := parseName(text); err == nil {
			t.Errorf("%q is read as a name", text)
		}
	}
}

// A token is revoked by each of its identifiers, of its issuer or of any, and by no other.
func TestSetHas(t *testing.T) {
	t.Parallel()
	token := NamesOf("https://id", start, claims(map[string]string{"jti": "t1", "sub": "alice", "sid": "s1", "iss": "https://id"}))
	for _, row := range []struct {
		kind       Kind
		issuer, id string
		want       bool
	}{
		{Token, "", "t1", true}, {Token, "https://id", "t1", true}, {Token, "https://other", "t1", false},
		{Subject, "", "alice", true}, {Subject, "", "t1", false}, {Subject, "", "Alice", false}, {Session, "https://id", "s1", true}, {Session, "", "", false},
	} {
		s := NewSet(10)
		if news, err := s.Add(Revocation{NameOf(row.kind, row.issuer, row.id), All}, start.Add(time.Minute), start); !news || err != nil {
			t.Errorf("%v: got %v, %v", row, news, err)
		}
		if got := s.Has(token, start); got != row.want {
			t.Errorf("%v: revoked %v, want %v", row, got, row.want)
		}
		if s.Has(token, start.Add(time.Minute)) {
			t.Errorf("%v: holds when it is over", row)
		}
		if s.Has(NamesOf("https://id", start, claims(nil)), start) {
			t.Errorf("%v: revokes a token without any identifier", row)
		}
	}
	if (*Set)(nil).Has(token, start) {
		t.Error("no set has a name")
	}
}

// A set is bounded, makes room for others once something is over, and never shortens what was longer.
func TestSetBound(t *testing.T) {
	t.Parallel()
	s := NewSet(2)
	name := func(i int) Revocation { return Revocation{NameOf(Token, "", strconv.Itoa(i)), All} }
	add := func(i int, until time.Duration, now time.Duration, news bool, want error) {
		t.Helper()
		if got, err := s.Add(name(i), start.Add(until), start.Add(now)); got != news || !errors.Is(err, want) {
			t.Errorf("adding %d: got %v, %v", i, got, err)
		}
	}
	add(1, time.Hour, 0, true, nil)
	add(1, time.Minute, 0, false, nil) // is no shortening
	add(2, 2*time.Minute, 0, true, nil)
	add(3, time.Hour, 0, false, ErrFull)
	add(1, 2*time.Hour, 0, false, nil)
	add(3, time.Hour, time.Second, false, ErrFull)
	add(3, time.Hour, 3*time.Minute, true, nil)
	if n := s.Len(start.Add(90 * time.Minute)); n != 1 {
		t.Errorf("%d hold after 90 minutes, want 1", n)
	}
	add(4, 3*time.Hour, 2*time.Hour, true, nil)
	add(5, 0, 2*time.Hour, false, nil) // over before it began
	s.SetMax(1)
	add(6, 3*time.Hour, 2*time.Hour, false, ErrFull)
	if n := s.Len(start.Add(2 * time.Hour)); n != 1 {
		t.Errorf("%d hold, want 1", n)
	}
}

// A revocation of what was issued before a time leaves new tokens alone, holds beside one of all tokens, and never takes back what held.
func TestIssuedBefore(t *testing.T) {
	t.Parallel()
	name := NameOf(Subject, "", "alice")
	of := func(issued time.Time) Names {
		return NamesOf("https://id", issued, claims(map[string]string{"sub": "alice"}))
	}
	s := NewSet(2)
	add := func(before time.Time, until time.Duration, news bool) {
		t.Helper()
		one := Revocation{name, All}
		if !before.IsZero() {
			one.Before = before.Unix()
		}
		if got, err := s.Add(one, start.Add(until), start); got != news || err != nil {
			t.Errorf("before %v for %v: got %v, %v", before, until, got, err)
		}
	}
	has := func(issued time.Time, at time.Duration, want bool) {
		t.Helper()
		if got := s.Has(of(issued), start.Add(at)); got != want {
			t.Errorf("issued at %v, after %v: revoked %v, want %v", issued, at, got, want)
		}
		group := Group{}
		group.Add(Revocation{name, start.Unix() - 100})
		group.Add(Revocation{name, start.Unix()})
		group.Add(Revocation{name, start.Unix() - 200})
		if got, want := group.Meets(of(issued)), issued.Unix() < start.Unix(); got != want {
			t.Errorf("issued at %v: meets %v, want %v", issued, got, want)
		}
	}
	earlier, later := start.Add(-time.Second), start.Add(time.Second)
	add(start, time.Hour, true)
	has(earlier, 0, true)
	has(start, 0, false)
	has(later, 0, false)
	has(time.Time{}, 0, true) // does not say
	has(earlier, time.Hour, false)
	add(earlier, 2*time.Hour, false) // an older one for longer: the later time holds, for longer
	has(earlier, 90*time.Minute, true)
	add(start.Add(time.Minute), time.Minute, true) // a later one for a shorter time
	has(later, 90*time.Minute, true)
	add(time.Time{}, time.Minute, true)
	has(start.Add(time.Hour), 0, true)
	has(start.Add(time.Hour), time.Minute, false)
	if n := s.Len(start); n != 2 {
		t.Errorf("%d hold, want 2", n)
	}
}

// Redis knows of a revocation when it has one that does as much.
func TestUnshared(t *testing.T) {
	t.Parallel()
	one := Revocation{NameOf(Subject, "", "alice"), 1000}
	entryOf := func(before, minutes int64, own, shared bool) entry {
		return entry{before: before, until: start.Add(time.Duration(minutes) * time.Minute), own: own, shared: shared}
	}
	for _, row := range []struct {
		first, second entry
		unshared      bool
	}{
		{entryOf(1000, 1, true, false), entryOf(1000, 1, false, true), false}, // it comes back
		{entryOf(1000, 2, true, false), entryOf(1000, 1, false, true), true},  // a shorter one
		{entryOf(1000, 1, true, false), entryOf(1000, 2, false, true), false}, // a longer one
		{entryOf(1000, 1, true, false), entryOf(900, 2, false, true), true},   // of less
		{entryOf(1000, 1, true, true), entryOf(1100, 1, true, false), true},   // of more, made here
		{entryOf(1000, 2, true, true), entryOf(1100, 1, false, true), false},  // two that it has
		{entryOf(1000, 1, false, true), entryOf(1000, 1, true, false), false}, // the same as one from elsewhere
	} {
		s := NewSet(10)
		for _, e := range []entry{row.first, row.second} {
			if _, err := s.add(Revocation{one.Name, e.before}, e, start); err != nil {
				t.Fatal(err)
			}
		}
		if got := len(s.unshared(start)) == 1; got != row.unshared {
			t.Errorf("%+v and %+v: unshared %v, want %v", row.first, row.second, got, row.unshared)
		}
		s.unshare()
		if got := len(s.unshared(start)) == 1; got != (row.first.own || row.second.own) {
			t.Errorf("%+v and %+v: once Redis has lost all, unshared %v", row.first, row.second, got)
		}
	}
}
