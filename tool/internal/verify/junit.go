package verify

import (
	"encoding/xml"
	"fmt"
	"strings"
)

// JUnit returns the report as Bazel and others read reports of tests: a suite for each
// kernel, and in it a case for each program and preset.
func (r *Report) JUnit() ([]byte, error) {
	type message struct {
		Message string `xml:"message,attr"`
		Text    string `xml:",chardata"`
	}
	type testCase struct {
		Name    string   `xml:"name,attr"`
		Class   string   `xml:"classname,attr"`
		Time    string   `xml:"time,attr"`
		Failure *message `xml:"failure,omitempty"`
		Skipped *message `xml:"skipped,omitempty"`
	}
	type suite struct {
		Name     string     `xml:"name,attr"`
		Tests    int        `xml:"tests,attr"`
		Failures int        `xml:"failures,attr"`
		Skipped  int        `xml:"skipped,attr"`
		Cases    []testCase `xml:"testcase"`
	}
	var all struct {
		XMLName xml.Name `xml:"testsuites"`
		Suites  []suite  `xml:"testsuite"`
	}
	for _, k := range r.kernels() {
		s := suite{Name: fmt.Sprintf("kernel %s, %s", k.name, k.cpu)}
		for i := range r.Results {
			res := &r.Results[i]
			if res.Kernel != k.name || res.CPU != k.cpu {
				continue
			}
			c := testCase{Name: res.Case(), Class: s.Name, Time: fmt.Sprintf("%.6f", float64(res.NS)/1e9)}
			// Some readers show the one of the two, and some the other.
			newMessage := func(text string) *message {
				return &message{text, strings.Join(append([]string{text}, res.Log...), "\n")}
			}
			reason := res.Reason
			if len(res.Over) > 0 {
				reason = strings.Join(res.Over, ", ")
			}
			switch {
			case res.Bad():
				c.Failure = newMessage(reason)
				s.Failures++
			case res.MayFail != "":
				c.Skipped = newMessage("may fail: " + res.MayFail + ": " + reason)
				s.Skipped++
			case res.Verdict == NotApplicable:
				c.Skipped = newMessage("not applicable: " + reason)
				s.Skipped++
			}
			s.Cases = append(s.Cases, c)
			s.Tests++
		}
		all.Suites = append(all.Suites, s)
	}
	data, err := xml.MarshalIndent(all, "", "\t")
	if err != nil {
		return nil, fmt.Errorf("write the cases: %w", err)
	}
	return append([]byte(xml.Header), append(data, '\n')...), nil
}

// Case is the program's name among the cases of a test: "edge.bpf.o/xdp_main/small".
func (r *Result) Case() string {
	name := r.Object + "/" + r.Program
	if r.Preset != "" {
		name += "/" + r.Preset
	}
	return name
}
