// What C does to layouts, and what has no type of its own in Go.
#define SEC(name) __attribute__((section(name), used))

typedef unsigned int id_t;

struct node { struct node *next; int (*visit)(struct node *); id_t id; };
union value { char byte; long long number; struct { short low, high; } pair; };
struct endpoint {
	char version;
	union {
		unsigned int v4;
		struct { unsigned long long prefix, host; };
	};
	struct { unsigned short port; };
};
enum level { LEVEL_LOW = -2, LEVEL_HIGH = 1 };
struct bits { int before; unsigned int one : 1; int number : 9; enum level level : 3; _Bool on : 1; int after; };
struct wire { char kind; unsigned int length; } __attribute__((packed));
struct list { int len; unsigned int items[]; };
struct bpf_spin_lock { unsigned int val; };
struct guarded { struct bpf_spin_lock lock; struct {} nothing; id_t id; };

id_t id = 1;
void *pointer = (void *)1;
struct node node = { (void *)1 };
union value value = { 1 };
struct endpoint endpoint = { 1 };
struct bits bits = { 1 };
struct wire wires[2] = { { 1 } };
struct list list = { 1 };
struct guarded guarded = { .id = 1 };
__int128 wide = 1;

SEC("xdp")
int prog(void *ctx) { return id; }
