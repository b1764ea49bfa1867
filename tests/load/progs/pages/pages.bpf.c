// SPDX-License-Identifier: Apache-2.0

// Pages that a program allocates in an arena, with pointers that user space follows.

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#define __arena __attribute__((address_space(1)))

struct {
	__uint(type, BPF_MAP_TYPE_ARENA);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 16);
} memory SEC(".maps");

extern void __arena *bpf_arena_alloc_pages(void *arena, void __arena *at, __u32 pages, int node, __u64 flags) __ksym;
extern void bpf_arena_free_pages(void *arena, void __arena *at, __u32 pages) __ksym;

struct node {
	struct node __arena *next;
	__u64 value;
};

struct node __arena *head;
__u64 __arena pushed = 40;
/* A pointer to the arena in a section that is not. */
struct node __arena *last;

SEC("syscall")
int push(void *ctx)
{
	struct node __arena *node = bpf_arena_alloc_pages(&memory, 0, 1, -1, 0);

	if (!node)
		return 1;
	node->value = ++pushed;
	node->next = head;
	head = node;
	last = node;
	return 0;
}

SEC("syscall")
int pop(void *ctx)
{
	struct node __arena *node = head;

	if (!node)
		return 1;
	head = node->next;
	bpf_arena_free_pages(&memory, node, 1);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
