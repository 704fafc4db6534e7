package discovery

import (
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"
)

var rules = &Rules{MinInterval: 10 * time.Second, MaxInterval: 30 * time.Second, Timeout: time.Second, MaxAddresses: 4}

// found reads "10.0.0.1:80", with a priority and a weight as "10.0.0.1:80/1/5".
func found(texts ...string) []Found {
	var all []Found
	for _, text := range texts {
		parts := strings.Split(text+"/0/0", "/")
		f := Found{Address: netip.MustParseAddrPort(parts[0])}
		fmt.Sscan(parts[1], &f.Priority)
		fmt.Sscan(parts[2], &f.Weight)
		all = append(all, f)
	}
	return all
}

// judgeLoopback refuses 127.0.0.0/8.
func judgeLoopback(a netip.Addr) error {
	if a.IsLoopback() {
		return fmt.Errorf("has the address %s", a)
	}
	return nil
}

func (s *Set) check(t *testing.T, what string, want ...string) {
	t.Helper()
	if got := s.Servers(); !reflect.DeepEqual(got, found(want...)) {
		t.Errorf("%s: servers %v, want %v", what, got, want)
	}
}

func TestSetKeepsLastGood(t *testing.T) {
	var s Set
	steps := []struct {
		what    string
		answer  []Found
		failure error
		changed bool
		problem string
		want    []string
	}{
		{"nothing yet", nil, errors.New("refused"), false, "refused", nil},
		{"first", found("10.0.0.2:80", "10.0.0.1:80"), nil, true, "", []string{"10.0.0.1:80", "10.0.0.2:80"}},
		{"other order, one twice", found("10.0.0.1:80", "10.0.0.2:80", "10.0.0.1:80"), nil, false, "", []string{"10.0.0.1:80", "10.0.0.2:80"}},
		{"failure", nil, errors.New("timed out"), false, "timed out", []string{"10.0.0.1:80", "10.0.0.2:80"}},
		{"empty", nil, nil, false, "no addresses", []string{"10.0.0.1:80", "10.0.0.2:80"}},
		{"refused", found("127.0.0.1:80"), nil, false, "has the address 127.0.0.1", []string{"10.0.0.1:80", "10.0.0.2:80"}},
		{"refused in part", found("127.0.0.1:80", "10.0.0.2:80"), nil, true, "has the address 127.0.0.1", []string{"10.0.0.2:80"}},
		{"another port", found("10.0.0.2:81"), nil, true, "", []string{"10.0.0.2:81"}},
		{"another weight", found("10.0.0.2:81/0/5"), nil, true, "", []string{"10.0.0.2:81/0/5"}},
	}
	for _, step := range steps {
		changed, problem := s.Answered(rules, step.answer, step.failure, judgeLoopback)
		if changed != step.changed || (problem == nil) != (step.problem == "") || problem != nil && problem.Error() != step.problem {
			t.Errorf("%s: changed %t, problem %v; want %t, %q", step.what, changed, problem, step.changed, step.problem)
		}
		s.check(t, step.what, step.want...)
	}
}

func TestSetOrdersByPriority(t *testing.T) {
	var s Set
	s.Answered(rules, found("10.0.0.1:80/20/1", "10.0.0.3:80/10/7", "10.0.0.2:80/10/3", "10.0.0.1:80/10/1"), nil, judgeLoopback)
	s.check(t, "priorities", "10.0.0.1:80/10/1", "10.0.0.2:80/10/3", "10.0.0.3:80/10/7")
}

// Of more addresses than are used, those in use stay.
func TestSetIsBounded(t *testing.T) {
	var s Set
	s.Answered(rules, found("10.0.0.7:80", "10.0.0.8:80", "10.0.0.9:80"), nil, judgeLoopback)
	_, problem := s.Answered(rules, found("10.0.0.1:80", "10.0.0.2:80", "10.0.0.7:80", "10.0.0.9:80", "10.0.0.3:80"), nil, judgeLoopback)
	if problem == nil || problem.Error() != "5 addresses, of which 4 are used" {
		t.Errorf("problem %v", problem)
	}
	s.check(t, "bounded", "10.0.0.1:80", "10.0.0.2:80", "10.0.0.7:80", "10.0.0.9:80")
	if changed, _ := s.Answered(rules, found("10.0.0.0:80", "10.0.0.1:80", "10.0.0.2:80", "10.0.0.7:80", "10.0.0.9:80"), nil, judgeLoopback); changed {
		t.Errorf("a new address over the bound moved the others: %v", s.Servers())
	}
}

func TestSetNext(t *testing.T) {
	var s Set
	between := func(what string, low, high time.Duration) {
		t.Helper()
		if got := s.Next(rules, 0); got != low {
			t.Errorf("%s: earliest %v, want %v", what, got, low)
		}
		if got := s.Next(rules, 0.999999); got < high-time.Millisecond || got > high {
			t.Errorf("%s: latest %v, want %v", what, got, high)
		}
	}
	between("good", 10*time.Second, 30*time.Second)
	for _, wait := range []time.Duration{1, 2, 4, 8, 16, 30, 30} {
		s.Answered(rules, nil, errors.New("refused"), judgeLoopback)
		between(fmt.Sprint(wait, " s"), wait*time.Second/2, wait*time.Second)
	}
	s.Answered(rules, found("10.0.0.1:80"), nil, judgeLoopback)
	between("good again", 10*time.Second, 30*time.Second)
}
