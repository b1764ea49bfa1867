package bpfc

// prelude stands for what libbpf's headers and the kernel's define and what says
// which symbols a file has. Its text is ours: it keeps of each macro only what
// matters here. A file that defines one of them itself overrides it.
//
// The macros of bpf_tracing.h that define a function declare it with the context
// as its parameter, and hand the arguments to an inlined function with the body
// that follows.
const prelude = `
#define SEC(name) __attribute__((section(name), used))
#define __weak __attribute__((weak))
#define __hidden __attribute__((visibility("hidden")))
#define __kconfig __attribute__((section(".kconfig")))
#define __ksym __attribute__((section(".ksyms")))
#define __always_inline inline __attribute__((always_inline))
#define __noinline __attribute__((noinline))
#define __uint(name, value) int (*name)[value]
#define __ulong(name, value) int (*name)[value]
#define __type(name, type) typeof(type) *name
#define __array(name, type) typeof(type) *name[]

#define BPF_PROG(name, ...) name(unsigned long long *ctx)
#define BPF_PROG2(name, ...) name(unsigned long long *ctx)
#define BPF_KPROBE(name, ...) name(void *ctx)
#define BPF_KRETPROBE(name, ...) name(void *ctx)
#define BPF_KSYSCALL(name, ...) name(void *ctx); \
	extern _Bool LINUX_HAS_SYSCALL_WRAPPER __kconfig; \
	static inline int ____##name(void *ctx); \
	int name(void *ctx) { return LINUX_HAS_SYSCALL_WRAPPER + ____##name(ctx); } \
	static inline int ____##name(void *ctx)
#define BPF_KPROBE_SYSCALL BPF_KSYSCALL
#define BPF_UPROBE(name, ...) name(void *ctx)
#define BPF_URETPROBE(name, ...) name(void *ctx)
#define BPF_USDT(name, ...) name(void *ctx)

#define KERNEL_VERSION(a, b, c) (((a) << 16) + ((b) << 8) + (c))
#define ___bpf_concat(a, b) a ## b
#define ___bpf_apply(function, n) ___bpf_concat(function, n)
#define ___bpf_nth(_, _1, _2, _3, _4, _5, _6, _7, _8, _9, _a, _b, _c, N, ...) N
#define ___bpf_narg(...) ___bpf_nth(_, ##__VA_ARGS__, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0)

#define __BPF__ 1
#define __bpf__ 1
#define __clang__ 1
#define __clang_major__ 14
#define __clang_minor__ 0
#define __GNUC__ 4
#define __GNUC_MINOR__ 2
#define __STDC__ 1
#define __STDC_VERSION__ 201710L
#define __LP64__ 1
#define _LP64 1
#define __CHAR_BIT__ 8
#define __SIZEOF_INT__ 4
#define __SIZEOF_LONG__ 8
#define __SIZEOF_POINTER__ 8
#define __SIZEOF_INT128__ 16
#define __ORDER_LITTLE_ENDIAN__ 1234
#define __ORDER_BIG_ENDIAN__ 4321
#define __LITTLE_ENDIAN 1234
#define __BIG_ENDIAN 4321
#define __BYTE_ORDER__ 1234
#define __BYTE_ORDER 1234
#define __LITTLE_ENDIAN_BITFIELD 1
`

// Headers of libbpf that define symbols, by the path that they are included by.
// They are weak and hidden, for each file of an object has them.
var libbpfHeaders = map[string]string{
	"bpf/usdt.bpf.h": `
#define __usdt_function __attribute__((weak, visibility("hidden")))
extern _Bool LINUX_HAS_BPF_COOKIE __kconfig;
struct { int x; } __bpf_usdt_specs SEC(".maps") __weak;
struct { int x; } __bpf_usdt_ip_to_spec_id SEC(".maps") __weak;
__usdt_function int bpf_usdt_arg_cnt(void *ctx) { return 0; }
__usdt_function int bpf_usdt_arg(void *ctx, unsigned long n, long *res) { return LINUX_HAS_BPF_COOKIE; }
__usdt_function long bpf_usdt_cookie(void *ctx) { return 0; }
#undef __usdt_function
`,
}
