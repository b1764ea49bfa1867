// One source for three kernels: it is compiled with KERNEL=504, KERNEL=510 and KERNEL=601.
#define SEC(name) __attribute__((section(name), used))
#define __kconfig __attribute__((section(".kconfig")))

typedef unsigned int u32;
typedef unsigned long long u64;

enum verdict {
	VERDICT_PASS,
#if KERNEL >= 510
	VERDICT_DROP,
#endif
};

struct key { u32 pid; u32 cpu; };

struct event {
	u64 when;
	struct key key;
#if KERNEL >= 601
	u64 cgroup;
#endif
};

struct sample { struct event event; enum verdict verdict; };

/* The same in all. */
struct {
	int (*type)[1];
	int (*max_entries)[16];
	struct key *key;
	u64 *value;
} counts SEC(".maps");

/* A perf buffer first, a ring buffer later. */
struct {
#if KERNEL >= 510
	int (*type)[27];
	int (*max_entries)[4096];
#else
	int (*type)[4];
	int (*key_size)[4];
	int (*value_size)[4];
#endif
} events SEC(".maps");

/* Values of another layout. */
struct {
	int (*type)[2];
	int (*max_entries)[1];
	u32 *key;
	struct sample *value;
} latest SEC(".maps");

#if KERNEL == 510
struct {
	int (*type)[1];
	int (*max_entries)[16];
	u32 *key;
	u32 *value;
} only510 SEC(".maps");
#endif

extern unsigned int LINUX_KERNEL_VERSION __kconfig;

volatile const u32 limit = 5;
u64 counter;
#if KERNEL >= 510
struct event last;
struct { u32 low; } range SEC(".data.ranges");
#endif

SEC("xdp") int pass(void *ctx) { counter += limit + LINUX_KERNEL_VERSION; return 2; }

#if KERNEL >= 510
SEC("fentry/do_exit") int on_exit(void *ctx)
#else
SEC("kprobe/do_exit") int on_exit(void *ctx)
#endif
{ counter++; return (long)&counts & (long)&events & (long)&latest; }

#if KERNEL >= 601
SEC("kprobe/do_init") int on_init(void *ctx) { counter++; return last.cgroup; }
#elif KERNEL >= 510
SEC("kprobe/do_init_old") int on_init(void *ctx) { counter++; return last.when; }
#endif

char LICENSE[] SEC("license") = "GPL";
