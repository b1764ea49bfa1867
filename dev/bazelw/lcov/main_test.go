package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// write makes a file, and returns its path.
func write(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestMerge(t *testing.T) {
	dir := t.TempDir()
	one := write(t, filepath.Join(dir, "one.dat"), `SF:b.go
FN:1,Bar
FN:5,9,Foo
FNDA:2,Foo
FNDA:0,Bar
BRDA:6,0,0,1
BRDA:6,0,1,-
DA:6,2
DA:7,0
LH:1
LF:2
end_of_record
SF:made.go
DA:1,1
end_of_record
SF:/usr/lib/go/x.go
DA:1,1
end_of_record
`)
	two := write(t, filepath.Join(dir, "below", "two.dat"), "TN:\nSF:b.go\nFNDA:1,Foo\nBRDA:6,0,0,2\nDA:6,18446744073709551613\nDA:10,1\nend_of_record\nSF:a.go\nend_of_record\n")
	write(t, filepath.Join(dir, "other.txt"), "SF")
	b := `SF:b.go
FN:1,Bar
FN:5,Foo
FNDA:0,Bar
FNDA:3,Foo
FNF:2
FNH:1
BRDA:6,0,0,3
BRDA:6,0,1,-
BRF:2
BRH:1
DA:6,18446744073709551615
DA:7,0
DA:10,1
LH:2
LF:3
end_of_record
`
	a := "SF:a.go\nLH:0\nLF:0\nend_of_record\n"
	made := "SF:made.go\nDA:1,1\nLH:1\nLF:1\nend_of_record\n"

	output := filepath.Join(dir, "output")
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"--coverage_dir=" + dir, "--filter_sources=/usr/lib/.+"}, a + b + made},
		// A filter has to match the whole name.
		{[]string{"--coverage_dir=" + dir, "--filter_sources=/usr/lib/.+", "--filter_sources=ade"}, a + b + made},
		{[]string{
			"--coverage_dir=" + dir, "--filter_sources=/usr/lib/.+",
			"--source_file_manifest=" + write(t, filepath.Join(dir, "manifest"), "b.go\nother.go\n"),
		}, b},
		{[]string{"--reports_file=" + write(t, filepath.Join(dir, "reports"), one+"\n\n"+two+"\n"), "--filter_sources=(/usr/lib/|made).+"}, a + b},
		{[]string{"--coverage_dir=" + t.TempDir()}, ""},
	} {
		if err := run(append(test.args, "--output_file="+output)); err != nil {
			t.Errorf("%q: %v", test.args, err)
			continue
		}
		got, err := os.ReadFile(output)
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != test.want {
			t.Errorf("%q: got\n%s\nwant\n%s", test.args, got, test.want)
		}
	}
}

func TestErrors(t *testing.T) {
	for _, test := range []struct{ name, text, want string }{
		{"a.dat", "DA:1,2\n", `a.dat:1: "DA:1,2": is in no record`},
		{"a.dat", "SF:a.go\nDA:1\n", `a.dat:2: "DA:1": has 1 fields, want 2`},
		{"a.dat", "SF:a.go\nDA:one,1\n", `a.dat:2: "DA:one,1": `},
		{"a.dat", "SF:a.go\nDA:1,-1\n", `a.dat:2: "DA:1,-1": `},
		{"a.dat", "SF:a.go\nFNDA:x,f\n", `a.dat:2: "FNDA:x,f": `},
		{"a.dat", "SF:a.go\nBRDA:1,0,0,x\n", `a.dat:2: "BRDA:1,0,0,x": `},
		{"a.gcov", "", "a.gcov: only LCOV files are known here"},
		{"a.gcov.json.gz", "", "a.gcov.json.gz: only LCOV files are known here"},
	} {
		dir := t.TempDir()
		write(t, filepath.Join(dir, test.name), test.text)
		err := run([]string{"--coverage_dir=" + dir, "--output_file=" + filepath.Join(dir, "output")})
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%q: %v, want %s", test.text, err, test.want)
		}
	}

	dir := t.TempDir()
	for _, args := range [][]string{
		{},
		{"--output_file=" + filepath.Join(dir, "output")},
		{"--coverage_dir=" + dir},
		{"--coverage_dir=" + dir, "--output_file=" + filepath.Join(dir, "output"), "more"},
		{"--coverage_dir=" + dir, "--output_file=" + filepath.Join(dir, "output"), "--filter_sources=("},
		{"--coverage_dir=" + filepath.Join(dir, "none"), "--output_file=" + filepath.Join(dir, "output")},
		{"--reports_file=" + filepath.Join(dir, "none"), "--output_file=" + filepath.Join(dir, "output")},
	} {
		if err := run(args); err == nil {
			t.Errorf("%q: no error", args)
		}
	}
}
