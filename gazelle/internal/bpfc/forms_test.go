package bpfc_test

// formTests has the forms in which files of BPF C say what they say in
// symbolTests, as they are written.
var formTests = []symbolTest{
	{
		name: "attributes of C23",
		source: `[[gnu::section("license"), gnu::used]] char LICENSE[] = "GPL";
int counter [[gnu::weak]];
[[gnu::section("xdp")]] int pass(struct xdp_md *ctx) { return XDP_PASS; }
`,
		want: `has variable LICENSE in license
has weak variable counter
has program pass in xdp`,
	},
	{
		name: "section in parentheses",
		source: `char LICENSE[] __attribute__((section(("license")), used)) = "GPL";
`,
		want: `has variable LICENSE in license`,
	},
	{
		name: "alias",
		source: `int real(void) { return 1; }
int other(void) __attribute__((alias("real")));
`,
		want: `has function other
has function real`,
	},
	{
		name: "function whose use is an error",
		source: `SEC("xdp")
int pass(struct xdp_md *ctx)
{
	extern __attribute__((__error__("bad size"))) void bad(void);

	if (sizeof(int) != 4)
		bad();
	return XDP_PASS;
}
`,
		want: `has program pass in xdp`,
	},
	{
		name: "counter per cpu",
		source: `struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u64);
} packets SEC(".maps");

static __always_inline void count(__u32 index)
{
	__u64 *value = bpf_map_lookup_elem(&packets, &index);

	if (value)
		__sync_fetch_and_add(value, 1);
}

SEC("xdp")
int count_all(struct xdp_md *ctx)
{
	count(0);
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
`,
		want: `has variable LICENSE in license
has static function count
has program count_all in xdp
has map packets in .maps`,
	},
	{
		name: "two maps in one declaration",
		source: `struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, int);
	__type(value, int);
} first SEC(".maps"), second SEC(".maps");
`,
		want: `has map first in .maps
has map second in .maps`,
	},
	{
		name: "map whose type has a name",
		source: `struct table {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8);
	__type(key, int);
	__type(value, long);
};

struct table blocked SEC(".maps");
struct table allowed SEC(".maps");
`,
		want: `has map allowed in .maps
has map blocked in .maps`,
	},
	{
		name: "map whose type is a typedef",
		source: `typedef struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8);
	__type(key, int);
	__type(value, long);
} table;

table blocked SEC(".maps");
`,
		want: `has map blocked in .maps`,
	},
	{
		name: "map that another object defines",
		source: `struct state {
	int a;
};

extern struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8);
	__type(key, int);
	__type(value, struct state);
} states SEC(".maps");

SEC("tc")
int first(struct __sk_buff *skb)
{
	int key = 1;

	return bpf_map_lookup_elem(&states, &key) != 0;
}
`,
		want: `has program first in tc
needs map states in .maps`,
	},
	{
		name: "map that nobody looks at",
		source: `extern struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} events SEC(".maps");

int unrelated;
`,
		want: `unused map events in .maps
has variable unrelated`,
	},
	{
		name: "static map",
		source: `static struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, int);
	__type(value, int);
} own SEC(".maps");

SEC("tc")
int look(struct __sk_buff *skb)
{
	int key = 0;

	return bpf_map_lookup_elem(&own, &key) != 0;
}
`,
		want: `has program look in tc
has static map own in .maps`,
	},
	{
		name: "hidden weak map",
		source: `struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, int);
	__type(value, int);
} shared __hidden __weak SEC(".maps");
`,
		want: `has weak hidden map shared in .maps`,
	},
	{
		name: "array of maps with its inner ones",
		source: `struct inner {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, int);
	__type(value, int);
} inner_a SEC(".maps"), inner_b SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 2);
	__type(key, int);
	__array(values, struct inner);
} outer SEC(".maps") = {
	.values = { &inner_a, [1] = &inner_b },
};
`,
		want: `has map inner_a in .maps
has map inner_b in .maps
has map outer in .maps`,
	},
	{
		name: "tail calls",
		source: `int call_one(struct __sk_buff *skb);

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 2);
	__uint(key_size, sizeof(__u32));
	__array(values, int(void *));
} jumps SEC(".maps") = {
	.values = {
		[0] = (void *)&call_one,
	},
};

SEC("tc")
int call_one(struct __sk_buff *skb)
{
	return 1;
}

SEC("tc")
int start(struct __sk_buff *skb)
{
	bpf_tail_call_static(skb, &jumps, 0);
	return 0;
}
`,
		want: `has program call_one in tc
has map jumps in .maps
has program start in tc`,
	},
	{
		name: "settings of a program",
		source: `const volatile __u32 min_ms = 10;
const volatile char prefix[16] = "edge";
const volatile struct {
	__u32 mark;
	_Bool drop;
} config = { .mark = 7 };
static const volatile __u32 hidden_setting = 3;

SEC("xdp")
int run(struct xdp_md *ctx)
{
	return config.drop && min_ms > hidden_setting ? XDP_DROP : XDP_PASS;
}
`,
		want: `has variable config
has static variable hidden_setting
has variable min_ms
has variable prefix
has program run in xdp`,
	},
	{
		name: "variables of all sections",
		source: `int in_bss;
int in_data = 1;
const int in_rodata = 2;
int elsewhere SEC(".data.elsewhere") = 3;
const int read_only SEC(".rodata.other") = 4;
int zeroes SEC(".bss.more");
`,
		want: `has variable elsewhere in .data.elsewhere
has variable in_bss
has variable in_data
has variable in_rodata
has variable read_only in .rodata.other
has variable zeroes in .bss.more`,
	},
	{
		name: "constant that nobody uses",
		source: `static const int table[] = { 1, 2, 3 };
static const char *const names[] = { "a", "b" };

int x;
`,
		want: `unused static variable names
unused static variable table
has variable x`,
	},
	{
		name: "table of strings that is used",
		source: `static const char *names[] = { "a", "b" };

const char *name(int i)
{
	return names[i & 1];
}
`,
		want: `has function name
has static variable names`,
	},
	{
		name: "values that point to each other",
		source: `extern int other;
int target;
int *first = &target;
int **second = &first;
int *foreign = &other;
`,
		want: `has variable first
has variable foreign
needs variable other
has variable second
has variable target`,
	},
	{
		name: "structure of pointers",
		source: `extern int in_library;
static int here;

struct pair {
	int *a;
	int *b;
} pair = {
	.a = &here,
	.b = &in_library,
};
`,
		want: `has static variable here
needs variable in_library
has variable pair`,
	},
	{
		name: "structure that refers to itself",
		source: `struct node {
	struct node *next;
};
struct node head = { .next = &head };
`,
		want: `has variable head`,
	},
	{
		name: "table of functions",
		source: `static int one(void)
{
	return 1;
}

int two(void)
{
	return 2;
}

extern int three(void);

int (*calls[])(void) = { one, two, &three };
`,
		want: `has variable calls
has static function one
needs function three
has function two`,
	},
	{
		name: "enumeration with the name of an extern",
		source: `extern int limit;
enum { limited = 3 };

int f(void)
{
	return limited;
}
`,
		want: `has function f
unused variable limit`,
	},
	{
		name: "enumeration inside of a structure",
		source: `struct s {
	enum kind { A, B = A + 2 } kind;
	union {
		struct { int a, b; };
		long whole;
	};
} x;
`,
		want: `has variable x`,
	},
	{
		name: "nested structures with attributes",
		source: `struct outer {
	struct {
		int a;
	} __attribute__((packed)) in;
	int b __attribute__((aligned(16)));
} __attribute__((preserve_access_index));

struct outer x;
`,
		want: `has variable x`,
	},
	{
		name: "bit-fields",
		source: `struct flags {
	unsigned a : 1;
	unsigned : 0;
	unsigned b : 3, c : 4;
} flags;
`,
		want: `has variable flags`,
	},
	{
		name: "flexible array",
		source: `struct list {
	int n;
	int values[];
};

int f(struct list *l)
{
	return l->values[l->n];
}
`,
		want: `has function f`,
	},
	{
		name: "function with arrays and function pointers as parameters",
		source: `typedef int (*callback)(void *, int);

static int twice(int values[2], callback call, int (*again)(int a, int b))
{
	return values[0] + call(0, 1) + again(1, 2);
}

static int add(void *at, int b)
{
	return b;
}

static int sum(int a, int b)
{
	return a + b;
}

int f(void)
{
	int v[2] = { 1, 2 };

	return twice(v, add, sum);
}
`,
		want: `has static function add
has function f
has static function sum
has static function twice`,
	},
	{
		name: "callback of a helper",
		source: `static long each(__u32 index, void *ctx)
{
	return 0;
}

SEC("tc")
int loop(struct __sk_buff *skb)
{
	return bpf_loop(4, each, 0, 0);
}
`,
		want: `has static function each
has program loop in tc`,
	},
	{
		name: "callback that calls a library",
		source: `int decide(int);

static long each(void *map, void *key, void *value, void *ctx)
{
	return decide(*(int *)value);
}

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8);
	__type(key, int);
	__type(value, int);
} m SEC(".maps");

SEC("tc")
int all(struct __sk_buff *skb)
{
	return bpf_for_each_map_elem(&m, each, 0, 0);
}
`,
		want: `has program all in tc
needs function decide
has static function each
has map m in .maps`,
	},
	{
		name: "chain of static functions with one extern at its end",
		source: `extern int needed(int);

static __noinline int c(int x)
{
	return needed(x);
}

static __noinline int b(int x)
{
	return c(x) + 1;
}

static __noinline int a(int x)
{
	return b(x) + 1;
}

SEC("tc")
int top(struct __sk_buff *skb)
{
	return a(skb->len);
}
`,
		want: `has static function a
has static function b
has static function c
needs function needed
has program top in tc`,
	},
	{
		name: "chain that nothing reaches",
		source: `extern int needed(int);

static int c(int x)
{
	return needed(x);
}

static int b(int x)
{
	return c(x);
}

int other(void)
{
	return 0;
}
`,
		want: `unused static function b
unused static function c
unused function needed
has function other`,
	},
	{
		name: "functions that call each other",
		source: `static __noinline int even(int n);

static __noinline int odd(int n)
{
	return n ? even(n - 1) : 0;
}

static __noinline int even(int n)
{
	return n ? odd(n - 1) : 1;
}

int parity(int n)
{
	return even(n);
}
`,
		want: `has static function even
has static function odd
has function parity`,
	},
	{
		name: "prototypes of a header, some of them used",
		source: `int used(int);
int also_used(int a, int b);
int unused(void);
extern int unused_variable;
extern const int limit;

int f(int x)
{
	return used(x) + also_used(x, limit);
}
`,
		want: `needs function also_used
has function f
needs variable limit
unused function unused
unused variable unused_variable
needs function used`,
	},
	{
		name: "prototype in a body",
		source: `int f(int x)
{
	int helper(int);

	return helper(x);
}
`,
		want: `has function f
needs function helper`,
	},
	{
		name: "extern in an inner block",
		source: `int f(int x)
{
	if (x) {
		extern int deep;

		return deep;
	}
	return 0;
}
`,
		want: `needs variable deep
has function f`,
	},
	{
		name: "weak function of a library",
		source: `__weak int policy(int x)
{
	return x;
}

SEC("tc")
int run(struct __sk_buff *skb)
{
	return policy(skb->len);
}
`,
		want: `has weak function policy
has program run in tc`,
	},
	{
		name: "weak function that may be absent",
		source: `extern int maybe(int) __weak;

int f(int x)
{
	return maybe ? maybe(x) : 0;
}
`,
		want: `has function f
needs weak function maybe`,
	},
	{
		name: "kernel functions and types",
		source: `struct task_struct;
extern struct task_struct *bpf_task_acquire(struct task_struct *p) __ksym;
extern void bpf_task_release(struct task_struct *p) __ksym;
extern void unused_kfunc(void) __ksym;
extern const int bpf_prog_active __ksym;

int f(struct task_struct *task)
{
	struct task_struct *own = bpf_task_acquire(task);

	if (own)
		bpf_task_release(own);
	return 0;
}
`,
		want: `unused kernel variable bpf_prog_active in .ksyms
needs kernel function bpf_task_acquire in .ksyms
needs kernel function bpf_task_release in .ksyms
has function f
unused kernel function unused_kfunc in .ksyms`,
	},
	{
		name: "configuration of the kernel",
		source: `extern int LINUX_KERNEL_VERSION __kconfig;
extern _Bool CONFIG_BPF_SYSCALL __kconfig __weak;
extern enum libbpf_tristate CONFIG_MODULE __kconfig __weak;
extern char CONFIG_CC_VERSION_TEXT[64] __kconfig __weak;

SEC("tc")
int run(struct __sk_buff *skb)
{
	if (LINUX_KERNEL_VERSION < 0x50a00)
		return 1;
	return CONFIG_BPF_SYSCALL;
}
`,
		want: `needs weak kernel variable CONFIG_BPF_SYSCALL in .kconfig
unused weak kernel variable CONFIG_CC_VERSION_TEXT in .kconfig
unused weak kernel variable CONFIG_MODULE in .kconfig
needs kernel variable LINUX_KERNEL_VERSION in .kconfig
has program run in tc`,
	},
	{
		name: "static by the first declaration only",
		source: `static int hidden_by_prototype(int);

int hidden_by_prototype(int x)
{
	return x;
}

int f(void)
{
	return hidden_by_prototype(1);
}
`,
		want: `has function f
has static function hidden_by_prototype`,
	},
	{
		name: "definition before its prototype",
		source: `int early(int x)
{
	return x;
}

int early(int x);
extern int early(int x);
`,
		want: `has function early`,
	},
	{
		name: "attributes in all places",
		source: `__attribute__((noinline)) static int __attribute__((unused)) a(void) __attribute__((cold));

static int a(void)
{
	return 1;
}

__attribute__((weak)) int b(void)
{
	return a();
}

int (c)(void) __attribute__((weak, visibility("hidden")));

int (c)(void)
{
	return b();
}
`,
		want: `has static function a
has weak function b
has weak hidden function c`,
	},
	{
		name: "section by the compiler's own attribute",
		source: `__attribute__((section("xdp"), used)) int run(struct xdp_md *ctx)
{
	return XDP_PASS;
}

int x __attribute__((__section__(".data.x")));
`,
		want: `has program run in xdp
has variable x in .data.x`,
	},
	{
		name: "section behind the parameters of a prototype",
		source: `int run(struct xdp_md *ctx) SEC("xdp");

int run(struct xdp_md *ctx)
{
	return XDP_PASS;
}
`,
		want: `has program run in xdp`,
	},
	{
		name: "section in front of the storage class",
		source: `SEC(".data.x") static int x;

int f(void)
{
	return x++;
}
`,
		want: `has function f
has static variable x in .data.x`,
	},
	{
		name: "several programs in one section",
		source: `SEC("xdp") int first(struct xdp_md *ctx) { return 1; }
SEC("xdp") int second(struct xdp_md *ctx) { return 2; }
SEC("?xdp.frags") int third(struct xdp_md *ctx) { return 2; }
`,
		want: `has program first in xdp
has program second in xdp
has program third in ?xdp.frags`,
	},
	{
		name: "license by another name",
		source: `char _license[] SEC("license") = "Dual MIT/GPL";
`,
		want: `has variable _license in license`,
	},
	{
		name: "license of fixed size and the version",
		source: `const char _license[4] SEC("license") = "GPL";
__u32 _version SEC("version") = 1;
`,
		want: `has variable _license in license
has variable _version in version`,
	},
	{
		name: "macro that makes programs",
		source: `#define PROGRAM(name, where)                    \
	SEC(where)                              \
	int name(struct __sk_buff *skb)         \
	{                                       \
		return handle(skb, #name);      \
	}

static __noinline int handle(struct __sk_buff *skb, const char *name)
{
	return name[0] == 'i';
}

PROGRAM(in, "tc/ingress")
PROGRAM(out, "tc/egress")
`,
		want: `has static function handle
has program in in tc/ingress
has program out in tc/egress`,
	},
	{
		name: "list that is expanded twice",
		source: `#define COUNTERS(X) \
	X(dropped)  \
	X(passed)   \
	X(sampled)

#define VARIABLE(name) __u64 count_##name;
COUNTERS(VARIABLE)
#undef VARIABLE

#define CASE(name) case __COUNTER__: return &count_##name;
__u64 *counter(int which)
{
	switch (which) {
	COUNTERS(CASE)
	}
	return 0;
}
`,
		want: `has variable count_dropped
has variable count_passed
has variable count_sampled
has function counter`,
	},
	{
		name: "macro with a statement as its argument",
		source: `#define WITH(cond, ...) do { if (cond) { __VA_ARGS__; } } while (0)

extern int a, b;

int f(int x)
{
	WITH(x, a = 1; b = 2);
	return 0;
}
`,
		want: `needs variable a
needs variable b
has function f`,
	},
	{
		name: "macro with empty arguments",
		source: `#define DECLARE(prefix, type, name, suffix) prefix type name suffix

DECLARE(, int, plain, );
DECLARE(static, int, local, );
DECLARE(, int, set, = 1);
DECLARE(extern, int, outside, );

int f(void)
{
	return local + outside;
}
`,
		want: `has function f
has static variable local
needs variable outside
has variable plain
has variable set`,
	},
	{
		name: "macro that is redefined within another",
		source: `#define VALUE before
#define GET VALUE
int GET;
#undef VALUE
#define VALUE after
int GET;
`,
		want: `has variable after
has variable before`,
	},
	{
		name: "macro of the kernel's that the file defines itself",
		source: `#undef __always_inline
#define __always_inline inline __attribute__((always_inline, unused))
#undef __hidden
#define __hidden

static __always_inline int f(int x)
{
	return x;
}

__hidden int g(int x)
{
	return f(x);
}
`,
		want: `has static function f
has function g`,
	},
	{
		name: "container_of and others of its kind",
		source: `struct outer {
	int a;
	struct inner {
		int b;
	} in;
};

#define up(ptr, type, member) ({                                  \
	void *p = (void *)(ptr);                                  \
	((type *)(p - __builtin_offsetof(type, member)));         \
})

int f(struct inner *in)
{
	return up(in, struct outer, in)->a;
}
`,
		want: `has function f`,
	},
	{
		name: "pasting of numbers",
		source: `#define JOIN(a, b) a##b
#define NUMBERED(n) JOIN(slot_, n)

int NUMBERED(0), NUMBERED(10);
int JOIN(x, JOIN) = 1;
`,
		want: `has variable slot_0
has variable slot_10
has variable xJOIN`,
	},
	{
		name: "string of a macro",
		source: `#define TEXT_(x) #x
#define TEXT(x) TEXT_(x)
#define SECTION kprobe
#define FUNCTION do_exit

SEC(TEXT(SECTION) "/" TEXT(FUNCTION))
int run(void *ctx)
{
	return 0;
}
`,
		want: `has program run in kprobe/do_exit`,
	},
	{
		name: "macro call with the parenthesis on the next line",
		source: `#define DEFINE(name) int name

DEFINE
(x);
DEFINE /* of y */ (y);
`,
		want: `has variable x
has variable y`,
	},
	{
		name: "function-like macro that names a variable",
		source: `#define size(x) (x)

int size;

int f(void)
{
	return size(size);
}
`,
		want: `has function f
has variable size`,
	},
	{
		name: "conditionals around parts of a declaration",
		source: `#ifdef STATIC
static
#endif
int f(int a
#if 1
	, int b
#endif
	)
{
	return a + b;
}
`,
		want: `has function f`,
	},
	{
		name: "conditionals around an argument",
		source: `#define ADD(a, b) ((a) + (b))

extern int yes, no;

int f(void)
{
	return ADD(1,
#if 1
		yes
#else
		no
#endif
	);
}
`,
		want: `has function f
unused variable no
needs variable yes`,
	},
	{
		name: "what the compiler predefines",
		source: `#if !defined(__clang__) || !defined(__bpf__) || !defined(__BPF__) || __STDC_VERSION__ < 199901L
#error unexpected
#endif
#if __SIZEOF_POINTER__ != 8 || __CHAR_BIT__ != 8 || !defined(__LP64__)
#error unexpected
#endif
#ifdef __x86_64__
int wrong;
#endif
int right;
`,
		want: `has variable right`,
	},
	{
		name: "elif chain with macros",
		source: `#define MODE 2
#if MODE == 1
int one;
#elif MODE == 2 && defined(MODE)
int two;
#elif MODE == 2
int again;
#else
int none;
#endif
`,
		want: `has variable two`,
	},
	{
		name: "guards",
		source: `#ifndef GUARD
#define GUARD
int once;
#endif
#ifndef GUARD
int twice;
#endif
`,
		want: `has variable once`,
	},
	{
		name: "comments in odd places",
		source: `int/**/a;
int /* ; */ b /* , c */ = /* 1; int d = */ 2;
/* int e; // */ int f; // int g; /*
int h; /*/ int i; /**/ int j;
/**
 * int k;
 **/
`,
		want: `has variable a
has variable b
has variable f
has variable h
has variable j`,
	},
	{
		name: "literals with brackets and comments",
		source: `char a[] = "/*";
char b[] = "*/ int c;";
int d = '"';
char e[] = "\"; int f; \"";
int g = '\\';
char h[] = "\\"; int i;
char j[] = "one" " two" /* between */ "three";
`,
		want: `has variable a
has variable b
has variable d
has variable e
has variable g
has variable h
has variable i
has variable j`,
	},
	{
		name: "splices",
		source: `int split\
ted;
#define LONG \
	int made; \
	int also
LONG;
char text[] = "a\
b";
// not \
int code;
int code_again;
`,
		want: `has variable also
has variable code_again
has variable made
has variable splitted
has variable text`,
	},
	{
		name: "labels, switches and gotos",
		source: `extern int a, b, c;

int f(int x)
{
	switch (x) {
	case 1 ... 3:
		return a;
	default:
		goto out;
	}
b:
	return 1;
out:
	if (x == 7)
		goto b;
	return c;
}
`,
		want: `needs variable a
unused variable b
needs variable c
has function f`,
	},
	{
		name: "sizeof of a type and of an expression",
		source: `extern struct s { int a, b; } in_library;
extern int array[4];
extern int place;

int f(void)
{
	return sizeof(in_library) + sizeof(struct s) + sizeof array / sizeof array[0] + place;
}
`,
		want: `unused variable array
has function f
unused variable in_library
needs variable place`,
	},
	{
		name: "offsets and relocations",
		source: `struct task {
	int pid;
	struct task *parent;
} __attribute__((preserve_access_index));

extern int offset;

int f(struct task *t)
{
	return __builtin_preserve_field_info(t->parent->pid, 0);
}
`,
		want: `has function f
unused variable offset`,
	},
	{
		name: "inline assembler that names a symbol",
		source: `extern int x;

int f(int a)
{
	asm volatile("%0 += 1" : "+r"(a));
	asm volatile goto("if %0 == 0 goto %l[out]" : : "r"(a) : : out);
	return x;
out:
	return 0;
}
`,
		want: `has function f
needs variable x`,
	},
	{
		name: "statement expressions and compound literals",
		source: `struct pair { int a, b; };
extern int source;

int f(void)
{
	struct pair p = (struct pair){ .a = ({ int t = source; t + 1; }), .b = 2 };
	int *v = (int[]){ 1, 2, p.a };

	return v[p.b];
}
`,
		want: `has function f
needs variable source`,
	},
	{
		name: "generic selection",
		source: `extern int whole;

int f(int x)
{
	return _Generic(x, int: whole, default: whole);
}
`,
		want: `has function f
needs variable whole`,
	},
	{
		name: "old types of the kernel",
		source: `__u8 a;
__s16 b;
__be32 c;
__le64 d;
unsigned char e, *g, h[3];
signed i;
long long unsigned int j;
const char *const k = "k";
`,
		want: `has variable a
has variable b
has variable c
has variable d
has variable e
has variable g
has variable h
has variable i
has variable j
has variable k`,
	},
	{
		name: "volatile, atomic and aligned",
		source: `volatile int a;
_Atomic int b;
_Atomic(long) c;
int d __attribute__((aligned(64)));
_Alignas(16) char e[16];
struct { int x; } __attribute__((aligned(8))) f, *g;
`,
		want: `has variable a
has variable b
has variable c
has variable d
has variable e
has variable f
has variable g`,
	},
	{
		name: "arrays whose size is an expression",
		source: `#define N 4
enum { M = N * 2 };
int a[N], b[M][N + 1], c[sizeof(int) * 2], d[] = { [N] = 1 };
char e[(N > 2) ? 3 : 4];
`,
		want: `has variable a
has variable b
has variable c
has variable d
has variable e`,
	},
	{
		name: "pointers of all kinds",
		source: `int *a, **b, *const c = 0, *volatile d;
int (*e)[4];
int *(*f)(int *);
int (*(*g)(void))(int);
int *(*h[2])(void);
void (*const i)(void) = 0;
`,
		want: `has variable a
has variable b
has variable c
has variable d
has variable e
has variable f
has variable g
has variable h
has variable i`,
	},
	{
		name: "functions that return odd things",
		source: `int *a(void) { return 0; }
int (*b(void))[4] { return 0; }
int (*c(int x))(int) { return 0; }
const struct s *d(void) { return 0; }
unsigned long long int e(void) { return 0; }
enum { X } g(void) { return X; }
`,
		want: `has function a
has function b
has function c
has function d
has function e
has function g`,
	},
	{
		name: "names that look like keywords",
		source: `int static_;
int external;
int structure;
int _int;
int typedef_t;
int returns(int if_, int while_) { return if_ + while_; }
`,
		want: `has variable _int
has variable external
has function returns
has variable static_
has variable structure
has variable typedef_t`,
	},
	{
		name: "typedef and variable of one name",
		source: `typedef int number;
number a;
struct number { number number; } b;

int f(struct number *n)
{
	return n->number;
}
`,
		want: `has variable a
has variable b
has function f`,
	},
	{
		name: "tag and variable of one name",
		source: `struct state { int a; } state;
enum mode { ON } mode = ON;
union any { int i; } any;
`,
		want: `has variable any
has variable mode
has variable state`,
	},
	{
		name: "local names that hide externs",
		source: `extern int outside;
int kept(void)
{
	return outside;
}
`,
		want: `has function kept
needs variable outside`,
	},
	{
		name: "static variables of a function",
		source: `int next(void)
{
	static int last;
	static const int step = 2;

	return last += step;
}
`,
		want: `has function next`,
	},
	{
		name: "two initialisers that share a static",
		source: `static int shared;
int *a = &shared;
int *b = &shared;
`,
		want: `has variable a
has variable b
has static variable shared`,
	},
	{
		name: "tentative definitions",
		source: `int x;
int x;
extern int x;
int y;
int y = 2;
`,
		want: `has variable x
has variable y`,
	},
	{
		name: "extern inline and inline extern",
		source: `inline int a(void) { return 1; }
extern inline int b(void) { return 2; }
static inline int c(void) { return 3; }
inline int d(void);
extern int d(void);
inline int d(void) { return 4; }
`,
		want: `unused static function a
has function b
unused static function c
has function d`,
	},
	{
		name: "inline function that is used",
		source: `static inline int twice(int x)
{
	return 2 * x;
}

static __always_inline int four(int x)
{
	return twice(twice(x));
}

int f(int x)
{
	return four(x);
}
`,
		want: `has function f
has static function four
has static function twice`,
	},
	{
		name: "global functions of a verifier that checks each by itself",
		source: `__noinline int global_one(struct __sk_buff *skb)
{
	return skb->len;
}

__hidden __noinline int hidden_one(int x)
{
	return x;
}

SEC("tc")
int run(struct __sk_buff *skb)
{
	return global_one(skb) + hidden_one(2);
}
`,
		want: `has function global_one
has hidden function hidden_one
has program run in tc`,
	},
	{
		name: "spin lock and timer in a value",
		source: `struct value {
	struct bpf_spin_lock lock;
	struct bpf_timer timer;
	int n;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, int);
	__type(value, struct value);
} m SEC(".maps");

static int on_time(void *map, int *key, struct value *v)
{
	return 0;
}

SEC("tc")
int arm(struct __sk_buff *skb)
{
	int key = 0;
	struct value *v = bpf_map_lookup_elem(&m, &key);

	if (!v)
		return 0;
	bpf_timer_set_callback(&v->timer, on_time);
	bpf_spin_lock(&v->lock);
	v->n++;
	bpf_spin_unlock(&v->lock);
	return 0;
}
`,
		want: `has program arm in tc
has map m in .maps
has static function on_time`,
	},
	{
		name: "printing",
		source: `extern int shown;

SEC("tc")
int say(struct __sk_buff *skb)
{
	bpf_printk("shown %d of %d\n", shown, skb->len);
	return 0;
}
`,
		want: `has program say in tc
needs variable shown`,
	},
	{
		name: "struct_ops with a member that is a program",
		source: `struct ops {
	int (*init)(void);
	void (*release)(void);
	char name[16];
};

SEC("struct_ops/init")
int BPF_PROG(ops_init)
{
	return 0;
}

SEC("struct_ops/release")
void BPF_PROG(ops_release)
{
}

SEC(".struct_ops.link")
struct ops mine = {
	.init = (void *)ops_init,
	.release = (void *)ops_release,
	.name = "mine",
};
`,
		want: `has variable mine in .struct_ops.link
has program ops_init in struct_ops/init
has program ops_release in struct_ops/release`,
	},
	{
		name: "tracing with arguments of pointers and arrays",
		source: `struct file;
struct path;

SEC("lsm/file_open")
int BPF_PROG(on_open, struct file *file, int ret)
{
	return ret;
}

SEC("fexit/vfs_read")
int BPF_PROG(on_read, struct file *file, char *buf, unsigned long count, long long *pos, long ret)
{
	return ret < 0;
}

SEC("tp_btf/sched_switch")
int BPF_PROG(on_switch, _Bool preempt, void *prev, void *next)
{
	return preempt;
}
`,
		want: `has program on_open in lsm/file_open
has program on_read in fexit/vfs_read
has program on_switch in tp_btf/sched_switch`,
	},
	{
		name: "iterator",
		source: `struct seq;
struct context {
	struct seq *seq;
	void *task;
};

SEC("iter/task")
int dump(struct context *ctx)
{
	return ctx->task == 0;
}
`,
		want: `has program dump in iter/task`,
	},
	{
		name: "empty macros of a header",
		source: `#define __bpf_kfunc_start
#define API
#define __user

API int f(char __user *p)
{
	return p != 0;
}

__bpf_kfunc_start extern int outside API;

int g(void)
{
	return outside;
}
`,
		want: `has function f
has function g
needs variable outside`,
	},
	{
		name: "pragmas",
		source: `#pragma once
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct s { int a; };
#pragma clang attribute pop

int f(struct s *s)
{
	int sum = 0;
#pragma unroll
	for (int i = 0; i < 4; i++)
		sum += s->a;
	return sum;
}
`,
		want: `has function f`,
	},
	{
		name: "static assertions in all places",
		source: `_Static_assert(sizeof(int) == 4, "int; x");

struct s {
	int a;
	_Static_assert(1, "in a structure");
} x;

int f(void)
{
	_Static_assert(sizeof(x) == 4, "in a body");
	return 0;
}
`,
		want: `has function f
has variable x`,
	},
	{
		name: "vectors, floats and wide integers",
		source: `typedef int vector __attribute__((vector_size(16)));
__int128 wide;
unsigned __int128 wider;
`,
		want: `has variable wide
has variable wider`,
	},
	{
		name: "operators of several characters",
		source: `extern int a, b;

int f(int x)
{
	x <<= 2;
	x >>= 1;
	x = x ? x : a;
	x = x ?: b;
	return -x;
}
`,
		want: `needs variable a
needs variable b
has function f`,
	},
	{
		name: "prototypes in bodies",
		source: `typedef unsigned int number;
struct s;

int f(struct s *a)
{
	int one(int);
	number two(number a, number b);
	struct s *three(struct s *), *four;
	static int five;
	struct s *five_of(struct s *);

	four = three(a);
	return one(1) + two(1, 2) + (five_of(four) == a);
}
`,
		want: `has function f
needs function five_of
needs function one
needs function three
needs function two`,
	},
	{
		name: "prototype in a body that nothing calls",
		source: `int f(int x)
{
	int never(int);

	return x;
}
`,
		want: `has function f
unused function never`,
	},
	{
		name: "calls that look like prototypes",
		source: `extern int a, b, (*call)(int);
int used(int);

int f(int x)
{
	used (a);
	(void)used(b);
	if (x) used(1); else used(2);
	do used(3); while (x--);
	return call(x);
}
`,
		want: `needs variable a
needs variable b
needs variable call
has function f
needs function used`,
	},
	{
		name: "labels with the names of externs",
		source: `extern int again, done, kept;

int f(int x)
{
again:
	if (x-- > 10)
		goto again;
	if (x == 3)
		goto done;
	return kept;
done: ;
	return 0;
}
`,
		want: `unused variable again
unused variable done
has function f
needs variable kept`,
	},
	{
		name: "ternaries with the names of externs",
		source: `extern int a, b, c;

int f(int x)
{
	int y;

	y = x ? a : b;
	return x > 1 ? y : x < -1 ? c : y;
}
`,
		want: `needs variable a
needs variable b
needs variable c
has function f`,
	},
	{
		name: "for loops with declarations",
		source: `extern int start, end, step;

int f(void)
{
	int sum = 0;

	for (int i = start, n = end; i < n; i += step)
		sum += i;
	return sum;
}
`,
		want: `needs variable end
has function f
needs variable start
needs variable step`,
	},
	{
		name: "per-CPU variables and atomics",
		source: `extern int total;
static unsigned long long hits;

int f(void)
{
	__sync_fetch_and_add(&hits, 1);
	return __sync_val_compare_and_swap(&total, 0, 1);
}

unsigned long long g(void)
{
	return hits;
}
`,
		want: `has function f
has function g
has static variable hits
needs variable total`,
	},
	{
		name: "structure that is passed and returned",
		source: `struct pair { long a; };
struct pair make(long);

long f(long x)
{
	struct pair p = make(x);

	return p.a;
}
`,
		want: `has function f
needs function make`,
	},
	{
		name: "designators that look like uses",
		source: `extern int a, b, used;

struct s { int a, b, c[3]; };
struct s x = { .a = 1, .b = 2, .c = { [0] = 1, [1 ... 2] = 4 } };

int *f(void)
{
	struct s y = { a: 1, .c[1] = 2 };

	x = y;
	return &used;
}
`,
		want: `unused variable a
unused variable b
has function f
needs variable used
has variable x`,
	},
	{
		name: "members through pointers and arrays",
		source: `extern int a;
struct s { int a; struct s *next; } list[2];

int f(struct s *s)
{
	return s->next->a + list[0].a + (*s).a + (&list[1])->a;
}
`,
		want: `unused variable a
has function f
has variable list`,
	},
	{
		name: "pointers to externs in arrays of structures",
		source: `extern int x, y;
int f(void);

struct entry { const char *name; int *at; int (*call)(void); };
struct entry entries[] = {
	{ "x", &x, f },
	{ .name = "y", .at = &y, .call = 0 },
	{ 0 },
};
`,
		want: `has variable entries
needs function f
needs variable x
needs variable y`,
	},
	{
		name: "address of a member",
		source: `struct s { int a, b[4]; };
extern struct s outside;
int *first = &outside.a;
int *third = &outside.b[2];
`,
		want: `has variable first
needs variable outside
has variable third`,
	},
	{
		name: "static that only another static's value names",
		source: `static int target;
static int *const to = &target;
static int **const to_that = (int **)&to;

int f(void)
{
	return 0;
}
`,
		want: `has function f
unused static variable target
unused static variable to
unused static variable to_that`,
	},
	{
		name: "function in its own table",
		source: `int f(int i);
int (*const table[])(int) = { f, f };

int f(int i)
{
	return i ? table[i & 1](i - 1) : 0;
}
`,
		want: `has function f
has variable table`,
	},
	{
		name: "hidden functions and variables of a library",
		source: `__hidden int counter;
__hidden int limit __weak = 3;

__hidden int take(void)
{
	return ++counter < limit;
}

int offer(void)
{
	return take();
}
`,
		want: `has hidden variable counter
has weak hidden variable limit
has function offer
has hidden function take`,
	},
	{
		name: "internal visibility and protected",
		source: `int a __attribute__((visibility("internal")));
int b __attribute__((visibility("protected")));
`,
		want: `has hidden variable a
has variable b`,
	},
	{
		name: "global functions with always_inline",
		source: `__always_inline static int a(void) { return 1; }
static __attribute__((always_inline)) int b(void) { return a(); }
__attribute__((always_inline)) int c(void) { return b(); }
`,
		want: `has static function a
has static function b
has function c`,
	},
	{
		name: "conditionals that nest in skipped text",
		source: `#if 0
#if UNKNOWN(
#elif garbage ' here
#else
#endif
#error no
#include "absent.h"
#define SKIPPED
#elif defined SKIPPED
int wrong;
#else
int right;
#endif
`,
		want: `has variable right`,
	},
	{
		name: "conditions with odd spacing and comments",
		source: `#if/* a */defined/* b */(/* c */FLAG/* d */)/* e */
int a;
#endif
#if ! defined FLAG \
	&& 1
int b;
#endif
#	if(1)
int c;
#	endif
`,
		want: `has variable b
has variable c`,
	},
	{
		name: "condition of characters and unsigned numbers",
		source: `#if 'A' == 65 && 0xFFFFFFFFu == 4294967295 && 1 << 4 == 16 && (7 & 3) == 3 && (4 | 1) == 5 && (6 ^ 3) == 5
int x;
#endif
#if 10 / 3 == 3 && -7 / 2 == -3 && 10 % 4 == 2 && 1 - 1 - 1 == -1 && 2 * 3 + 4 == 10
int y;
#endif
`,
		want: `has variable x
has variable y`,
	},
	{
		name: "variadic macro that counts",
		source: `#define NTH(_1, _2, _3, N, ...) N
#define COUNT(...) NTH(__VA_ARGS__, 3, 2, 1)
#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)
#define MAKE1(a) int a;
#define MAKE2(a, b) int a; int b;
#define MAKE3(a, b, c) int a; int b; int c;
#define MAKE(...) JOIN(MAKE, COUNT(__VA_ARGS__))(__VA_ARGS__)

MAKE(a)
MAKE(b, c)
MAKE(d, e, f)
`,
		want: `has variable a
has variable b
has variable c
has variable d
has variable e
has variable f`,
	},
	{
		name: "deferred expansion",
		source: `#define EMPTY
#define DEFER(x) x EMPTY
#define INNER() int made
#define EXPAND(x) x

EXPAND(DEFER(INNER)());
`,
		want: `has variable made`,
	},
	{
		name: "macros that stringize and paste at once",
		source: `#define KPROBE(fn) SEC("kprobe/" #fn) int probe_##fn(void *ctx) { return __LINE__ > 0; }
#define BOTH(fn) KPROBE(fn) KPROBE(fn##_exit)

BOTH(do)
`,
		want: `has program probe_do in kprobe/do
has program probe_do_exit in kprobe/do_exit`,
	},
}
