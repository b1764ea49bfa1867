#define SEC(name) __attribute__((section(name), used))

typedef unsigned int u32;
typedef unsigned long long u64;
typedef int (*enqueue_fn)(void);

enum strategy { STRATEGY_FAST, STRATEGY_FAIR };

struct window { u64 start; int (*done)(void); };

struct scheduler_ops {
	int (*select)(void);
	int weight;
	enum strategy strategy;
	double scale;
	char name[16];
	u32 shares[3];
	struct window window;
	struct { unsigned short low, high; };
	void *owner;
	enqueue_fn enqueue;
	unsigned char last;
};

struct scheduler_ops___small { int (*select)(void); };

SEC("struct_ops/pick") int pick(void) { return 0; }
SEC("struct_ops.s") int put(void) { return 0; }
SEC("struct_ops") int tune(void) { return 0; }

SEC(".struct_ops.link") struct scheduler_ops fair = {
	.select = pick, .weight = 5, .strategy = STRATEGY_FAIR, .scale = 1.5, .name = "fair", .enqueue = put,
};
SEC("?.struct_ops") struct scheduler_ops___small Tune = { .select = pick };

char LICENSE[] SEC("license") = "GPL";
