package bpfc_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/rules-bpf/rules_bpf/gazelle/internal/bpfc"
)

// describe writes each symbol as one line: what is in the object, then what it
// needs, then what is neither, with its linkage.
func describe(f *bpfc.File) string {
	var out []string
	for _, s := range f.Symbols {
		var words []string
		switch {
		case !s.Used:
			words = append(words, "unused")
		case s.Defined:
			words = append(words, "has")
		default:
			words = append(words, "needs")
		}
		if s.Linkage != bpfc.Global {
			words = append(words, s.Linkage.String())
		}
		if s.Hidden {
			words = append(words, "hidden")
		}
		if s.Kernel() {
			words = append(words, "kernel")
		}
		words = append(words, s.Kind.String(), s.Name)
		if s.Section != "" {
			words = append(words, "in "+s.Section)
		}
		out = append(out, strings.Join(words, " "))
	}
	return strings.Join(out, "\n")
}

type symbolTest struct {
	name    string
	source  string
	defines []string
	want    string
}

var allSymbolTests = slices.Concat(symbolTests, formTests)

var symbolTests = []symbolTest{
	// What can be defined.
	{"nothing", "", nil, ""},
	{"variable", "int x;", nil, "has variable x"},
	{"variable with a value", "int x = 1;", nil, "has variable x"},
	{"several variables", "int x, *y, z[2] = {1, 2};", nil, "has variable x\nhas variable y\nhas variable z"},
	{"type of several words", "unsigned long long int x;", nil, "has variable x"},
	{"type behind the qualifier", "const volatile __u32 x = 0;", nil, "has variable x"},
	{"qualifier behind the type", "__u32 const volatile x;", nil, "has variable x"},
	{"typedef name", "__u32 x;", nil, "has variable x"},
	{"pointer to a typedef name", "u64 *x;", nil, "has variable x"},
	{"struct", "struct s { int member; } x;", nil, "has variable x"},
	{"struct without a tag", "struct { int member; } x;", nil, "has variable x"},
	{"struct type only", "struct s { int member; };", nil, ""},
	{"forward declaration", "struct s; union u; enum e;", nil, ""},
	{"struct with an attribute", "struct __attribute__((packed)) s { int m; } x;", nil, "has variable x"},
	{"struct with an attribute behind", "struct s { int m; } __attribute__((packed)) x;", nil, "has variable x"},
	{"pointer to a struct", "struct s *x;", nil, "has variable x"},
	{"union", "union { int a; long b; } x;", nil, "has variable x"},
	{"enum constants are no symbols", "enum e { A, B = 2 };", nil, ""},
	{"enum variable", "enum e { A } x = A;", nil, "has variable x"},
	{"array of arrays", "int x[2][3];", nil, "has variable x"},
	{"function pointer", "int (*x)(int, long);", nil, "has variable x"},
	{"array of function pointers", "int (*x[3])(void);", nil, "has variable x"},
	{"function pointer of a typedef name", "u32 (*x)(void);", nil, "has variable x"},
	{"parenthesised name", "int (x);", nil, "has variable x"},
	{"typeof", "typeof(int) x; __typeof__(x) *y;", nil, "has variable x\nhas variable y"},
	{"_Alignas", "_Alignas(8) int x;", nil, "has variable x"},
	{"__int128", "__int128 x;", nil, "has variable x"},
	{"typedef", "typedef int t; typedef struct { int a; } u, *v; typedef int (*w)(void);", nil, ""},
	{"typedef in the middle", "int typedef t;", nil, ""},
	{"stray semicolons", ";;int x;;", nil, "has variable x"},
	{"static assertion", "_Static_assert(sizeof(int) == 4, \"x\"); int x;", nil, "has variable x"},
	{"asm", "asm(\"\"); __asm__ volatile (\"x\"); int x;", nil, "has variable x"},
	{"designated initialiser", "struct s x = { .member = 1, .other = { [0] = 2 } };", nil, "has variable x"},
	{"compound literal", "int *x = (int[]){ 1, 2 };", nil, "has variable x"},
	{"statement expression", "int f(void) { return ({ int a = 1; a; }); }", nil, "has function f"},

	// Functions.
	{"function", "int f(void) { return 0; }", nil, "has function f"},
	{"function of a typedef name", "__u64 f(void) { return 0; }", nil, "has function f"},
	{"function of a pointer", "struct s *f(struct s *a) { return a; }", nil, "has function f"},
	{"function of a struct", "struct s f(void) { struct s a = {}; return a; }", nil, "has function f"},
	{"function that returns a function pointer", "int (*f(int a))(void) { return 0; }", nil, "has function f"},
	{"parenthesised function", "int (f)(int a) { return a; }", nil, "has function f"},
	{"prototype", "int f(void);", nil, "unused function f"},
	{"prototype and definition", "int f(void); int f(void) { return 0; }", nil, "has function f"},
	{"prototype of a function with a struct", "int f(struct s *a, int (*cb)(void));", nil, "unused function f"},
	{"attribute before the body", "int f(void) __attribute__((noinline)) { return 0; }", nil, "has function f"},
	{"attribute in front", "__attribute__((noinline)) int f(void) { return 0; }", nil, "has function f"},
	{"attribute between", "int __attribute__((noinline)) f(void) { return 0; }", nil, "has function f"},
	{"unknown macro in front", "__some_macro int f(void) { return 0; }", nil, "has function f"},
	{"unknown macro with arguments in front", "SOME(1, 2) int f(void) { return 0; }", nil, "has function f"},
	{"unknown macro between", "int __some_macro f(void) { return 0; }", nil, "has function f"},
	{"two in one line", "int f(void) { return 0; } int g(void) { return 0; }", nil, "has function f\nhas function g"},

	// Linkage.
	{"static function", "static int f(void) { return 0; }", nil, "unused static function f"},
	{"static function that is used", "static int f(void) { return 0; } int g(void) { return f(); }", nil,
		"has static function f\nhas function g"},
	{"static function that static functions use", "static int f(void) { return 0; } static int g(void) { return f(); }", nil,
		"unused static function f\nunused static function g"},
	{"static by its prototype", "static int f(void); int f(void) { return 0; }", nil, "unused static function f"},
	{"static variable", "static int x; int f(void) { return x; }", nil, "has function f\nhas static variable x"},
	{"static variable nobody uses", "static int x;", nil, "unused static variable x"},
	{"static const table of functions", "static int f(void) { return 0; }\nstatic int (*const t[])(void) = { f };\nint g(void) { return t[0](); }", nil,
		"has static function f\nhas function g\nhas static variable t"},
	{"inline", "inline int f(void) { return 0; }", nil, "unused static function f"},
	{"__always_inline", "__always_inline int f(void) { return 0; }", nil, "unused static function f"},
	{"static inline", "static inline int f(void) { return 0; }", nil, "unused static function f"},
	{"inline with a plain declaration", "int f(void); inline int f(void) { return 0; }", nil, "has function f"},
	{"extern inline", "extern inline int f(void) { return 0; }", nil, "has function f"},
	{"__noinline", "__noinline int f(void) { return 0; }", nil, "has function f"},
	{"weak", "__weak int f(void) { return 0; }", nil, "has weak function f"},
	{"weak behind", "int f(void) __weak { return 0; }", nil, "has weak function f"},
	{"weak by its prototype", "int f(void) __weak; int f(void) { return 0; }", nil, "has weak function f"},
	{"weak variable", "int x __weak = 1;", nil, "has weak variable x"},
	{"hidden", "__hidden int f(void) { return 0; }", nil, "has hidden function f"},
	{"hidden weak variable", "int x __hidden __weak;", nil, "has weak hidden variable x"},
	{"hidden by its declaration", "extern int x __hidden; int x;", nil, "has hidden variable x"},
	{"attributes spelled out", "int x __attribute__((__weak__, visibility(\"hidden\")));", nil, "has weak hidden variable x"},
	{"visibility default", "int x __attribute__((visibility(\"default\")));", nil, "has variable x"},
	{"attribute of one of several", "int x __weak, y;", nil, "has weak variable x\nhas variable y"},
	{"used", "static int f(void) __attribute__((used)); static int f(void) { return 0; }", nil, "has static function f"},

	// Sections.
	{"program", "SEC(\"xdp\") int f(void *ctx) { return 0; }", nil, "has program f in xdp"},
	{"program with ?", "SEC(\"?tc\") int f(void *ctx) { return 0; }", nil, "has program f in ?tc"},
	{"function in .text", "SEC(\".text\") int f(void) { return 0; }", nil, "has function f in .text"},
	{"static program", "SEC(\"xdp\") static int f(void *ctx) { return 0; }", nil, "has static program f in xdp"},
	{"section in two literals", "SEC(\"kprobe/\" \"do_exit\") int f(void *ctx) { return 0; }", nil, "has program f in kprobe/do_exit"},
	{"section of a macro", "#define WHERE \"xdp\"\nSEC(WHERE) int f(void *ctx) { return 0; }", nil, "has program f in xdp"},
	{"section that a macro makes", "#define TP(name) SEC(\"tp/\" #name)\nTP(exec) int f(void *ctx) { return 0; }", nil, "has program f in tp/exec"},
	{"map", "struct { __uint(type, BPF_MAP_TYPE_HASH); __type(key, int); } m SEC(\".maps\");", nil, "has map m in .maps"},
	{"map of maps", "struct { __uint(type, 1); __array(values, struct inner); } m SEC(\".maps\") = { .values = { (void *)&inner } };\nextern struct inner inner SEC(\".maps\");", nil,
		"needs map inner in .maps\nhas map m in .maps"},
	{"map of an older form", "struct bpf_map_def SEC(\"maps\") m = {};", nil, "has map m in maps"},
	{"program array", "struct { __uint(type, 3); __array(values, int (void *)); } m SEC(\".maps\") = { .values = { [0] = (void *)&f } };\nSEC(\"tc\") int f(void *ctx) { return 0; }", nil,
		"has program f in tc\nhas map m in .maps"},
	{"variable in a section", "int x SEC(\".data.mine\");", nil, "has variable x in .data.mine"},
	{"struct_ops", "SEC(\".struct_ops\") struct ops x = { .init = (void *)init };\nSEC(\"struct_ops/init\") int init(void *ctx) { return 0; }", nil,
		"has program init in struct_ops/init\nhas variable x in .struct_ops"},

	// Macros of bpf_tracing.h.
	{"BPF_PROG", "SEC(\"fentry/f\") int BPF_PROG(on_f, struct file *file, int ret) { return ret; }", nil, "has program on_f in fentry/f"},
	{"BPF_PROG without arguments", "SEC(\"fentry/f\") int BPF_PROG(on_f) { return 0; }", nil, "has program on_f in fentry/f"},
	{"BPF_PROG2", "SEC(\"fentry/f\") int BPF_PROG2(on_f, struct s, a) { return 0; }", nil, "has program on_f in fentry/f"},
	{"BPF_KPROBE", "SEC(\"kprobe/f\")\nint BPF_KPROBE(on_f, int fd)\n{\n\treturn 0;\n}", nil, "has program on_f in kprobe/f"},
	{"BPF_KRETPROBE", "SEC(\"kretprobe/f\") int BPF_KRETPROBE(on_f, long ret) { return 0; }", nil, "has program on_f in kretprobe/f"},
	{"BPF_UPROBE", "SEC(\"uprobe\") int BPF_UPROBE(on_f, int a) { return 0; }", nil, "has program on_f in uprobe"},
	{"BPF_URETPROBE", "SEC(\"uretprobe\") int BPF_URETPROBE(on_f, int a) { return 0; }", nil, "has program on_f in uretprobe"},
	{"BPF_KSYSCALL", "SEC(\"ksyscall/f\") int BPF_KSYSCALL(on_f, int a) { return 0; }", nil,
		"needs kernel variable LINUX_HAS_SYSCALL_WRAPPER in .kconfig\nhas static function ____on_f\nhas program on_f in ksyscall/f"},
	{"BPF_USDT", "SEC(\"usdt\") int BPF_USDT(on_f, int a) { return 0; }", nil, "has program on_f in usdt"},
	{"static helper of a program", "static int h(void) { return 0; }\nSEC(\"fentry/f\") int BPF_PROG(on_f, int a) { return h(); }", nil,
		"has static function h\nhas program on_f in fentry/f"},
	{"a macro of a newer libbpf", "SEC(\"x\") int BPF_NEWER(on_x, int a) { return 0; }", nil, "has program on_x in x"},
	{"a macro of the user's", "#define HANDLER(name) SEC(\"tp/\" #name) int on_##name(void *ctx)\nHANDLER(exec) { return 0; }", nil, "has program on_exec in tp/exec"},

	// Externs.
	{"extern that is used", "extern int x; int f(void) { return x; }", nil, "has function f\nneeds variable x"},
	{"extern nobody uses", "extern int x;", nil, "unused variable x"},
	{"extern function", "extern int g(int); int f(void) { return g(1); }", nil, "has function f\nneeds function g"},
	{"prototype that is used", "int g(int); int f(void) { return g(1); }", nil, "has function f\nneeds function g"},
	{"extern that static code uses", "extern int x; static int f(void) { return x; }", nil, "unused static function f\nunused variable x"},
	{"extern then definition", "extern int x; int x; int f(void) { return x; }", nil, "has function f\nhas variable x"},
	{"definition then extern", "int x; extern int x;", nil, "has variable x"},
	{"extern with a value", "extern int x = 1;", nil, "has variable x"},
	{"weak extern", "extern int x __weak; int f(void) { return x; }", nil, "has function f\nneeds weak variable x"},
	{"extern map", "extern struct { __uint(type, 1); } m SEC(\".maps\"); void *f(void) { return &m; }", nil, "has function f\nneeds map m in .maps"},
	{"extern array", "extern const char names[][16]; int f(int i) { return names[i][0]; }", nil, "has function f\nneeds variable names"},
	{"ksym", "extern int k(void) __ksym; int f(void) { return k(); }", nil, "has function f\nneeds kernel function k in .ksyms"},
	{"weak ksym", "extern const int k __ksym __weak; int f(void) { return k; }", nil, "has function f\nneeds weak kernel variable k in .ksyms"},
	{"kconfig", "extern int CONFIG_HZ __kconfig; int f(void) { return CONFIG_HZ; }", nil, "needs kernel variable CONFIG_HZ in .kconfig\nhas function f"},
	{"extern in a body", "int f(void) { extern int x; return x; }", nil, "has function f\nneeds variable x"},
	{"extern function in a body", "int f(void) { extern int g(void) __ksym; return g(); }", nil, "has function f\nneeds kernel function g in .ksyms"},
	{"extern through a static function", "extern int x; static int h(void) { return x; } int f(void) { return h(); }", nil,
		"has function f\nhas static function h\nneeds variable x"},
	{"extern in an initialiser", "extern int x; int *p = &x;", nil, "has variable p\nneeds variable x"},
	{"member of the same name", "extern int x; int f(struct s *s) { return s->x + s[0].x; }", nil, "has function f\nunused variable x"},
	{"sizeof", "extern int x; int f(void) { return sizeof(x) + sizeof x; }", nil, "has function f\nunused variable x"},
	{"typeof in a body", "extern int x; int f(void) { typeof(x) y = 0; return y; }", nil, "has function f\nunused variable x"},
	{"undeclared helper", "int f(void) { return bpf_get_smp_processor_id(); }", nil, "has function f"},
	{"another symbol by asm", "extern int f1(void) asm(\"other\"); int f(void) { return f1(); }", nil, "has function f\nneeds function other"},
	{"an instruction by asm", "unsigned long long load(void *, long) asm(\"llvm.bpf.load.byte\"); int f(void *c) { return load(c, 0); }", nil, "has function f"},
	{"local variable", "int f(void) { int a = 1; static int b; return a + b; }", nil, "has function f"},

	// Comments, lines, literals.
	{"comments", "/* int a; */ int x; // int b;\n/* more\n lines */ int y;", nil, "has variable x\nhas variable y"},
	{"comment in a literal", "char x[] = \"/* no comment\"; int y; // \"\n", nil, "has variable x\nhas variable y"},
	{"literal in a comment", "// don't\nint x; /* \" */ int y;", nil, "has variable x\nhas variable y"},
	{"escaped quote", `char x[] = "a\"b;"; char y = '\'';`, nil, "has variable x\nhas variable y"},
	{"prefixed literal", `int x[] = L"a;b"; char *y = u8"c;d";`, nil, "has variable x\nhas variable y"},
	{"splice in a name", "int lo\\\nng_name;", nil, "has variable long_name"},
	{"splice in a comment", "// a comment \\\nint hidden;\nint x;", nil, "has variable x"},
	{"splice with CR LF", "#define X \\\r\n int x;\r\nX\r\n", nil, "has variable x"},
	{"byte order mark", "\ufeffint x;", nil, "has variable x"},
	{"no newline at the end", "int x; //", nil, "has variable x"},
	{"build constraint", "//go:build ignore\n\nint x;", nil, "has variable x"},
	{"braces in literals", "int f(void) { char a = '{'; char *b = \"}}\"; return 0; } int x;", nil, "has function f\nhas variable x"},

	// Conditionals.
	{"#if 0", "#if 0\nint x;\n#endif\nint y;", nil, "has variable y"},
	{"#if 1 with #else", "#if 1\nint x;\n#else\nint y;\n#endif", nil, "has variable x"},
	{"#elif", "#if 0\nint a;\n#elif 1\nint b;\n#elif 1\nint c;\n#else\nint d;\n#endif", nil, "has variable b"},
	{"nested", "#if 0\n#if 1\nint a;\n#else\nint b;\n#endif\n#else\nint c;\n#endif", nil, "has variable c"},
	{"#ifdef", "#define A\n#ifdef A\nint x;\n#endif\n#ifndef A\nint y;\n#endif", nil, "has variable x"},
	{"#undef", "#define A\n#undef A\n#ifdef A\nint x;\n#else\nint y;\n#endif", nil, "has variable y"},
	{"#undef of a known macro", "#undef SEC\n#define SEC(x)\nSEC(\"xdp\") int f(void) { return 0; }", nil, "has function f"},
	{"flag", "#ifdef WANTED\nint x;\n#endif", []string{"WANTED"}, "has variable x"},
	{"flag with a value", "#if LEVEL > 2\nint x;\n#else\nint y;\n#endif", []string{"LEVEL=3"}, "has variable x"},
	{"architecture", "#if defined(__TARGET_ARCH_x86)\nint x;\n#elif defined(__TARGET_ARCH_arm64)\nint y;\n#endif", []string{"__TARGET_ARCH_arm64"}, "has variable y"},
	{"architecture of the test", "#ifdef __TARGET_ARCH_x86\nint x;\n#endif", []string{"__TARGET_ARCH_x86"}, "has variable x"},
	{"arithmetic", "#if (1 + 2 * 3 == 7) && (8 >> 2 == 2) && !(5 % 2 == 0) && -1 < 0 && ~0 == -1\nint x;\n#endif", nil, "has variable x"},
	{"ternary", "#if 1 ? 0 : 1\nint x;\n#else\nint y;\n#endif", nil, "has variable y"},
	{"bases and suffixes", "#if 0x10 == 16 && 010 == 8 && 1ULL == 1 && 'a' == 97\nint x;\n#endif", nil, "has variable x"},
	{"unknown names are 0", "#if UNKNOWN || UNKNOWN_TOO(1)\nint x;\n#else\nint y;\n#endif", nil, "has variable y"},
	{"division by zero in an operand", "#if defined(A) && 1 / A\nint x;\n#endif\nint y;", nil, "has variable y"},
	{"KERNEL_VERSION", "#if KERNEL_VERSION(5, 10, 0) < KERNEL_VERSION(6, 1, 0)\nint x;\n#endif", nil, "has variable x"},
	{"__has_builtin", "#if __has_builtin(__builtin_preserve_access_index)\nint x;\n#endif", nil, "has variable x"},
	{"__has_builtin, if there is one", "#if defined(__has_builtin) && __has_builtin(__builtin_expect)\nint x;\n#endif", nil, "has variable x"},
	{"byte order", "#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__\nint x;\n#endif", nil, "has variable x"},
	{"__bpf__", "#ifdef __bpf__\nint x;\n#endif", nil, "has variable x"},
	{"macro in the condition", "#define V 3\n#define IS(n) (V == n)\n#if IS(3)\nint x;\n#endif", nil, "has variable x"},
	{"conditional in a body", "int f(void)\n{\n#if 0\n\treturn {;\n#else\n\treturn 0;\n#endif\n}", nil, "has function f"},
	{"apostrophe where nobody looks", "#if 0\ndon't\n#endif\nint x;", nil, "has variable x"},
	{"spaces around #", " #  define  A\n  # ifdef A\nint x;\n\t#endif", nil, "has variable x"},
	{"comment behind a directive", "#if 0 /* off */\nint x;\n#endif // 0\nint y;", nil, "has variable y"},

	// Macros.
	{"object-like", "#define TYPE int\nTYPE x;", nil, "has variable x"},
	{"function-like", "#define DECL(t, n) t n\nDECL(int, x);", nil, "has variable x"},
	{"name without parentheses", "#define f(x) g\nint f;", nil, "has variable f"},
	{"pasting", "#define NAME(a, b) a##_##b\nint NAME(x, y);", nil, "has variable x_y"},
	{"pasting of what is not expanded", "#define A wrong\n#define CAT(a, b) a##b\nint CAT(A, _b);", nil, "has variable A_b"},
	{"pasting of what is expanded", "#define A right\n#define CAT2(a, b) a##b\n#define CAT(a, b) CAT2(a, b)\nint CAT(A, _b);", nil, "has variable right_b"},
	{"pasting of nothing", "#define CAT(a, b) x##a##b\nint CAT(, y);", nil, "has variable xy"},
	{"pasting without parameters", "#define XY x ## y\nint XY;", nil, "has variable xy"},
	{"variadic", "#define ALL(...) int __VA_ARGS__\nALL(x, y);", nil, "has variable x\nhas variable y"},
	{"named variadic", "#define ALL(t, n...) t n\nALL(int, x, y);", nil, "has variable x\nhas variable y"},
	{"comma before nothing", "#define F(n, args...) int n(int a, ##args)\nF(f) { return a; }\nF(g, int b) { return b; }", nil, "has function f\nhas function g"},
	{"own name in the expansion", "#define x x\nint x;", nil, "has variable x"},
	{"two that name each other", "#define a b\n#define b a\nint a;", nil, "has variable a"},
	{"own name in an argument", "#define f(a) a\nint f(f(x));", nil, "has variable x"},
	{"arguments over lines", "#define DECL(t, n) t n\nDECL(\n\tint,\n\tx\n);", nil, "has variable x"},
	{"commas in parentheses", "#define ONE(a) a\nONE(int f(int a, int b)) { return a; }", nil, "has function f"},
	{"several definitions of one macro", "#define PAIR(n) int n##_a; int n##_b;\nPAIR(x) PAIR(y)", nil,
		"has variable x_a\nhas variable x_b\nhas variable y_a\nhas variable y_b"},
	{"redefinition", "#define N x\nint N;\n#undef N\n#define N y\nint N;", nil, "has variable x\nhas variable y"},
	{"__COUNTER__", "#define C2(a, b) a##b\n#define C(a, b) C2(a, b)\nint C(x, __COUNTER__); int C(x, __COUNTER__);", nil, "has variable x0\nhas variable x1"},
	{"__LINE__", "#define C2(a, b) a##b\n#define C(a, b) C2(a, b)\n\nint C(x, __LINE__);", nil, "has variable x4"},
	{"_Pragma", "#define LOOP _Pragma(\"unroll\") for (;;)\nint f(void) { LOOP { } }", nil, "has function f"},
	{"lists of a macro", "#define LIST(X) X(a) X(b)\n#define DECL(n) int n;\nLIST(DECL)", nil, "has variable a\nhas variable b"},
	{"extern in a macro", "#define EXTERN extern __attribute__((weak))\nEXTERN int x; int f(void) { return x; }", nil, "has function f\nneeds weak variable x"},
	{"macro of the flags", "TYPE x;", []string{"TYPE=unsigned long"}, "has variable x"},
}

func TestSymbols(t *testing.T) {
	for _, tt := range allSymbolTests {
		t.Run(tt.name, func(t *testing.T) {
			f := bpfc.NewScanner(nil).Scan("test.bpf.c", []byte(tt.source), tt.defines)
			for _, p := range f.Problems {
				t.Errorf("line %d: %s", p.Pos.Line, p.Text)
			}
			if got := describe(f); got != tt.want {
				t.Errorf("%s\ngot:\n%s\nwant:\n%s", tt.source, got, tt.want)
			}
		})
	}
}

// TestSymbolsAgreeWithClang compiles what the tests above scan. A few do not
// compile by themselves: they use macros and helpers that nothing declares.
func TestSymbolsAgreeWithClang(t *testing.T) {
	clang := needsClang(t)
	dir := t.TempDir()
	agreed := 0
	for i, tt := range allSymbolTests {
		source := filepath.Join(dir, fmt.Sprintf("%d.bpf.c", i))
		object := filepath.Join(dir, fmt.Sprintf("%d.o", i))
		content := "#include <bpf/bpf_helpers.h>\n#include <bpf/bpf_tracing.h>\n" + tt.source + "\n"
		if err := os.WriteFile(source, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		args := []string{"-g", "-O2", "-mcpu=v3", "-target", "bpfel", "-w", "-include", "linux/bpf.h", "-D__TARGET_ARCH_x86",
			"-Du32=unsigned", "-Du64=unsigned long long", "-I/usr/include/x86_64-linux-gnu", "-c", source, "-o", object}
		for _, define := range tt.defines {
			args = append(args, "-D"+define)
		}
		if out, err := exec.Command(clang, args...).CombinedOutput(); err != nil {
			t.Logf("%s: not compiled: %s", tt.name, out)
			continue
		}
		f := bpfc.NewScanner(nil).Scan(source, []byte(content), slices.Concat([]string{"__TARGET_ARCH_x86"}, tt.defines))
		diffs, err := disagreements(f, object)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		for _, diff := range diffs {
			t.Errorf("%s: %s", tt.name, diff)
		}
		if len(diffs) == 0 {
			agreed++
		}
	}
	t.Logf("%d of %d compile, and agree", agreed, len(allSymbolTests))
}

func needsClang(t *testing.T) string {
	t.Helper()
	clang, err := exec.LookPath("clang")
	if err != nil {
		t.Skip("needs clang on PATH")
	}
	if _, err := os.Stat("/usr/include/bpf/bpf_helpers.h"); err != nil {
		t.Skip("needs libbpf's headers in /usr/include")
	}
	return clang
}

var problemTests = []struct {
	name, source, want string
}{
	{"brace", "int f(void)\n{\n\tif (1) {\n\treturn 0;\n}\n", `2: "{" is not closed`},
	{"parenthesis", "int f(void)\n{\n\tif (1 {\n\treturn 0;\n}\n}\n", `6: "}" does not close the "(" of line 3`},
	{"parenthesis of the parameters", "int f(void\n", `1: "(" is not closed`},
	{"closed twice", "int f(void) { return 0; } }\nint x;", `1: "}" closes nothing`},
	{"bracket", "int x[2;\nint y;", `1: "[" is not closed`},
	{"comment", "int x;\n/* never\nclosed", "2: a comment is not closed"},
	{"quote", "int x;\nchar y[] = \"never;\n", "2: a quote is not closed"},
	{"character", "char x = 'a;\n", "1: a quote is not closed"},
	{"#if without #endif", "#if 1\nint x;\n", "1: a conditional has no #endif"},
	{"#if in #if", "#if 0\n#if 1\nint x;\n#endif\n", "1: a conditional has no #endif"},
	{"#endif", "int x;\n#endif\n", "2: #endif without #if"},
	{"#else twice", "#if 1\n#else\n#else\n#endif\n", "3: #else behind #else"},
	{"#elif behind #else", "#if 1\n#else\n#elif 1\n#endif\n", "3: #elif behind #else"},
	{"condition", "#if 1 +\nint x;\n#endif\n", "1: #if 1 +: cannot be evaluated"},
	{"no condition", "#if\nint x;\n#endif\n", "1: #if without a condition"},
	{"#include", "#include\n", "1: #include names no file"},
	{"#error", "#error not for this machine\nint x;", "1: #error not for this machine"},
	{"#error in a group that is skipped", "#if 0\n#error no\n#endif\nint x;", ""},
	{"arguments", "#define F(a) a\nint F(x;\n", "2: the arguments of macro F have no closing parenthesis"},
	{"parameters", "#define F(a\nint x;\n", "1: the parameters of macro F have no closing parenthesis"},
	{"UTF-16", "\xff\xfei\x00n\x00t\x00 \x00x\x00;\x00", "1: the file is in UTF-16, and a compiler reads UTF-8"},
	{"warning", "#warning later\n#pragma once\n#ident \"x\"\n#unknown\n#\nint x;", ""},
}

func TestProblems(t *testing.T) {
	for _, tt := range problemTests {
		t.Run(tt.name, func(t *testing.T) {
			f := bpfc.NewScanner(nil).Scan("test.bpf.c", []byte(tt.source), nil)
			got := ""
			if len(f.Problems) > 0 {
				got = fmt.Sprintf("%d: %s", f.Problems[0].Pos.Line, f.Problems[0].Text)
			}
			if got != tt.want {
				t.Errorf("%s\ngot  %s\nwant %s", tt.source, got, tt.want)
			}
		})
	}
}

// files is a repository of headers.
type files map[string]string

func (f files) open(what bpfc.Lookup) (string, func() ([]byte, bool), bool) {
	names := []string{filepath.Join(filepath.Dir(what.From), what.Path), what.Path}
	if what.Angled {
		names = nil
	}
	names = append(names, filepath.Join("sys", what.Path))
	if what.Next {
		names = names[slices.Index(names, what.From)+1:]
	}
	for _, name := range names {
		if content, ok := f[name]; ok {
			return name, func() ([]byte, bool) { return []byte(content), true }, true
		}
	}
	return "", nil, false
}

func TestIncludes(t *testing.T) {
	scanner := bpfc.NewScanner(files{
		"a/own.h":      "#pragma once\n#include \"b/other.h\"\nextern int own;\n#define OWN int own_made;\n",
		"b/other.h":    "#ifndef OTHER\n#define OTHER\n#include \"own.h\"\nint other(void);\n#endif\n",
		"b/own.h":      "static int second;\n",
		"sys/s.h":      "#define SYS 1\n",
		"a/loop.h":     "#include \"loop.h\"\n",
		"a/mutual1.h":  "#include \"mutual2.h\"\n#include \"mutual2.h\"\n",
		"a/mutual2.h":  "#include \"mutual1.h\"\n#include \"mutual1.h\"\n",
		"a/broken.h":   "/* never closed",
		"a/unclosed.h": "#if 1\n",
	}.open)
	scan := func(source string) *bpfc.File { return scanner.Scan("a/main.bpf.c", []byte(source), nil) }

	f := scan("#include \"vmlinux.h\"\n#include <bpf/bpf_helpers.h>\n#include \"own.h\"\n#include \"own.h\"\n" +
		"#if 0\n#include \"never.h\"\n#endif\n#define NAME <s.h>\n#include NAME\nOWN\nint f(void) { return own + other() + SYS; }")
	var got []string
	for _, inc := range f.Includes {
		got = append(got, fmt.Sprintf("%s:%d %s %v %s", inc.Pos.File, inc.Pos.Line, inc.Path, inc.Angled, inc.File))
	}
	want := []string{
		"a/main.bpf.c:1 vmlinux.h false ",
		"a/main.bpf.c:2 bpf/bpf_helpers.h true ",
		"a/main.bpf.c:3 own.h false a/own.h",
		"a/own.h:2 b/other.h false b/other.h",
		"b/other.h:3 own.h false b/own.h",
		"a/main.bpf.c:4 own.h false a/own.h",
		"a/main.bpf.c:9 s.h true sys/s.h",
	}
	if !slices.Equal(got, want) {
		t.Errorf("includes:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	wantSymbols := "has function f\nneeds function other\nneeds variable own\nhas variable own_made\nunused static variable second"
	if got := describe(f); got != wantSymbols {
		t.Errorf("symbols:\n%s\nwant:\n%s", got, wantSymbols)
	}
	for _, s := range f.Externs() {
		if s.UsedAt != (bpfc.Pos{File: "a/main.bpf.c", Line: 11}) {
			t.Errorf("%s is used at %v, want line 11", s.Name, s.UsedAt)
		}
	}

	for source, want := range map[string]string{
		"#include \"loop.h\"":     "a/loop.h:1: loop.h: files include each other without end",
		"#include \"broken.h\"":   "a/broken.h:1: a comment is not closed",
		"#include \"unclosed.h\"": "a/unclosed.h:1: a conditional has no #endif",
	} {
		f := scan(source)
		if len(f.Problems) == 0 {
			t.Errorf("%s: no problem, want %s", source, want)
			continue
		}
		p := f.Problems[0]
		if got := fmt.Sprintf("%s:%d: %s", p.Pos.File, p.Pos.Line, p.Text); got != want {
			t.Errorf("%s: %s, want %s", source, got, want)
		}
	}
	if f := scan("#include \"mutual1.h\"\n"); len(f.Problems) == 0 {
		t.Error("files that include each other twice: no problem")
	}
}

func TestLicense(t *testing.T) {
	f := bpfc.NewScanner(nil).Scan("test.bpf.c", []byte(`SEC("xdp") int p(void *ctx) { return 0; }
char _license[] SEC("license") = "Dual " "BSD/GPL";`), nil)
	if !f.HasLicense || f.License != "Dual BSD/GPL" || f.Programs() != 1 {
		t.Errorf("license %v %q, %d programs", f.HasLicense, f.License, f.Programs())
	}
}

// TestWhatStays keeps what was found in large files: the texts of the files are not to
// stay with it.
func TestWhatStays(t *testing.T) {
	source := []byte(`#include "sys/s.h"
#include <linux/bpf.h>
extern int other(void);
SEC("xdp") int p(void *ctx) { return other(); }
char _license[] SEC("license") = "GPL";
/*` + strings.Repeat("x", 1<<18) + "*/")
	scanner := bpfc.NewScanner(func(what bpfc.Lookup) (string, func() ([]byte, bool), bool) {
		return what.Path, func() ([]byte, bool) { return []byte("int own;\n"), true }, !what.Angled
	}).Brief()
	const files = 128
	found := make([]*bpfc.File, files)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := range found {
		found[i] = scanner.Scan(fmt.Sprintf("p%d.bpf.c", i), source, nil)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if more := int(after.HeapAlloc) - int(before.HeapAlloc); more > files*len(source)/8 {
		t.Errorf("%d files of %d bytes leave %d bytes", files, len(source), more)
	}
	for _, f := range found {
		if f.License != "GPL" || len(f.Externs()) != 1 || f.Externs()[0].Name != "other" || f.Includes[0].Path != "sys/s.h" || f.Includes[0].File != "sys/s.h" {
			t.Fatalf("found %+v", f)
		}
	}
}

// TestGrowth has inputs that a scanner without bounds would never be done with.
func TestGrowth(t *testing.T) {
	doubling := "#define A0 x\n"
	pasting := "#define C2(a, b) a##b\n#define C(a, b) C2(a, b)\n#define P0 x\n"
	strings_ := "#define S(x) #x\n#define T(x) S(x)\n#define Q0 x\n"
	for i := range 60 {
		doubling += fmt.Sprintf("#define A%d A%d A%d\n", i+1, i, i)
		pasting += fmt.Sprintf("#define P%d C(P%d, P%d)\n", i+1, i, i)
		strings_ += fmt.Sprintf("#define Q%d T(Q%d Q%d)\n", i+1, i, i)
	}
	for name, source := range map[string]string{
		"doubling":    doubling + "int A60;",
		"pasting":     pasting + "int P60;",
		"stringizing": strings_ + "char *s = Q60;",
		"nested":      "#define f(x) x\n" + strings.Repeat("f(", 100000) + strings.Repeat(")", 100000),
		"parentheses": "int x = " + strings.Repeat("(", 200000),
		"declarators": "int " + strings.Repeat("(", 100000) + "x" + strings.Repeat(")", 100000) + ";",
		"conditions":  strings.Repeat("#if 1\n", 100000),
		"unary":       "#if " + strings.Repeat("!", 100000) + "1\n#endif",
		"expression":  "#if " + strings.Repeat("(", 100000) + "1\n#endif",
		"externs":     "int f(void) { " + strings.Repeat("extern int x = ({ ", 20000) + strings.Repeat(" });", 20000) + "}",
		"generic":     "int f(int x) { return " + strings.Repeat("_Generic(x, int: ", 50000) + "x" + strings.Repeat(")", 50000) + "; }",
		"operands":    "int f(int x) { return " + strings.Repeat("_Generic(", 50000) + "x" + strings.Repeat(", int: x)", 50000) + "; }",
		"literals":    "char x[] SEC(" + strings.Repeat("\"a\" ", 100000) + ");",
		"empty":       "#define E\n#define F(...) " + strings.Repeat("__VA_ARGS__ ", 20000) + "\nF(" + strings.Repeat("E ", 20000) + ")",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bpfc.NewScanner(nil).Scan("test.bpf.c", []byte(source), nil)
		})
	}
}

func FuzzScan(f *testing.F) {
	for _, tt := range allSymbolTests {
		f.Add([]byte(tt.source))
	}
	for _, tt := range problemTests {
		f.Add([]byte(tt.source))
	}
	f.Fuzz(func(t *testing.T, source []byte) {
		scanner := bpfc.NewScanner(files{"self.h": string(source)}.open)
		file := scanner.Scan("self.c", source, nil)
		for _, s := range file.Symbols {
			if s.Name == "" {
				t.Error("a symbol without a name")
			}
		}
	})
}

// TestGeneric checks what _Generic needs for certain, and what it may need: it is
// types that say which association is taken.
func TestGeneric(t *testing.T) {
	f := bpfc.NewScanner(nil).Scan("test.bpf.c", []byte(`
extern int narrow(int), wide(long), both(int), inner(int), operand(void), through(int);
static int helper(int x) { return through(x); }
int f(int x) { return _Generic(operand(), int: narrow, long: wide, short: _Generic(x, int: inner))(x); }
int g(int x) { return _Generic((x), int: both, long: helper)(x) + both(x); }
`), nil)
	var got []string
	for _, s := range f.Externs() {
		got = append(got, fmt.Sprintf("%s %v", s.Name, s.Maybe))
	}
	want := []string{"both false", "inner true", "narrow true", "through true", "wide true"}
	if !slices.Equal(got, want) {
		t.Errorf("needs %v, want %v", got, want)
	}
}

// TestUnion scans a file for several architectures.
func TestUnion(t *testing.T) {
	scan := func(source string) *bpfc.File {
		var all []*bpfc.File
		for _, arch := range []string{"x86", "arm64", "s390"} {
			f := bpfc.NewScanner(nil).Scan("test.bpf.c", []byte(source), []string{"__TARGET_ARCH_" + arch})
			if !f.ArchDependent {
				t.Errorf("does not depend on the architecture:\n%s", source)
			}
			all = append(all, f)
		}
		return bpfc.Union(all...)
	}
	describe := func(f *bpfc.File) string {
		var out []string
		for _, inc := range f.Includes {
			out = append(out, "includes "+inc.Path)
		}
		for _, s := range f.Definitions() {
			out = append(out, "has "+s.Name)
		}
		for _, s := range f.Externs() {
			out = append(out, "needs "+s.Name)
		}
		for _, p := range f.Problems {
			out = append(out, p.Text)
		}
		return fmt.Sprintf("%s, %d programs, license %q", strings.Join(out, ", "), f.Programs(), f.License)
	}
	for _, tt := range []struct{ name, source, want string }{
		{
			"each its own",
			"#include \"all.h\"\n#ifdef __TARGET_ARCH_arm64\n#include \"arm.h\"\nextern int a; int f(void) { return a; }\n" +
				"#elif defined(__TARGET_ARCH_x86)\nextern int b; int f(void) { return b; }\n#endif\n",
			`includes all.h, includes arm.h, has f, needs a, needs b, 0 programs, license ""`,
		},
		{
			"rejected",
			"#if __TARGET_ARCH_x86\n#error \"not here\"\nextern int x; int y = (int)&x;\n#elif defined(__TARGET_ARCH_arm64)\nint a;\n#else\nint b;\n#endif\n",
			`has a, has b, 0 programs, license ""`,
		},
		{
			"rejected by all",
			"#ifndef __TARGET_ARCH_mips\n#error \"only there\"\n#endif\nint x;\n",
			`has x, #error "only there", 0 programs, license ""`,
		},
		{
			"defined on one, needed on another",
			"#ifdef __TARGET_ARCH_x86\nint a(void) { return 0; }\n#else\nint a(void);\n#endif\nint b(void) { return a(); }\n",
			`has a, has b, 0 programs, license ""`,
		},
		{
			"a program on one",
			"#ifdef bpf_target_x86\n#endif\n#ifdef __TARGET_ARCH_s390\nSEC(\"xdp\") int p(void *ctx) { return 0; }\nchar l[] SEC(\"license\") = \"GPL\";\n#endif\n",
			`has l, has p, 1 programs, license "GPL"`,
		},
		{
			"a mistake on one",
			"#ifdef __TARGET_ARCH_arm64\nint x[2;\n#endif\nint y;\n",
			`has y, "[" is not closed, 0 programs, license ""`,
		},
	} {
		if got := describe(scan(tt.source)); got != tt.want {
			t.Errorf("%s: got\n%s\nwant\n%s", tt.name, got, tt.want)
		}
	}
}

// TestVmlinux checks that of headers of the kernel's types, only directives count,
// and that those of all architectures are followed.
func TestVmlinux(t *testing.T) {
	scanner := bpfc.NewScanner(files{
		"k/vmlinux.h": "#ifndef __GUARD\n#define __GUARD\n#if defined(__TARGET_ARCH_x86)\n#include \"vmlinux-x86.h\"\n" +
			"#elif defined(__TARGET_ARCH_arm64)\n#include \"vmlinux-arm64.h\"\n#else\n#error none\n#endif\n#endif\n",
		"k/vmlinux-x86.h":   "#define __VMLINUX_H__\nint made;\nstruct s { int a; /* never closed\n",
		"k/vmlinux-arm64.h": "#define X \\\n 1\n",
	}.open)
	f := scanner.Scan("k/main.bpf.c", []byte("#include \"vmlinux.h\"\n#ifndef __VMLINUX_H__\n#error no\n#endif\nint v = X;\n"), []string{"__TARGET_ARCH_x86"})
	if got, want := describe(f), "has variable v"; got != want || len(f.Problems) > 0 || f.ArchDependent || len(f.Includes) != 3 {
		t.Errorf("got %s, problems %v, dependent on the architecture: %v, includes %v", got, f.Problems, f.ArchDependent, f.Includes)
	}
	// Generated ones are not there yet, and define the macro too.
	f = bpfc.NewScanner(nil).Scan("main.bpf.c", []byte("#include \"vmlinux.h\"\n#ifdef __VMLINUX_H__\nint v;\n#endif\n"), nil)
	if got, want := describe(f), "has variable v"; got != want {
		t.Errorf("without a file: got %s, want %s", got, want)
	}
}

func TestIncludeNext(t *testing.T) {
	scanner := bpfc.NewScanner(files{
		"a/x.h":   "#include_next <x.h>\nint first;\n",
		"sys/x.h": "int second;\n",
	}.open)
	f := scanner.Scan("a/main.bpf.c", []byte("#include \"x.h\"\n"), nil)
	if got, want := describe(f), "has variable first\nhas variable second"; got != want || len(f.Problems) > 0 {
		t.Errorf("got %s, problems %v, want %s", got, f.Problems, want)
	}
}

func TestForcedIncludes(t *testing.T) {
	scanner := bpfc.NewScanner(files{"a/first.h": "#define A int first;\n", "a/second.h": "A\n"}.open)
	f := scanner.Scan("a/main.bpf.c", []byte("A\nint own;\n"), nil, "first.h", "second.h")
	if got, want := describe(f), "has variable first\nhas variable own"; got != want || len(f.Includes) != 2 {
		t.Errorf("got %s, includes %v, want %s", got, f.Includes, want)
	}
}

// BenchmarkLarge has a header of 600 KB, which takes a time that grows with its size.
func BenchmarkLarge(b *testing.B) {
	var header strings.Builder
	for i := range 16000 {
		fmt.Fprintf(&header, "struct s%d { int a; long b; };\n", i)
	}
	scanner := bpfc.NewScanner(files{"big.h": header.String()}.open)
	for b.Loop() {
		scanner.Scan("main.bpf.c", []byte("#include \"big.h\"\n"), nil)
	}
}

// TestTypesOnly has headers of types, which are left out, and what only looks so.
func TestTypesOnly(t *testing.T) {
	scanner := bpfc.NewScanner(files{"t.h": `typedef int number;
struct empty;
struct s { int a[3]; struct { int b; } c; };
enum e { ONE = sizeof(struct s), TWO };
typedef int (*callback)(int);
struct s made;
struct s { int again; } declared, *pointer;
struct s function(void) { return made; }
union u { int x; } __attribute__((aligned(8))) aligned;
struct attributed { int x; } __attribute__((packed));
struct with {
#ifdef MACRO
	int field;
#endif
} conditional;
struct ends { MEMBER };
typedef struct { int x; } DECLARE;
int last;
`}.open)
	main := "#include \"t.h\"\n"
	want := "has variable aligned\nhas variable conditional\nhas variable declared\nhas function function\nhas variable last\nhas variable made\nhas variable pointer"
	if got := describe(scanner.Scan("a.c", []byte(main), nil)); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	// A macro may end the type and begin something else.
	main = "#define MEMBER int x; }; int hidden; struct other { int y;\n#define DECLARE named; int more\n#include \"t.h\"\n"
	want = "has variable aligned\nhas variable conditional\nhas variable declared\nhas function function\nhas variable hidden\nhas variable last\nhas variable made\nhas variable more\nhas variable pointer"
	f := scanner.Scan("a.c", []byte(main), nil)
	if got := describe(f); got != want || len(f.Problems) > 0 {
		t.Errorf("with macros: got\n%s\nwant\n%s\nproblems %v", got, want, f.Problems)
	}
}
