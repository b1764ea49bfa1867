package libbpf_test

import (
	"bufio"
	"bytes"
	"debug/elf"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/rules-bpf/rules_bpf/internal/goldens"
	"github.com/rules-bpf/rules_bpf/internal/libbpf"
)

func names(t *testing.T) []libbpf.Name {
	t.Helper()
	list, err := libbpf.Names()
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestNames(t *testing.T) {
	list := names(t)
	if len(list) < 359 {
		t.Errorf("%d names, want those of libbpf 1.8, 359, at least", len(list))
	}
	for i, n := range list {
		if !slices.Contains(libbpf.States, n.State) {
			t.Errorf("%s: %q is no state: write one of %q", n.Name, n.State, libbpf.States)
		}
		if i > 0 && list[i-1].Name >= n.Name {
			t.Errorf("%s does not come after %s: sort the names, and have each once", n.Name, list[i-1].Name)
		}
	}
}

// What has the place of a name is there.
func TestOurNames(t *testing.T) {
	ours := exported(t, filepath.Join("..", "..", "runtime", "skeleton"))
	for _, n := range names(t) {
		if n.State != "ours" {
			continue
		}
		for name := range strings.SplitSeq(n.Text, ", ") {
			if !ours[name] {
				t.Errorf("%s: package skeleton has no %s", n.Name, name)
			}
		}
	}
}

func TestNamesOfCilium(t *testing.T) {
	packages := make(map[string]map[string]bool)
	for _, n := range names(t) {
		if n.State != "cilium" {
			continue
		}
		first, _, _ := strings.Cut(n.Text, ",")
		pkg, name, _ := strings.Cut(first, ".")
		if packages[pkg] == nil {
			path := "github.com/cilium/ebpf"
			if pkg != "ebpf" {
				path += "/" + pkg
			}
			dir, err := exec.Command("go", "list", "-f", "{{.Dir}}", path).Output()
			if err != nil {
				t.Skipf("needs the go command and the module's dependencies: %v", err)
			}
			packages[pkg] = exported(t, strings.TrimSpace(string(dir)))
		}
		if !packages[pkg][name] {
			t.Errorf("%s: package %s has no %s", n.Name, pkg, name)
		}
	}
}

// exported returns the names that a package exports: "Func", "Type", "Type.Method" and
// "Type.Field".
func exported(t *testing.T, dir string) map[string]bool {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("%s: no Go files: %v", dir, err)
	}
	found := make(map[string]bool)
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range file.Decls {
			switch decl := decl.(type) {
			case *ast.FuncDecl:
				name := decl.Name.Name
				if decl.Recv != nil {
					name = receiver(decl.Recv.List[0].Type) + "." + name
				}
				found[name] = true
			case *ast.GenDecl:
				for _, spec := range decl.Specs {
					if spec, ok := spec.(*ast.TypeSpec); ok {
						addType(found, spec)
					}
				}
			}
		}
	}
	return found
}

func receiver(expr ast.Expr) string {
	switch expr := expr.(type) {
	case *ast.StarExpr:
		return receiver(expr.X)
	case *ast.IndexExpr:
		return receiver(expr.X)
	case *ast.IndexListExpr:
		return receiver(expr.X)
	case *ast.Ident:
		return expr.Name
	}
	return ""
}

func addType(found map[string]bool, spec *ast.TypeSpec) {
	found[spec.Name.Name] = true
	var fields *ast.FieldList
	switch typ := spec.Type.(type) {
	case *ast.StructType:
		fields = typ.Fields
	case *ast.InterfaceType:
		fields = typ.Methods
	default:
		return
	}
	for _, field := range fields.List {
		for _, name := range field.Names {
			found[spec.Name.Name+"."+name.Name] = true
		}
	}
}

// mapVariable names the environment variable with the path of a libbpf.map, such as that of a
// newer version.
const mapVariable = "RULES_BPF_LIBBPF_MAP"

// The names are those of the libbpf that the machine has, which may be older, and of the
// libbpf.map that there may be.
func TestDrift(t *testing.T) {
	known := make(map[string]string)
	for _, n := range names(t) {
		known[n.Name] = n.Version
	}
	looked := false
	for _, pattern := range []string{"/usr/lib/*/libbpf.so.1", "/usr/lib64/libbpf.so.1"} {
		paths, _ := filepath.Glob(pattern)
		for _, path := range paths {
			looked = true
			compareNames(t, path, known, libraryNames(t, path))
		}
	}
	if path := os.Getenv(mapVariable); path != "" {
		looked = true
		there := mapNames(t, path)
		compareNames(t, path, known, there)
		for name := range known {
			if there[name] == "" {
				t.Errorf("%s does not have %s: remove it from api.txt, if this libbpf is the newest", path, name)
			}
		}
	}
	if !looked {
		t.Skipf("needs libbpf.so.1 in /usr/lib, or a libbpf.map in %s", mapVariable)
	}
}

func compareNames(t *testing.T, path string, known, there map[string]string) {
	t.Helper()
	if len(there) < 200 {
		t.Errorf("%s: only %d names are found", path, len(there))
	}
	for name, version := range there {
		switch known[name] {
		case version:
		case "":
			t.Errorf("%s exports %s (%s): add it to api.txt", path, name, version)
		default:
			t.Errorf("%s: version of %s is %s, in api.txt %s", path, name, version, known[name])
		}
	}
}

// libraryNames returns the names that a shared library exports, and their versions.
func libraryNames(t *testing.T, path string) map[string]string {
	t.Helper()
	file, err := elf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	symbols, err := file.DynamicSymbols()
	if err != nil {
		t.Fatal(err)
	}
	found := make(map[string]string)
	for _, s := range symbols {
		version, ok := strings.CutPrefix(s.Version, "LIBBPF_")
		if ok && s.Section != elf.SHN_UNDEF && elf.ST_TYPE(s.Info) == elf.STT_FUNC {
			found[s.Name] = version
		}
	}
	return found
}

var (
	versionLine = regexp.MustCompile(`^LIBBPF_(\S+) \{`)
	nameLine    = regexp.MustCompile(`^\s+(\w+);`)
)

// mapNames returns the names of a libbpf.map, and their versions.
func mapNames(t *testing.T, path string) map[string]string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	found, version := make(map[string]string), ""
	for scanner := bufio.NewScanner(bytes.NewReader(data)); scanner.Scan(); {
		if m := versionLine.FindStringSubmatch(scanner.Text()); m != nil {
			version = m[1]
		}
		if m := nameLine.FindStringSubmatch(scanner.Text()); m != nil {
			found[m[1]] = version
		}
	}
	return found
}

// The page for people who come from libbpf.
func TestPage(t *testing.T) {
	list, counts := names(t), make(map[string]int)
	for _, n := range list {
		counts[n.State]++
	}
	var page strings.Builder
	fmt.Fprintf(&page, `# Coming from libbpf

What libbpf exports, as its libbpf.map says up to version %s, and what has its place here.
Of %d names, %d are methods and functions of package
`+"`runtime/skeleton`"+`, %d of cilium/ebpf, whose types users hold; %d are not offered, for
the reason that is given, and %d are to come. The page is generated:
`+"`go run ./dev/goldens`"+` writes it of `+"`internal/libbpf/api.txt`"+`.

| libbpf | since | here |
|---|---|---|
`, newest(list), len(list), counts["ours"], counts["cilium"], counts["not offered"], counts["not yet"])
	for _, n := range list {
		text := n.Text
		switch n.State {
		case "ours":
			text = "`" + strings.ReplaceAll(text, ", ", "`, `") + "`"
		case "cilium":
			name, rest, _ := strings.Cut(text, ",")
			text = "`" + name + "`"
			if rest != "" {
				text += "," + rest
			}
		default:
			text = n.State + ": " + text
		}
		fmt.Fprintf(&page, "| `%s` | %s | %s |\n", n.Name, n.Version, text)
	}
	goldens.Check(t, "../../docs/libbpf.md", []byte(page.String()))
}

func newest(list []libbpf.Name) string {
	var newest string
	var best [3]int
	for _, n := range list {
		var v [3]int
		if _, err := fmt.Sscanf(n.Version, "%d.%d.%d", &v[0], &v[1], &v[2]); err == nil && slices.Compare(v[:], best[:]) > 0 {
			newest, best = n.Version, v
		}
	}
	return newest
}
