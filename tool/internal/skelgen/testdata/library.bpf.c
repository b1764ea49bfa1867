#define SEC(name) __attribute__((section(name), used))
#define __hidden __attribute__((visibility("hidden")))
#define __weak __attribute__((weak))
#define __uint(name, val) int(*name)[val]
#define __type(name, val) typeof(val) *name

struct limit {
	unsigned int per_second;
	unsigned long long burst;
};

struct usage {
	unsigned long long allowed;
	unsigned long long refused;
};

const volatile struct limit default_limit = {2};
struct limit limit = {3};
__weak int mode = 1;
static volatile int private;
int internal __hidden = 1;
int calls;
unsigned long long history[8];
struct {
	int a;
	int b;
} pair;
int (*hook)(int);
unsigned int Hook;
unsigned int custom SEC(".data.custom") = 5;
unsigned int custom_limit SEC(".data.custom") = 6;
unsigned long long shared SEC(".addr_space.1") = 7;
unsigned long long not_shared SEC(".addr_space.1") __hidden = 1;
unsigned int not_shown SEC(".data.hidden") __hidden = 1;

struct {
	__uint(type, 1);
	__uint(max_entries, 16);
	__type(key, unsigned int);
	__type(value, struct usage);
} usage SEC(".maps");

struct {
	__uint(type, 1);
	__uint(max_entries, 16);
	__type(key, unsigned int);
	__type(value, unsigned int);
} secret SEC(".maps") __hidden;

extern struct {
	__uint(type, 2);
	__uint(max_entries, 4);
	__type(key, unsigned int);
	__type(value, unsigned long long);
} app_counts SEC(".maps");

extern struct {
	__uint(type, 27);
	__uint(max_entries, 4096);
} app_ring SEC(".maps") __weak;

extern int app_id;
extern const int app_extra __weak;
extern int app_list[];
extern int LINUX_KERNEL_VERSION SEC(".kconfig");
extern int CONFIG_HZ SEC(".kconfig") __weak;
extern int bpf_prog_active SEC(".ksyms");

static void *(*lookup)(void *map, const void *key) = (void *)1;

struct policy_ops {
	int (*pick)(void);
	unsigned int weight;
};

SEC("struct_ops/pick")
int pick(void *ctx)
{
	return 0;
}

SEC(".struct_ops.link") struct policy_ops policy = {.pick = (void *)pick, .weight = 3};
SEC("?.struct_ops") struct policy_ops Usage = {};
SEC("?.struct_ops") struct policy_ops Watch = {};
SEC("?.struct_ops") struct policy_ops own __hidden = {};

SEC("raw_tp/sys_enter")
int watch(void *ctx)
{
	unsigned int key = 0;

	calls = app_id + app_list[1] + LINUX_KERNEL_VERSION + CONFIG_HZ + private++ + bpf_prog_active;
	if (&app_extra)
		calls += app_extra;
	if (&app_ring)
		lookup(&app_ring, &key);
	lookup(&usage, &key);
	return lookup(&app_counts, &key) != 0;
}
