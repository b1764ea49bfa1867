// SPDX-License-Identifier: Apache-2.0

// What the loader does not take as clang writes it.

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

__u64 plain;
__u64 runs SEC(".bss.counters");
__u32 last SEC(".bss.a_section_whose_name_is_longer_than_the_kernel_has_room_for");
__u32 start SEC(".data.a_section_whose_name_is_longer_than_the_kernel_has_room_for") = 7;
const volatile __u32 step SEC(".rodata.a_section_whose_name_is_longer_than_the_kernel_has_room_for") = 2;
__u32 of_weak __weak SEC(".bss.counters");
__attribute__((visibility("hidden"))) __u64 hidden SEC(".bss.hidden");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} weak_map __weak SEC(".maps");

extern const void bpf_prog_put __ksym __weak;
extern const void there_is_no_such_symbol __ksym __weak;

SEC("xdp")
int count(void *ctx)
{
	__u32 key = 0;
	__u64 *n = bpf_map_lookup_elem(&weak_map, &key);

	if (n)
		__atomic_fetch_add(n, 1, __ATOMIC_RELAXED);
	plain++;
	hidden++;
	runs++;
	of_weak += step;
	last = start + runs;
	return hidden;
}

SEC("xdp")
int symbols(void *ctx)
{
	return (&bpf_prog_put ? 1 : 0) + (&there_is_no_such_symbol ? 2 : 0);
}

char _license[] SEC("license") = "GPL";
