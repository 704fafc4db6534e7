package policytest

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"strings"
)

// Text writes the suite for people: each failure with what was expected, what
// came, and what every rule said; then the rules that no test exercises.
func (s *Suite) Text(w io.Writer, verbose bool) {
	for i := range s.Results {
		r := &s.Results[i]
		switch {
		case len(r.Failures) > 0:
			fmt.Fprintf(w, "FAIL %s:%d: %s\n", r.File, r.Line, r.Name)
			for _, f := range r.Failures {
				fmt.Fprintf(w, "     %s\n       - want %s\n       + got  %s\n", f.What, orNothing(f.Want), orNothing(f.Got))
			}
			writeTrace(w, "     ", r.Trace)
		case verbose:
			fmt.Fprintf(w, "ok   %s:%d: %s\n", r.File, r.Line, r.Name)
		}
	}
	if len(s.Untested) > 0 {
		fmt.Fprintf(w, "no test is refused by: %s\n", strings.Join(s.Untested, ", "))
	}
	fmt.Fprintf(w, "%d passed, %d failed\n", len(s.Results)-s.Failed(), s.Failed())
}

// writeTrace writes what each rule said, one line each.
func writeTrace(w io.Writer, indent string, trace []Step) {
	for _, s := range trace {
		fmt.Fprintf(w, "%s%-12s %s/%s", indent, s.Outcome, s.Policy, s.Rule)
		if s.Reason != "" {
			fmt.Fprintf(w, ": %d %s", s.Status, s.Reason)
		}
		fmt.Fprintln(w)
	}
}

func orNothing(s string) string {
	if s == "" {
		return "nothing"
	}
	return s
}

// JSON writes the suite for programs.
func (s *Suite) JSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(struct {
		Passed int `json:"passed"`
		Failed int `json:"failed"`
		*Suite
	}{len(s.Results) - s.Failed(), s.Failed(), s})
}

// The elements of a JUnit report, as CI systems read them.
type (
	junitSuites struct {
		XMLName xml.Name     `xml:"testsuites"`
		Suites  []junitSuite `xml:"testsuite"`
	}
	junitSuite struct {
		Name     string      `xml:"name,attr"`
		Tests    int         `xml:"tests,attr"`
		Failures int         `xml:"failures,attr"`
		Cases    []junitCase `xml:"testcase"`
	}
	junitCase struct {
		Name    string        `xml:"name,attr"`
		Class   string        `xml:"classname,attr"`
		Time    string        `xml:"time,attr"`
		Failure *junitFailure `xml:"failure,omitempty"`
	}
	junitFailure struct {
		Message string `xml:"message,attr"`
		Text    string `xml:",chardata"`
	}
)

// JUnit writes the suite as JUnit XML, one testsuite for each file.
func (s *Suite) JUnit(w io.Writer) error {
	var all junitSuites
	for i := range s.Results {
		r := &s.Results[i]
		if n := len(all.Suites); n == 0 || all.Suites[n-1].Name != r.File {
			all.Suites = append(all.Suites, junitSuite{Name: r.File})
		}
		suite := &all.Suites[len(all.Suites)-1]
		c := junitCase{Name: r.Name, Class: r.File, Time: fmt.Sprintf("%.6f", r.Duration.Seconds())}
		if len(r.Failures) > 0 {
			suite.Failures++
			c.Failure = failureOf(r)
		}
		suite.Tests++
		suite.Cases = append(suite.Cases, c)
	}
	fmt.Fprint(w, xml.Header)
	e := xml.NewEncoder(w)
	e.Indent("", "  ")
	if err := e.Encode(all); err != nil {
		return err
	}
	_, err := fmt.Fprintln(w)
	return err
}

func failureOf(r *Result) *junitFailure {
	var text strings.Builder
	for _, f := range r.Failures {
		fmt.Fprintf(&text, "%s: want %s, got %s\n", f.What, orNothing(f.Want), orNothing(f.Got))
	}
	writeTrace(&text, "", r.Trace)
	first := r.Failures[0]
	return &junitFailure{Message: fmt.Sprintf("%s: want %s, got %s", first.What, orNothing(first.Want), orNothing(first.Got)), Text: text.String()}
}

// Explain writes what every rule says of one request, and the outcome.
func Explain(w io.Writer, e *Explanation) {
	if e.Route != "" {
		fmt.Fprintf(w, "route        %s\n", e.Route)
	}
	writeTrace(w, "", e.Trace)
	fmt.Fprintf(w, "=> %s", e.Decision)
	if e.Status != 0 {
		fmt.Fprintf(w, ": %d %s", e.Status, e.Reason)
	}
	fmt.Fprintln(w)
	for _, line := range e.Upstream {
		fmt.Fprintf(w, "   upstream gets %s\n", line)
	}
}
