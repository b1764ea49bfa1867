package main

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// The report that Bazel takes, as far as a skipped test fills it.
type (
	reportSuites struct {
		XMLName xml.Name `xml:"testsuites"`
		Suite   reportSuite
	}
	reportSuite struct {
		XMLName xml.Name `xml:"testsuite"`
		Name    string   `xml:"name,attr"`
		Tests   int      `xml:"tests,attr"`
		Skipped int      `xml:"skipped,attr"`
		Case    reportCase
	}
	reportCase struct {
		XMLName xml.Name `xml:"testcase"`
		Name    string   `xml:"name,attr"`
		Skipped struct {
			Message string `xml:"message,attr"`
			Text    string `xml:",chardata"`
		} `xml:"skipped"`
	}
)

// reportSkip reports that the whole test is skipped: to the reader, and to Bazel,
// which knows no such result but keeps the report.
func reportSkip(reason string) error {
	fmt.Println("--- SKIP:", reason)
	// Without this file, Bazel takes a test for one that cannot be sharded.
	if path := os.Getenv("TEST_SHARD_STATUS_FILE"); path != "" {
		if err := os.WriteFile(path, nil, 0o644); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	path := os.Getenv("XML_OUTPUT_FILE")
	if path == "" {
		return nil
	}
	name := os.Getenv("TEST_TARGET")
	var r reportSuites
	r.Suite = reportSuite{Name: name, Tests: 1, Skipped: 1, Case: reportCase{Name: name}}
	r.Suite.Case.Skipped.Message = "skipped"
	r.Suite.Case.Skipped.Text = reason
	data, err := xml.MarshalIndent(&r, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append([]byte(xml.Header), data...), 0o644)
}
