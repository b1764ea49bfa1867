package main

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

var (
	fence   = regexp.MustCompile("(?ms)^[ \t]*```.*?^[ \t]*```")
	code    = regexp.MustCompile("`([^`\n]*)`")
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ +(.+)$`)
	label   = regexp.MustCompile("(?:^|[\\s\"'(`])//([\\w/-][\\w./-]*)(?::([\\w./-]+))?")
	name    = regexp.MustCompile(`name = "([^"]+)"`)
	// noAnchor is what GitHub leaves out of the anchor of a heading, destinations of links too.
	noAnchor = regexp.MustCompile(`\]\([^)]*\)|[^\p{L}\p{N}_ -]`)
)

// docs checks what Markdown files refer to: relative links and their anchors, and the labels
// and paths that begin with a directory of the root.
func (l *linter) docs() error {
	known := map[string]bool{}
	for _, file := range l.files {
		for p := file; p != "."; p = path.Dir(p) {
			known[p] = true
		}
	}
	read := func(file string) string {
		text, _ := os.ReadFile(filepath.Join(l.root, file)) // a file that is missing has no targets
		return string(text)
	}
	var problems []string
	for _, file := range l.files {
		if path.Ext(file) != ".md" || strings.Contains(file, "/testdata/") {
			continue
		}
		data, err := os.ReadFile(filepath.Join(l.root, file))
		if err != nil {
			return err
		}
		text := string(data)
		report := func(what, name string) { problems = append(problems, file+": "+what+" "+name) }
		for _, m := range label.FindAllStringSubmatch(text, -1) {
			pkg := strings.TrimSuffix(strings.TrimSuffix(m[1], "..."), "/")
			if top, _, _ := strings.Cut(pkg, "/"); !known[top] {
				continue // of a user's repository
			}
			// Macros declare targets whose names begin with theirs.
			declared := slices.ContainsFunc(name.FindAllStringSubmatch(read(pkg+"/BUILD.bazel"), -1), func(n []string) bool {
				return m[2] == n[1] || strings.HasPrefix(m[2], n[1]+"_")
			})
			if !known[pkg] || m[2] != "" && !declared && !known[pkg+"/"+m[2]] {
				report("no target is called", strings.Trim(m[0], " \n\"'(`"))
			}
		}
		body := fence.ReplaceAllString(text, "")
		for _, m := range code.FindAllStringSubmatch(body, -1) {
			p := strings.TrimSuffix(m[1], "/...")
			top, rest, _ := strings.Cut(p, "/")
			if !known[top] || rest == "" || strings.ContainsAny(p, " :*{<") || known[path.Clean(p)] {
				continue
			}
			// A page may leave out the first directories of what it is about.
			if !slices.ContainsFunc(l.files, func(file string) bool { return strings.Contains("/"+file+"/", "/"+path.Clean(p)+"/") }) {
				report("no file or directory is called", p)
			}
		}
		for _, m := range link.FindAllStringSubmatch(code.ReplaceAllString(body, ""), -1) {
			to, anchor, _ := strings.Cut(m[1], "#")
			target := path.Join(path.Dir(file), to)
			if to == "" {
				target = file
			}
			if strings.Contains(to, ":") {
				continue // of another site
			}
			if !known[target] {
				report("no file or directory for the link", m[1])
			} else if anchor != "" && !anchors(read(target))[anchor] {
				report("no heading for the link", m[1])
			}
		}
	}
	if len(problems) > 0 {
		return errors.New("\n  " + strings.Join(problems, "\n  "))
	}
	return nil
}

// anchors returns the anchors of the headings of a Markdown file, as GitHub makes them: those of
// equal headings have numbers from the second one on.
func anchors(text string) map[string]bool {
	found := map[string]bool{}
	count := map[string]int{}
	for _, h := range heading.FindAllStringSubmatch(fence.ReplaceAllString(text, ""), -1) {
		anchor := strings.ReplaceAll(strings.ToLower(noAnchor.ReplaceAllString(h[1], "")), " ", "-")
		if n := count[anchor]; n > 0 {
			found[fmt.Sprintf("%s-%d", anchor, n)] = true
		} else {
			found[anchor] = true
		}
		count[anchor]++
	}
	return found
}
