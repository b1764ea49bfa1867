#define SEC(name) __attribute__((section(name), used))
#define __uint(name, val) int(*name)[val]
#define __type(name, val) typeof(val) *name
#define __array(name, val) typeof(val) *name[]

typedef unsigned int u32;
typedef unsigned long long u64;

struct key { u32 cpu; u32 pid; };
struct stats { u64 packets; u64 bytes; };
union either { u32 number; char text[4]; };
struct event { u64 when; char comm[16]; };

struct { __uint(type, 1); __uint(max_entries, 16); __type(key, struct key); __type(value, struct stats); } by_key SEC(".maps");
struct { __uint(type, 2); __uint(max_entries, 16); __type(key, u32); __type(value, struct { u64 sum; u64 count; }); } anonymous SEC(".maps");
struct { __uint(type, 6); __uint(max_entries, 1); __type(key, u32); __type(value, u64); } per_cpu SEC(".maps");
struct { __uint(type, 22); __uint(max_entries, 16); __type(value, struct stats); } queue SEC(".maps");
struct { __uint(type, 27); __uint(max_entries, 4096); } events SEC(".maps");
struct { __uint(type, 4); __uint(key_size, 4); __uint(value_size, 4); } perf SEC(".maps");
struct { __uint(type, 3); __uint(max_entries, 2); __uint(key_size, 4); __uint(value_size, 4); } tail_calls SEC(".maps");
struct { __uint(type, 1); __uint(max_entries, 2); __uint(key_size, 4); __uint(value_size, 8); } sizes SEC(".maps");
struct { __uint(type, 7); __uint(max_entries, 2); __uint(key_size, 4); __uint(value_size, 80); } stacks SEC(".maps");
struct inner { __uint(type, 2); __uint(max_entries, 1); __type(key, u32); __type(value, struct stats); };
struct { __uint(type, 13); __uint(max_entries, 4); __type(key, struct key); __array(values, struct inner); } of_maps SEC(".maps");
struct { __uint(type, 12); __uint(max_entries, 4); __type(key, u32); __type(value, u32); } of_any SEC(".maps");
struct { __uint(type, 29); __uint(map_flags, 1); __type(key, int); __type(value, struct stats); } of_tasks SEC(".maps");
struct { __uint(type, 30); __uint(max_entries, 64); __type(value, struct key); } bloom SEC(".maps");
struct { __uint(type, 31); __uint(max_entries, 4096); } from_user SEC(".maps");
struct { __uint(type, 6); __uint(max_entries, 1); __uint(key_size, 4); __type(value, struct event); } scratch SEC(".maps");
struct { __uint(type, 14); __uint(max_entries, 16); __uint(key_size, 4); __uint(value_size, 4); } ports SEC(".maps");
struct { __uint(type, 25); __uint(max_entries, 16); __type(key, u32); __type(value, u64); } hashed_ports SEC(".maps");
struct { __uint(type, 16); __uint(max_entries, 16); __uint(key_size, 4); __uint(value_size, 8); } cpus SEC(".maps");
struct { __uint(type, 17); __uint(max_entries, 16); __uint(key_size, 4); __uint(value_size, 4); } xsks SEC(".maps");
struct { __uint(type, 15); __uint(max_entries, 16); __uint(key_size, 4); __uint(value_size, 8); } socks SEC(".maps");
struct { __uint(type, 18); __uint(max_entries, 16); __type(key, struct key); __uint(value_size, 8); } hashed_socks SEC(".maps");
struct { __uint(type, 20); __uint(max_entries, 16); __uint(key_size, 4); __uint(value_size, 8); } listeners SEC(".maps");
struct { __uint(type, 8); __uint(max_entries, 16); __uint(key_size, 4); __uint(value_size, 4); } cgroups SEC(".maps");
struct inner_scratch { __uint(type, 2); __uint(max_entries, 1); __uint(key_size, 4); __type(value, struct event); };
struct { __uint(type, 12); __uint(max_entries, 4); __uint(key_size, 4); __array(values, struct inner_scratch); } of_scratch SEC(".maps");
struct { __uint(type, 99); __uint(max_entries, 4); __type(key, u32); __type(value, u32); } future SEC(".maps");

__attribute__((visibility("hidden"))) const struct event *unused;

SEC("xdp") int prog(void *ctx) { return 0; }
