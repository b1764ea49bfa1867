package gazelle_test

import (
	"os"
	"strings"
	"testing"
)

const (
	inclusions = "#include <linux/bpf.h>\n#include <bpf/bpf_helpers.h>\n"
	program    = "SEC(\"xdp\") int p(void *ctx) { return 0; }\n"
	license    = "char LICENSE[] SEC(\"license\") = \"GPL\";\n"
)

// says runs Gazelle, twice, and returns what the first run says.
func (r *repository) says(args ...string) string {
	r.t.Helper()
	out, exit := gazelle(r.t, r.root, args...)
	if exit != 0 {
		r.t.Fatalf("exit status %d: %s", exit, out)
	}
	before := buildFiles(r.t, r.root, "")
	gazelle(r.t, r.root, args...)
	compare(r.t, "a second run", buildFiles(r.t, r.root, ""), before)
	return out
}

// has checks that a BUILD file has texts, and has not those that begin with "!".
func (r *repository) has(build string, texts ...string) {
	r.t.Helper()
	content, err := os.ReadFile(r.path(build))
	if err != nil && !os.IsNotExist(err) {
		r.t.Fatal(err)
	}
	for _, text := range texts {
		text, not := strings.CutPrefix(text, "!")
		if strings.Contains(string(content), text) == not {
			r.t.Errorf("%s: has %s: %v, want the other:\n%s", build, text, !not, content)
		}
	}
}

// edit replaces a text of a file.
func (r *repository) edit(name, old, new string) {
	r.t.Helper()
	content, err := os.ReadFile(r.path(name))
	if err != nil {
		r.t.Fatal(err)
	}
	if !strings.Contains(string(content), old) {
		r.t.Fatalf("%s has no %q:\n%s", name, old, content)
	}
	r.write(name, strings.Replace(string(content), old, new, 1))
}

// TestSecondHeader adds a header to a library of headers: it has both from then on.
func TestSecondHeader(t *testing.T) {
	t.Parallel()
	r := newRepository(t)
	r.write("h/a.bpf.h", "#define A 1\n")
	r.says()
	r.write("h/b.bpf.h", "#define B 1\n")
	for range 3 {
		r.says()
		r.has("h/BUILD.bazel", `"a.bpf.h"`, `"b.bpf.h"`)
	}
}

// TestHeaderDefinitions has a header that defines a variable: each file that includes
// it does, and no library.
func TestHeaderDefinitions(t *testing.T) {
	t.Parallel()
	r := newRepository(t)
	r.write("h/h.bpf.h", "#pragma once\nint hv;\n")
	r.write("a/a.bpf.c", inclusions+"#include \"h/h.bpf.h\"\nSEC(\"xdp\") int p(void *c) { return hv; }\n"+license)
	r.write("c/c.bpf.c", inclusions+"extern int hv;\nSEC(\"xdp\") int p(void *c) { return hv; }\n"+license)
	out := r.says()
	if strings.Contains(out, "more than once") || !strings.Contains(out, "c/c.bpf.c:4: hv, which //c needs, is defined only in a final object") {
		t.Errorf("said: %s", out)
	}
	r.has("a/BUILD.bazel", `deps = ["//h:h_bpf"]`)
	r.has("c/BUILD.bazel", "!deps")
}

// TestStaleSubskeleton deletes the source of a library, whose header stays.
func TestStaleSubskeleton(t *testing.T) {
	t.Parallel()
	r := newRepository(t)
	r.write("l/l.bpf.c", inclusions+"int lf(void) { return 1; }\n")
	r.write("l/l.bpf.h", "int lf(void);\n")
	r.says()
	r.has("l/BUILD.bazel", "bpf_subskeleton(")
	r.remove("l/l.bpf.c")
	r.says()
	r.has("l/BUILD.bazel", "!bpf_subskeleton", `hdrs = ["l.bpf.h"]`)
}

// TestEmptyLibrary has a library without symbols, of which no subskeleton can be made.
func TestEmptyLibrary(t *testing.T) {
	t.Parallel()
	r := newRepository(t)
	r.write("e/e.bpf.c", inclusions+"static int f(void) { return 1; }\n")
	r.says()
	r.has("e/BUILD.bazel", "bpf_library(", "!bpf_subskeleton")
	r.write("e/e.bpf.c", inclusions+"int f(void) { return 1; }\n")
	r.says()
	r.has("e/BUILD.bazel", "bpf_subskeleton(")
	r.write("e/e.bpf.c", inclusions+"static int f(void) { return 1; }\n")
	r.says()
	r.has("e/BUILD.bazel", "bpf_library(", "!bpf_subskeleton")
}

// TestCheckedInVmlinux has a vmlinux.h in the repository: beside the file, in a
// directory of headers, one for each architecture, and listed by hand.
func TestCheckedInVmlinux(t *testing.T) {
	t.Parallel()
	r := newRepository(t)
	vmlinux := "#ifndef __VMLINUX_H__\n#define __VMLINUX_H__\ntypedef unsigned int __u32;\n#endif\n"
	source := "#include \"vmlinux.h\"\n#include <bpf/bpf_helpers.h>\n#ifndef __VMLINUX_H__\n#error no\n#endif\n" + program + license
	r.write("a/vmlinux.h", vmlinux)
	r.write("a/a.bpf.c", source)
	r.write("headers/vmlinux.h", "#if defined(__TARGET_ARCH_x86)\n#include \"vmlinux-x86.h\"\n#elif defined(__TARGET_ARCH_arm64)\n#include \"vmlinux-arm64.h\"\n#endif\n")
	r.write("headers/vmlinux-x86.h", vmlinux)
	r.write("headers/vmlinux-arm64.h", vmlinux)
	r.write("b/BUILD.bazel", "# gazelle:bpf_search /headers\n")
	r.write("b/b.bpf.c", source)
	r.write("c/c.bpf.c", strings.Replace(source, "vmlinux.h", "../headers/vmlinux.h", 1))
	if out := r.says(); out != "" {
		t.Errorf("said: %s", out)
	}
	r.has("a/BUILD.bazel", `hdrs = ["vmlinux.h"]`)
	r.has("b/BUILD.bazel", `"../headers",`, `deps = ["//headers:headers_bpf"]`)
	r.has("c/BUILD.bazel", `deps = ["//headers:headers_bpf"]`)
	r.has("headers/BUILD.bazel", `"vmlinux.h"`, `"vmlinux-x86.h"`, `"vmlinux-arm64.h"`)
}

// TestVmlinuxElse has a header of one architecture behind #else.
func TestVmlinuxElse(t *testing.T) {
	t.Parallel()
	r := newRepository(t)
	r.write("bpf/vmlinux.h", "#ifdef __TARGET_ARCH_x86\n#include \"x86/vmlinux.h\"\n#elif defined(__TARGET_ARCH_s390)\n#error no s390\n"+
		"#else\n#include \"arm64/vmlinux.h\"\n#endif\n")
	r.write("bpf/x86/vmlinux.h", "")
	r.write("bpf/arm64/vmlinux.h", "")
	r.write("bpf/a.bpf.c", "#include \"vmlinux.h\"\n"+inclusions+program+license)
	if out := r.says(); out != "" {
		t.Errorf("Gazelle says:\n%s", out)
	}
	r.has("bpf/BUILD.bazel", `"arm64/vmlinux.h"`, `"vmlinux.h"`, `"x86/vmlinux.h"`)
}

// TestVmlinuxElsewhere has a checked-in vmlinux.h in a directory that nobody names, with
// those of the architectures below it.
func TestVmlinuxElsewhere(t *testing.T) {
	t.Parallel()
	r := newRepository(t)
	vmlinux := "#ifndef __VMLINUX_H__\n#define __VMLINUX_H__\ntypedef unsigned int __u32;\n#endif\n"
	source := "#include \"vmlinux.h\"\n#include <bpf/bpf_helpers.h>\n#ifndef __VMLINUX_H__\n#error no\n#endif\n" + program + license
	r.write("a/a.bpf.c", source)
	r.write("headers/vmlinux.h", "#if defined(__TARGET_ARCH_x86)\n#include \"x86/vmlinux.h\"\n#elif defined(__TARGET_ARCH_arm64)\n#include \"arm64/vmlinux.h\"\n#endif\n")
	r.write("headers/x86/vmlinux.h", vmlinux)
	r.write("headers/arm64/vmlinux.h", vmlinux)
	if out := r.says(); out != "" {
		t.Errorf("said: %s", out)
	}
	r.has("a/BUILD.bazel", `"../headers",`, `deps = ["//headers:headers_bpf"]`)
	r.has("headers/BUILD.bazel", `hdrs = ["vmlinux.h"]`, `"//headers/arm64:arm64_bpf"`, `"//headers/x86:x86_bpf"`)
	// Two that have nothing to do with each other.
	r.write("old/vmlinux.h", vmlinux)
	r.write("b/b.bpf.c", source)
	if out := r.says(); !strings.Contains(out, `b/b.bpf.c:1: "vmlinux.h" is in several directories: name the one to search: # gazelle:bpf_search`) {
		t.Errorf("said: %s", out)
	}
}

// TestHandWrittenHeaders keeps what people list, used or not.
func TestHandWrittenHeaders(t *testing.T) {
	t.Parallel()
	r := newRepository(t)
	r.write("a/a.bpf.c", inclusions+program+license)
	r.write("a/other.h", "#define OTHER 1\n")
	r.says()
	r.edit("a/BUILD.bazel", `src = "a.bpf.c",`, "src = \"a.bpf.c\",\n    hdrs = [\"other.h\"],")
	r.says()
	r.has("a/BUILD.bazel", `hdrs = ["other.h"]`)
	// The rest of the rule is Gazelle's as before.
	r.write("a/own.h", "#define OWN 1\n")
	r.write("a/a.bpf.c", inclusions+"#include \"own.h\"\n"+program+license)
	r.says()
	r.has("a/BUILD.bazel", `"other.h"`, `"own.h"`)
}

// TestEmbed has a test of a skeleton's own package, and a skeleton that a go_library
// embeds.
func TestEmbed(t *testing.T) {
	t.Parallel()
	r := newRepository(t)
	r.write("t/t.bpf.c", inclusions+program+license)
	r.write("t/t_test.go", "package t\n\nimport \"testing\"\n\nfunc TestX(t *testing.T) { _, _ = Open() }\n")
	r.write("x/x.bpf.c", inclusions+program+license)
	r.write("x/x_test.go", "package x_test\n\nimport (\n\t\"testing\"\n\n\t\"example.com/app/x\"\n)\n\nfunc TestX(t *testing.T) { _, _ = x.Open() }\n")
	r.write("g/g.bpf.c", "//go:build ignore\n"+inclusions+program+license)
	r.write("g/g.go", "package g\n")
	r.says()
	r.has("t/BUILD.bazel", `embed = [":t"]`)
	r.has("x/BUILD.bazel", "!embed", `deps = [":x"]`)
	r.has("g/BUILD.bazel", `importpath = "example.com/app/g/g"`)
	r.edit("g/BUILD.bazel", `srcs = ["g.go"],`, "srcs = [\"g.go\"],\n    embed = [\":g_skel\"],")
	r.edit("g/BUILD.bazel", `importpath = "example.com/app/g/g"`, `importpath = "example.com/app/g"`)
	r.says()
	r.has("g/BUILD.bazel", `embed = [":g_skel"]`, "!example.com/app/g/g")
}

// TestSecondObject adds an object to a directory: the first one keeps its import
// path, by which others know it.
func TestSecondObject(t *testing.T) {
	t.Parallel()
	r := newRepository(t)
	r.write("o/one.bpf.c", inclusions+program+license)
	r.write("u/u.go", "package u\n\nimport _ \"example.com/app/o\"\n")
	r.says()
	r.has("u/BUILD.bazel", `deps = ["//o"]`)
	r.write("o/two.bpf.c", inclusions+program+license)
	r.says()
	r.has("o/BUILD.bazel", `importpath = "example.com/app/o",`, `importpath = "example.com/app/o/two",`)
	r.has("u/BUILD.bazel", `deps = ["//o"]`)
}

// TestErrorAttribute declares a function that is never called in the object.
func TestErrorAttribute(t *testing.T) {
	t.Parallel()
	r := newRepository(t)
	r.write("a/a.bpf.c", inclusions+`SEC("xdp") int p(void *c) {
	extern __attribute__((__error__("bad size"))) void bad(void);
	if (sizeof(int) != 4)
		bad();
	return 0;
}
`+license)
	if out := r.says(); out != "" {
		t.Errorf("said: %s", out)
	}
}

// TestIncludedSource includes a C file of another directory: it is a header of a
// library, and with a directive compiled as well.
func TestIncludedSource(t *testing.T) {
	t.Parallel()
	r := newRepository(t)
	r.write("impl/impl.bpf.c", inclusions+"static int f(void) { return 1; }\n")
	r.write("a/a.bpf.c", inclusions+"#include \"impl/impl.bpf.c\"\nSEC(\"xdp\") int p(void *c) { return f(); }\n"+license)
	if out := r.says(); out != "" {
		t.Errorf("said: %s", out)
	}
	r.has("impl/BUILD.bazel", `hdrs = ["impl.bpf.c"]`, "!srcs")
	r.has("a/BUILD.bazel", `deps = ["//impl:impl_bpf"]`)
	r.edit("impl/BUILD.bazel", "\nbpf_library(", "\n# gazelle:bpf_library impl.bpf.c\n\nbpf_library(")
	r.says()
	r.has("impl/BUILD.bazel", `hdrs = ["impl.bpf.c"]`, `srcs = ["impl.bpf.c"]`)
	r.has("a/BUILD.bazel", `deps = ["//impl:impl_bpf"]`)
}

// TestRemovedDirective removes directives: what they added goes, and what was written
// by hand stays.
func TestRemovedDirective(t *testing.T) {
	t.Parallel()
	r := newRepository(t)
	r.write("inc/x.h", "#define X 1\n")
	r.write("other/x.h", "#define X 2\n")
	r.write("a/BUILD.bazel", "# gazelle:bpf_copts -DONE -Wextra\n# gazelle:bpf_search /inc\n")
	r.write("a/a.bpf.c", inclusions+"#include \"x.h\"\n"+program+license)
	r.says()
	r.has("a/BUILD.bazel", `"-DONE",`, `"-Wextra",`, `"../inc",`)
	r.edit("a/BUILD.bazel", "copts = [\n", "copts = [\n        \"-DOWN\",\n")
	r.edit("a/BUILD.bazel", "# gazelle:bpf_copts -DONE -Wextra\n# gazelle:bpf_search /inc\n", "# gazelle:bpf_search /other\n")
	r.says()
	r.has("a/BUILD.bazel", `"-DOWN"`, `"../other",`, "!ONE", "!Wextra", "!../inc", "!inc_bpf")
	// Nothing is left of what a directive alone made.
	r.write("b/BUILD.bazel", "# gazelle:bpf_copts -DONE\n")
	r.write("b/b.bpf.c", inclusions+program+license)
	r.says()
	r.has("b/BUILD.bazel", "copts = [")
	r.edit("b/BUILD.bazel", "# gazelle:bpf_copts -DONE\n", "")
	r.says()
	r.has("b/BUILD.bazel", "!copts")
}

// TestVendored has lines in a tree of other people's packages.
func TestVendored(t *testing.T) {
	t.Parallel()
	for _, dir := range []string{"vendor/example.com/v", "tools/node_modules/v"} {
		for _, args := range [][]string{nil, {"-index=lazy"}, {"-r=false", "-index=none", dir}} {
			r := newRepository(t)
			r.write("go.mod", "module example.com/app\n\nrequire github.com/cilium/ebpf v0.22.0\n")
			r.write(dir+"/v.go", "package v\n\n//go:generate go tool bpf2go one one.c\n//go:generate go tool bpf2go two ../two.c\n")
			r.write(dir+"/one.c", inclusions+program+license)
			r.write("a/a.bpf.c", inclusions+program+license)
			if out := r.says(args...); out != "" {
				t.Errorf("%s %v: said: %s", dir, args, out)
			}
			r.has(dir+"/BUILD.bazel", "!bpf")
		}
	}
}

// TestVendoredHeaders includes headers of other people's packages, and compiles a source
// of theirs.
func TestVendoredHeaders(t *testing.T) {
	t.Parallel()
	r := newRepository(t)
	r.write("go.mod", "module example.com/m\n\nrequire github.com/cilium/ebpf v0.22.0\n")
	r.write("vendor/example.com/v/v.go", "package v\n")
	r.write("vendor/example.com/v/v.h", "")
	r.write("vendor/example.com/v/bpf/b.h", "")
	r.write("vendor/example.com/v/c/c.go", "package c\n\n//go:generate go tool bpf2go c c.c\n")
	r.write("vendor/example.com/v/c/c.c", "//go:build ignore\n\n"+inclusions+program+license)
	r.write("app/one.c", "//go:build ignore\n\n"+inclusions+"#include \"v.h\"\n#include \"bpf/b.h\"\n"+program+license)
	r.write("app/app.go", "package app\n\n//go:generate go tool bpf2go one one.c -- -I../vendor/example.com/v\n"+
		"//go:generate go tool bpf2go c ../vendor/example.com/v/c/c.c\n")
	if out := r.says(); out != "" {
		t.Errorf("Gazelle says:\n%s", out)
	}
	r.has("app/BUILD.bazel", `"//vendor/example.com/v:v_bpf"`, `"//vendor/example.com/v/bpf:bpf_bpf"`, `"../vendor/example.com/v",`,
		`srcs = ["//vendor/example.com/v/c:c_src"]`)
	r.has("vendor/example.com/v/BUILD.bazel", `hdrs = ["v.h"]`, `srcs = ["v.go"]`)
	r.has("vendor/example.com/v/bpf/BUILD.bazel", `hdrs = ["b.h"]`)
	r.has("vendor/example.com/v/c/BUILD.bazel", `name = "c_src"`, "!bpf2go(")
}

// TestLicenseGone takes the license away: that is said, for the skeleton becomes a
// library.
func TestLicenseGone(t *testing.T) {
	t.Parallel()
	r := newRepository(t)
	r.write("a/a.bpf.c", inclusions+program+license)
	r.says()
	r.write("a/a.bpf.c", inclusions+program)
	if out := r.says(); !strings.Contains(out, "a/a.bpf.c has no license any more, so its bpf_skeleton a becomes a bpf_library") || strings.Count(out, "\n") != 1 {
		t.Errorf("said: %s", out)
	}
}

// TestOddNames has names that Go cannot import, and letters of other alphabets.
func TestOddNames(t *testing.T) {
	t.Parallel()
	r := newRepository(t)
	r.write("main/x.bpf.c", inclusions+program+license)
	r.write("cmd/main.bpf.c", inclusions+program+license)
	r.write("cmd/cmd.go", "package cmd\n")
	r.write("é/größe.bpf.c", inclusions+"#include \"größe.h\"\n"+program+license)
	r.write("é/größe.h", "\n")
	r.says()
	r.has("main/BUILD.bazel", `importpath = "example.com/app/main/x"`)
	r.has("cmd/BUILD.bazel", `importpath = "example.com/app/cmd/main_skel"`)
	r.has("é/BUILD.bazel", `src = "größe.bpf.c"`, `hdrs = ["größe.h"]`, `name = "é"`)
}

// TestUnclaimedObjects has objects that are not named .bpf.c: one message says how to
// have rules for them, and the line in it works.
func TestUnclaimedObjects(t *testing.T) {
	t.Parallel()
	r := newRepository(t)
	for _, name := range []string{"bpf/a/one.c", "bpf/a/two.c", "bpf/b/three.c", "other/four.c"} {
		r.write(name, inclusions+program+license)
	}
	r.write("bpf/a/plain.c", "int main(void) { return 0; }\n")
	out := r.says()
	want := "gazelle: bpf: 4 C files have a license and a program, as BPF objects have, but get no rules, because nothing says that BPF lives where they are: " +
		"bpf/a/one.c, bpf/a/two.c, bpf/b/three.c and 1 more. Where it does, add to the BUILD file in the root: # gazelle:bpf_sources bpf/a/*.c bpf/b/*.c other/*.c\n"
	if out != want {
		t.Errorf("said %s\nwant %s", out, want)
	}
	r.edit("BUILD.bazel", "# gazelle:prefix", "# gazelle:bpf_sources bpf/**/*.c\n# gazelle:prefix")
	if out := r.says(); !strings.Contains(out, "bpf: 1 C files") {
		t.Errorf("said %s", out)
	}
	r.has("bpf/a/BUILD.bazel", `src = "one.c"`, `src = "two.c"`, "!plain")
	r.has("bpf/b/BUILD.bazel", `src = "three.c"`)
	// One beside a .bpf.c needs no directive.
	r.write("other/five.bpf.c", inclusions+program+license)
	if out := r.says(); out != "" {
		t.Errorf("said %s", out)
	}
	r.has("other/BUILD.bazel", `src = "four.c"`)
}

// TestHeaderDirectory has headers in directories that include each other.
func TestHeaderDirectory(t *testing.T) {
	t.Parallel()
	r := newRepository(t)
	r.write("common/a.h", "#include \"../lib/b.h\"\n#define A 1\n")
	r.write("common/unused.h", "#define U 1\n")
	r.write("lib/b.h", "#include \"../common/c.h\"\n#define B 1\n")
	r.write("common/c.h", "#define C 1\n")
	r.write("lib/bpf/own.h", "#define OWN 1\n")
	r.write("x/x.bpf.c", inclusions+"#include <common/a.h>\n#include \"bpf/own.h\"\n"+program+license)
	if out := r.says(); out != "" {
		t.Errorf("said: %s", out)
	}
	r.has("common/BUILD.bazel", `"a.h"`, `"c.h"`, `"unused.h"`)
	r.has("x/BUILD.bazel", `"//common:common_bpf"`, `"//lib/bpf:bpf_bpf"`, `"..",`, `"../lib",`)
	// What closes a cycle of headers is left out, for x has both anyway.
	r.has("lib/BUILD.bazel", "bpf_library(", "!deps")
	r.has("common/BUILD.bazel", `deps = ["//lib:lib_bpf"]`)
	// Two of the name: which one, people must say.
	r.write("other/common/a.h", "#define A 2\n")
	r.write("y/y.bpf.c", inclusions+"#include <common/a.h>\n"+program+license)
	if out := r.says(); !strings.Contains(out, `y/y.bpf.c:3: "common/a.h" is in several directories: name the one to search: # gazelle:bpf_search /, or /other`) {
		t.Errorf("said: %s", out)
	}
	r.edit("BUILD.bazel", "# gazelle:prefix", "# gazelle:bpf_search /other\n# gazelle:prefix")
	if out := r.says(); strings.Contains(out, "several directories") {
		t.Errorf("said: %s", out)
	}
}

// TestCopts has flags that say where headers are, which ones come first, and what
// they define.
func TestCopts(t *testing.T) {
	t.Parallel()
	r := newRepository(t)
	r.write("a/BUILD.bazel", "# gazelle:bpf_copts -Iinc -include inc/first.h -DTWO\n")
	r.write("a/a.bpf.c", inclusions+"#if FIRST && defined(TWO)\n#include <second.h>\n#endif\n"+program+license)
	r.write("inc/first.h", "#define FIRST 1\n")
	r.write("inc/second.h", "#include_next <second.h>\n")
	r.write("elsewhere/second.h", "\n")
	if out := r.says(); out != "" {
		t.Errorf("said: %s", out)
	}
	r.has("a/BUILD.bazel", `deps = ["//inc:inc_bpf"]`)
	r.has("inc/BUILD.bazel", `"first.h"`, `"second.h"`, "!deps")
}

// TestForcedIncludes has lines with files that are included first, which the command
// looks for where the Go file is, and then in the search directories.
func TestForcedIncludes(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ flags, copts string }{
		{"-- -include first.h", "-include|app/first.h"},
		{"-- -include ./../app/first.h", "-include|app/first.h"},
		{"-- -includefirst.h", "-include|app/first.h"},
		{"-- --include=first.h -Wextra", "-include|app/first.h|-Wextra"},
		{"-- -imacros first.h", "-imacros|app/first.h"},
		{"-- --imacros first.h -include ../other/second.h", "-imacros|app/first.h|-include|other/second.h"},
		{`-cflags "-include 'first.h'"`, "-include|app/first.h"},
		{`"-cflags" "-include \"first.h\" -DX" --`, "-include|app/first.h"},
		// Found by -I, as the compiler finds it.
		{"-- -I../other -include second.h -include first.h", "-include|second.h|-include|app/first.h"},
	} {
		r := newRepository(t)
		r.write("go.mod", "module example.com/app\n\nrequire github.com/cilium/ebpf v0.22.0\n")
		r.write("app/app.go", "package app\n\n//go:generate go tool bpf2go "+strings.Replace(tt.flags, "--", "prog ../bpf/prog.c --", 1)+" \n")
		if !strings.Contains(tt.flags, "--") {
			r.write("app/app.go", "package app\n\n//go:generate go tool bpf2go "+tt.flags+" prog ../bpf/prog.c\n")
		}
		r.write("app/first.h", "#define FIRST 1\n")
		r.write("other/second.h", "#define SECOND 1\n")
		r.write("bpf/prog.c", "#if !FIRST\n#error first.h is missing\n#endif\n"+inclusions+program+license)
		if out := r.says(); out != "" {
			t.Errorf("%s: said: %s", tt.flags, out)
		}
		for _, flag := range strings.Split(tt.copts, "|") {
			r.has("app/BUILD.bazel", `"`+flag+`",  # gazelle`)
		}
		r.has("app/BUILD.bazel", `hdrs = ["first.h"]`)
		if strings.Contains(tt.copts, "second") {
			r.has("app/BUILD.bazel", `deps = ["//other:other_bpf"]`)
		}
		// The rule is somebody's own once the line is gone, with its flags.
		before := buildFiles(t, r.root, "app")
		r.write("app/app.go", "package app\n")
		if out := r.says(); out != "" {
			t.Errorf("%s: without the line, said: %s", tt.flags, out)
		}
		compare(t, "a run without the line", buildFiles(t, r.root, "app"), before)
	}
}

// TestLibraryReturns takes the source of a directory away, whose headers others include,
// and puts it back, or another: its targets are called as from scratch, and no header is
// lost.
func TestLibraryReturns(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"lib.bpf.c", "other.bpf.c"} {
		for _, args := range [][]string{nil, {"-index=lazy"}} {
			r := newRepository(t)
			r.write("lib/lib.h", "int lib(void);\n")
			r.write("lib/const.h", "#define CONST 1\n")
			r.write("lib/listed.h", "#define LISTED 1\n")
			r.write("lib/lib.bpf.c", "#include \"lib.h\"\nint lib(void) { return 1; }\n")
			r.write("a/a.bpf.c", inclusions+"#include \"lib/lib.h\"\n#include \"lib/const.h\"\n"+program+license)
			r.says(args...)
			a := buildFiles(t, r.root, "a")
			r.remove("lib/lib.bpf.c")
			r.says(args...)
			// The library of headers has the name that it has from scratch.
			r.has("lib/BUILD.bazel", "!srcs", "!lib_headers_bpf", `name = "lib_bpf"`, `"const.h"`, `"lib.h"`)
			r.has("a/BUILD.bazel", `deps = ["//lib:lib_bpf"]`)
			r.write("lib/"+name, "#include \"lib.h\"\nint lib(void) { return 1; }\n")
			r.says(args...)
			r.has("lib/BUILD.bazel", "name = \"lib_bpf\",\n    srcs = [\""+name, `name = "lib_headers_bpf"`, `"const.h"`, `"lib.h"`, `"listed.h"`)
			if name == "lib.bpf.c" {
				compare(t, "with the source again", buildFiles(t, r.root, "a"), a)
			}
		}
	}
}

// TestFlagsOfTwoWords adds and takes away flags with the same first word.
func TestFlagsOfTwoWords(t *testing.T) {
	t.Parallel()
	r := newRepository(t)
	r.write("a/BUILD.bazel", "# gazelle:bpf_copts -include inc/one.h\n")
	r.write("a/a.bpf.c", inclusions+program+license)
	r.write("inc/one.h", "#define ONE 1\n")
	r.write("inc/two.h", "#define TWO 1\n")
	r.says()
	r.edit("a/BUILD.bazel", "inc/one.h\n", "inc/one.h -include inc/two.h -include inc/two.h\n")
	r.says()
	r.has("a/BUILD.bazel", "copts = [\n        \"-include\",  # gazelle\n        \"inc/one.h\",  # gazelle\n        \"-include\",  # gazelle\n        \"inc/two.h\",  # gazelle\n    ]")
	// By hand, and so no longer by the directive.
	r.edit("a/BUILD.bazel", "copts = [", "copts = [\n\"-include\", \"inc/two.h\", \"-Wextra\",")
	r.says()
	r.has("a/BUILD.bazel", "copts = [\n        \"-include\",\n        \"inc/two.h\",\n        \"-Wextra\",\n        \"-include\",  # gazelle\n        \"inc/one.h\",  # gazelle\n    ]")
	r.edit("a/BUILD.bazel", "# gazelle:bpf_copts -include inc/one.h -include inc/two.h -include inc/two.h\n", "")
	r.says()
	r.has("a/BUILD.bazel", "copts = [\n        \"-include\",\n        \"inc/two.h\",\n        \"-Wextra\",\n    ]")
}

// TestTypes finds the types that Go code reads from ring buffers.
func TestTypes(t *testing.T) {
	t.Parallel()
	r := newRepository(t)
	r.write("snoop/snoop.bpf.c", inclusions+"struct exec_event { __u32 pid; };\nstruct other { int x; };\n"+
		"struct { __uint(type, BPF_MAP_TYPE_RINGBUF); __uint(max_entries, 4096); } events SEC(\".maps\");\n"+program+license)
	r.write("cmd/main.go", "package main\n\nimport (\n\ts \"example.com/app/snoop\"\n\t\"github.com/rules-bpf/rules_bpf/runtime/skeleton\"\n)\n\n"+
		"func main() { _, _ = skeleton.NewRingReader[s.ExecEvent](nil) }\n")
	r.says("-external=static")
	r.has("snoop/BUILD.bazel", `types = ["exec_event"]`)
	// What somebody adds stays, whoever imports the package.
	r.edit("snoop/BUILD.bazel", `types = ["exec_event"]`, `types = ["exec_event", "other"]`)
	r.remove("cmd/main.go")
	r.says("-external=static")
	r.has("snoop/BUILD.bazel", `"exec_event"`, `"other"`)
}

// TestGoArch has a line whose headers depend on $GOARCH: each platform has its own.
func TestGoArch(t *testing.T) {
	t.Parallel()
	r := newRepository(t)
	r.write("go.mod", "module example.com/app\n\nrequire github.com/cilium/ebpf v0.22.0\n")
	r.write("p/p.go", "package p\n\n//go:generate go tool bpf2go -target ${GOARCH} p p.c -- -I../lib/_${GOARCH} -I../lib/common\n")
	r.write("p/p.c", "//go:build ignore\n#include \"vmlinux.h\"\n#include \"common.h\"\n"+program+license)
	for _, arch := range []string{"amd64", "arm64"} {
		r.write("lib/_"+arch+"/vmlinux.h", "#define __VMLINUX_H__\n")
	}
	r.write("lib/common/common.h", "#define COMMON 1\n")
	if out := r.says(); out != "" {
		t.Errorf("said: %s", out)
	}
	r.has("p/BUILD.bazel", "//go/platform:arm64\": [\n            \"../lib/_arm64\",", "//go/platform:amd64\": [\n            \"../lib/_amd64\",",
		`"../lib/common",`, `"//lib/_amd64:_amd64_bpf"`, `"//lib/_arm64:_arm64_bpf"`, `"//lib/common:common_bpf"`)
}

// TestBpf2goModes asks for skeletons of lines, then for nothing.
func TestBpf2goModes(t *testing.T) {
	t.Parallel()
	r := newRepository(t)
	r.write("go.mod", "module example.com/app\n\nrequire github.com/cilium/ebpf v0.22.0\n")
	r.write("p/p.go", "package p\n\n//go:generate go tool bpf2go -type event p ../bpf/p.c -- -DX=1 -Wextra\n")
	r.write("bpf/p.c", "struct event { int x; };\n"+inclusions+program+license)
	r.says()
	r.has("p/BUILD.bazel", "bpf2go(", `embed = [":p_bpf2go"]`)
	r.has("bpf/BUILD.bazel", "filegroup(", "!bpf_skeleton")
	r.edit("BUILD.bazel", "# gazelle:prefix", "# gazelle:bpf_bpf2go skeleton\n# gazelle:prefix")
	r.says()
	r.has("p/BUILD.bazel", "!bpf2go(", "!embed")
	r.has("bpf/BUILD.bazel", `src = "p.c"`, `defines = ["X=1"]`, `types = ["event"]`, `"-Wextra",  # gazelle`, "!filegroup")
	r.edit("BUILD.bazel", "bpf_bpf2go skeleton", "bpf_bpf2go off")
	r.says()
	r.has("p/BUILD.bazel", "!bpf2go(")
	// The rule was written for the line, and now is somebody's own.
	r.has("bpf/BUILD.bazel", "bpf_skeleton(")
}

// TestNeighbourGone removes the .bpf.c file for which a .c file got its rule: the rule
// stays, which may be somebody's by now, as does what follows from it.
func TestNeighbourGone(t *testing.T) {
	t.Parallel()
	r := newRepository(t)
	r.write("p/a.bpf.c", inclusions+program+license)
	r.write("p/b.c", inclusions+"#include \"lib/lib.bpf.c\"\n"+program+license)
	r.write("lib/lib.bpf.c", "int shared(void) { return 1; }\n")
	r.write("q/q.bpf.c", inclusions+"extern int shared(void);\nSEC(\"xdp\") int p(void *ctx) { return shared(); }\n"+license)
	isGone := "shared, which //q needs, is defined only in a final object, which nothing can link: //p:b"
	if out := r.says(); !strings.Contains(out, isGone) {
		t.Errorf("said: %s", out)
	}
	r.has("p/BUILD.bazel", `src = "a.bpf.c"`, `src = "b.c"`)
	r.remove("p/a.bpf.c")
	if out := r.says(); !strings.Contains(out, isGone) {
		t.Errorf("without the neighbour, said: %s", out)
	}
	r.has("p/BUILD.bazel", "!a.bpf.c", `src = "b.c"`)
	r.has("lib/BUILD.bazel", `hdrs = ["lib.bpf.c"]`, "!srcs")
	r.remove("p/b.c")
	if out := r.says(); out != "" {
		t.Errorf("without sources, said: %s", out)
	}
	r.has("p/BUILD.bazel", "!bpf_skeleton")
	r.has("lib/BUILD.bazel", `srcs = ["lib.bpf.c"]`)
	r.has("q/BUILD.bazel", `subskeletons = ["//lib"]`, `deps = ["//lib:lib_bpf`)
}

// TestOutputDir writes the rule of a line where the line writes its files, and says what
// that directory lacks.
func TestOutputDir(t *testing.T) {
	t.Parallel()
	r := newRepository(t)
	r.write("go.mod", "module example.com/m\n\nrequire github.com/cilium/ebpf v0.22.0\n")
	r.write("app/one.c", "//go:build ignore\n\n"+inclusions+program+license)
	r.write("app/app.go", "package app\n\n"+
		"//go:generate go tool bpf2go -output-dir gen -go-package gen g one.c\n"+
		"//go:generate go tool bpf2go -output-dir ./none -go-package none n one.c\n")
	r.write("app/gen/.keep", "")
	out := r.says()
	for _, want := range []string{
		"app/app.go:3: bpf2go writes to app/gen, where no go_library embeds it: add a Go file of package gen to that directory",
		"app/app.go:4: bpf2go writes to app/none, which is not a directory of the repository: make it, with a Go file of package none in it",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("Gazelle says:\n%swant:\n%s", out, want)
		}
	}
	r.has("app/gen/BUILD.bazel", `srcs = ["//app:one_src"]`)
	r.has("app/BUILD.bazel", `name = "one_src"`)

	r.remove("app/gen/.keep")
	r.write("app/gen/doc.go", "package gen\n")
	r.write("app/none/doc.go", "package none\n")
	if out := r.says(); out != "" {
		t.Errorf("Gazelle says:\n%s", out)
	}
	r.has("app/gen/BUILD.bazel", `embed = [":g_bpf2go"]`)
	r.has("app/none/BUILD.bazel", `embed = [":n_bpf2go"]`)
}

// TestSourceInNoPackage has lines whose source is in a directory that gets no BUILD file.
func TestSourceInNoPackage(t *testing.T) {
	t.Parallel()
	r := newRepository(t)
	r.write("go.mod", "module example.com/m\n\nrequire github.com/cilium/ebpf v0.22.0\n")
	r.write("app/app.go", "package app\n\n//go:generate go tool bpf2go g ../c/one.c\n")
	r.write("c/one.c", inclusions+"#include \"one.h\"\n"+program+license)
	r.write("c/one.h", "")
	r.write("BUILD.bazel", "# gazelle:prefix example.com/m\n# gazelle:exclude c\n")
	if out := r.says(); out != "" {
		t.Errorf("Gazelle says:\n%s", out)
	}
	r.has("app/BUILD.bazel", `srcs = ["//:c/one_src"]`)
	r.has("BUILD.bazel", `name = "c/one_src"`, `srcs = ["c/one.c"]`, `"c/one.h"`)

	r.write("below/BUILD.bazel", "# gazelle:generation_mode update_only\n")
	r.write("below/app.go", "package below\n\n//go:generate go tool bpf2go g bpf/one.c\n")
	r.write("below/bpf/one.c", inclusions+program+license)
	r.says()
	// The line's rule is the only one of the source.
	r.has("below/BUILD.bazel", `srcs = ["bpf/one.c"]`, "!bpf_skeleton")
}

// text returns what a file has.
func (r *repository) text(name string) string {
	r.t.Helper()
	data, err := os.ReadFile(r.path(name))
	if err != nil {
		r.t.Fatal(err)
	}
	return string(data)
}

// TestVariantsOfSkeleton makes one skeleton of a source for several lines, with variants where
// these ask for different ones.
func TestVariantsOfSkeleton(t *testing.T) {
	t.Parallel()
	r := newRepository(t)
	r.write("BUILD.bazel", "# gazelle:prefix example.com/m\n# gazelle:bpf_bpf2go skeleton\n")
	r.write("go.mod", "module example.com/m\n\nrequire github.com/cilium/ebpf v0.22.0\n")
	r.write("c/one.c", inclusions+"#ifdef Y\n#include \"only_y.h\"\n#endif\n"+program+license)
	r.write("c/only_y.h", "")
	r.write("app/app.go", "package app\n\n"+
		"//go:generate go tool bpf2go -type a one ../c/one.c -- -DALL -DX\n"+
		"//go:generate go tool bpf2go -type b two ../c/one.c -- -DALL -DX\n"+
		"//go:generate go tool bpf2go -type c three ../c/one.c -- -DY=1 -DALL -fno-builtin\n")
	if out := r.says(); out != "" {
		t.Errorf("Gazelle says:\n%s", out)
	}
	r.has("c/BUILD.bazel", `defines = ["ALL"]`, `"a"`, `"b"`, `"c"`, `hdrs = ["only_y.h"]`,
		"variants = {\n        \"one\": [\"-DX\"],\n        \"three\": [\n            \"-DY=1\",\n            \"-fno-builtin\",\n        ],\n    },")
	before := r.text("c/BUILD.bazel")
	if out := r.says(); out != "" || r.text("c/BUILD.bazel") != before {
		t.Errorf("the second run changes\n%s\nto\n%s\n%s", before, r.text("c/BUILD.bazel"), out)
	}

	// What people have written of variants stays, and two of one name are theirs to tell apart.
	r.write("c/BUILD.bazel", strings.Replace(strings.Replace(before, `"one": [`, `"v510": [`, 1), `"three": [`, `"v61": [`, 1))
	r.write("app/app.go", r.text("app/app.go")+"//go:generate go tool bpf2go three ../c/one.c -- -DZ\n")
	const want = "app/app.go:6: c/one.c has a bpf_skeleton already, with the flags of one: write that of three by hand"
	if out := r.says(); !strings.Contains(out, want) {
		t.Errorf("Gazelle says:\n%swant:\n%s", out, want)
	}
	r.has("c/BUILD.bazel", `"v510": ["-DX"]`, `"v61": [`, `!"one"`, `!"three"`)
}

// TestLineBecomesVariants adds lines for a source whose skeleton was made for one: the macros that
// not all have become those of variants.
func TestLineBecomesVariants(t *testing.T) {
	t.Parallel()
	const (
		first  = "package app\n\n//go:generate go tool bpf2go one ../c/one.c -- -DALL -DX\n"
		second = "//go:generate go tool bpf2go two ../c/one.c -- -DALL -DY\n"
		// written is what the first run makes of the macros.
		written = "    defines = [\n        \"ALL\",\n        \"X\",\n    ],\n"
		none    = "//c gets no variants: its defines keep X, which not all lines for bpf2go of one.c have: write the variants by hand, and X for those that have it"
		xAndY   = "variants = {\n        \"one\": [\"-DX\"],\n        \"two\": [\"-DY\"],\n    },"
	)
	for _, tt := range []struct {
		name string
		// edited is what people made of the macros.
		edited string
		second string
		says   string
		has    []string
	}{
		{"as written", written, second, "", []string{`defines = ["ALL"],`, xAndY}},
		{"nothing in common", written, strings.Replace(second, "-DALL ", "", 1), "",
			[]string{"!defines", `"-DALL",`, `"-DX",`, `"two": ["-DY"],`}},
		{"one of theirs beside", strings.Replace(written, "ALL", "MINE", 1), second, "", []string{`defines = ["MINE"],`, xAndY}},
		{"another value", strings.Replace(written, `"X"`, `"X=2"`, 1), second, "", []string{`defines = ["ALL"],`, xAndY}},
		{"none any more", "", second, "", []string{`defines = ["ALL"],`, xAndY}},
		{"kept", strings.Replace(written, `"X",`, `"X",  # keep`, 1), second, none, []string{`"X",  # keep`, `"ALL"`, "!variants"}},
		{"all kept", strings.Replace(written, "    defines", "    # keep\n    defines", 1), second, none, []string{`"X"`, "!variants"}},
		{"an expression", "    defines = [\"ALL\"] + [\"X\"],\n", second, none, []string{`defines = ["ALL"] + ["X"],`, "!variants"}},
		{"an expression of others", "    defines = [\"ALL\"] + [\"MINE\"],\n", second, "", []string{`defines = ["ALL"] + ["MINE"],`, xAndY}},
		{"a rule for each", written + ")\n\nbpf_skeleton(\n    name = \"two\",\n    src = \"one.c\",\n    importpath = \"example.com/m/c/two\",\n    defines = [\"Y\"],\n",
			second, "", []string{`"X"`, `"Y"`, "!variants"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := newRepository(t)
			r.write("BUILD.bazel", "# gazelle:prefix example.com/m\n# gazelle:bpf_bpf2go skeleton\n")
			r.write("go.mod", "module example.com/m\n\nrequire github.com/cilium/ebpf v0.22.0\n")
			r.write("c/one.c", inclusions+program+license)
			r.write("app/app.go", first)
			r.says()
			r.has("c/BUILD.bazel", "!variants")
			r.edit("c/BUILD.bazel", written, "")
			r.edit("c/BUILD.bazel", "    visibility = [\"//visibility:public\"],\n", "    visibility = [\"//visibility:public\"],\n"+tt.edited)
			r.write("app/app.go", first+tt.second)
			if out := r.says(); tt.says == "" && out != "" || !strings.Contains(out, tt.says) {
				t.Errorf("Gazelle says:\n%swant:\n%s", out, tt.says)
			}
			r.has("c/BUILD.bazel", tt.has...)
		})
	}
}

// TestVariantNames has lines whose identifiers cannot name variants of one Go package.
func TestVariantNames(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		first, second string
		refused       bool
	}{
		{"one", "two", false},
		{"one", "One", true},
		{"v6_1", "v61", true},
		{"ONE", "one", true},
		{"one", "open", true},
		{"variants", "two", true},
		{"one", "rodata", true},
		{"one", "größe", true},
		{"one", "type", true},
		{"one", "_", true},
		{"one", "opened", false},
		{"one", "X", false},
	} {
		t.Run(tt.first+" "+tt.second, func(t *testing.T) {
			t.Parallel()
			r := newRepository(t)
			r.write("BUILD.bazel", "# gazelle:prefix example.com/m\n# gazelle:bpf_bpf2go skeleton\n")
			r.write("go.mod", "module example.com/m\n\nrequire github.com/cilium/ebpf v0.22.0\n")
			r.write("c/one.c", inclusions+program+license)
			r.write("app/app.go", "package app\n\n"+
				"//go:generate go tool bpf2go "+tt.first+" ../c/one.c -- -DX\n"+
				"//go:generate go tool bpf2go "+tt.second+" ../c/one.c -- -DY\n")
			out := r.says()
			if !tt.refused {
				if out != "" {
					t.Errorf("Gazelle says:\n%s", out)
				}
				r.has("c/BUILD.bazel", "!defines", `"`+tt.first+`": ["-DX"],`, `"`+tt.second+`": ["-DY"],`)
				return
			}
			want := "app/app.go:4: c/one.c has a bpf_skeleton already, with the flags of " + tt.first + ": write that of " + tt.second + " by hand"
			if !strings.Contains(out, want) {
				t.Errorf("Gazelle says:\n%swant:\n%s", out, want)
			}
			r.has("c/BUILD.bazel", `defines = ["X"]`, "!variants")

			// By hand, it is one rule as well, with other names.
			r.edit("c/BUILD.bazel", `defines = ["X"]`, `variants = {"x": ["-DX"], "y": ["-DY"]}`)
			r.says()
			r.has("c/BUILD.bazel", "!defines", `["-DX"]`, `["-DY"]`)
		})
	}
}

// TestVariantsByHand keeps what people write of variants and of types that objects share, and
// knows what they include and import.
func TestVariantsByHand(t *testing.T) {
	t.Parallel()
	r := newRepository(t)
	r.write("BUILD.bazel", "# gazelle:prefix example.com/m\n")
	r.write("go.mod", "module example.com/m\n")
	r.write("c/one.bpf.c", inclusions+"#ifdef Y\n#include \"only_y.h\"\n#endif\n"+program+license)
	r.write("c/only_y.h", "")
	r.write("c/BUILD.bazel", `load("@rules_bpf//rules:defs.bzl", "bpf_skeleton", "bpf_types")

bpf_types(
    name = "flows",
    importpath = "example.com/m/c/flows",
    objects = ["//other:edge_bpf"],
)

bpf_skeleton(
    name = "c",
    src = "one.bpf.c",
    importpath = "example.com/m/c",
    types_from = ":flows",
    variants = {
        "new": ["-DY"],
        "old": [],
    },
    visibility = ["//visibility:public"],
)
`)
	r.write("app/app.go", "package app\n\nimport (\n\t_ \"example.com/m/c\"\n\t_ \"example.com/m/c/flows\"\n)\n")
	if out := r.says(); out != "" {
		t.Errorf("Gazelle says:\n%s", out)
	}
	r.has("c/BUILD.bazel", `hdrs = ["only_y.h"]`, `types_from = ":flows"`, `"new": ["-DY"],`, `"old": [],`, `objects = ["//other:edge_bpf"]`)
	r.has("app/BUILD.bazel", `"//c"`, `"//c:flows"`)
}

// TestLineWithoutRule has lines for bpf2go that go generate or bpf2go refuses.
func TestLineWithoutRule(t *testing.T) {
	t.Parallel()
	r := newRepository(t)
	r.write("go.mod", "module example.com/app\n\nrequire github.com/cilium/ebpf v0.22.0\n")
	r.write("a/a.c", inclusions+program+license)
	r.write("a/gen.go", "package a\n\n//go:generate go tool bpf2go -cflags \"-O2 a a.c\n//go:generate go tool bpf2go -x y b a.c\n")
	out := r.says()
	for _, want := range []string{
		"a/gen.go:3: the line for bpf2go has a quote without its other end",
		"a/gen.go:4: the line for bpf2go has the flag -x, which is not known here, and gets no rule",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("says %q, want %q", out, want)
		}
	}
}
