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
	token := NamesOf("https://id", claims(map[string]string{"jti": "t1", "sub": "alice", "sid": "s1", "iss": "https://id"}))
	for _, row := range []struct {
		kind       Kind
		issuer, id string
		want       bool
	}{
		{Token, "", "t1", true}, {Token, "https://id", "t1", true}, {Token, "https://other", "t1", false},
		{Subject, "", "alice", true}, {Subject, "", "t1", false}, {Subject, "", "Alice", false}, {Session, "https://id", "s1", true}, {Session, "", "", false},
	} {
		s := NewSet(10)
		if news, err := s.Add(NameOf(row.kind, row.issuer, row.id), start.Add(time.Minute), start); !news || err != nil {
			t.Errorf("%v: got %v, %v", row, news, err)
		}
		if got := s.Has(token, start); got != row.want {
			t.Errorf("%v: revoked %v, want %v", row, got, row.want)
		}
		if s.Has(token, start.Add(time.Minute)) {
			t.Errorf("%v: holds when it is over", row)
		}
		if s.Has(NamesOf("https://id", claims(nil)), start) {
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
	name := func(i int) Name { return NameOf(Token, "", strconv.Itoa(i)) }
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
