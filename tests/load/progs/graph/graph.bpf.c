// SPDX-License-Identifier: Apache-2.0

// Objects that programs allocate and own: on a list and in a tree whose heads are global
// variables, or in a map, and kept by a map through a pointer. The kernel matches the
// types of all of them, and those of maps and programs, by their IDs in one BTF.

#include <stdbool.h>
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

#define OWNS(type, member) __attribute__((btf_decl_tag("contains:" #type ":" #member)))
#define OF(pointer, type, member) ((struct type *)((char *)(pointer) - __builtin_offsetof(struct type, member)))
#define NEW(type) bpf_obj_new_impl(bpf_core_type_id_local(struct type), 0)

extern void *bpf_obj_new_impl(__u64 type, void *meta) __ksym;
extern void bpf_obj_drop_impl(void *object, void *meta) __ksym;
extern void *bpf_refcount_acquire_impl(void *object, void *meta) __ksym;
extern int bpf_list_push_back_impl(struct bpf_list_head *head, struct bpf_list_node *node, void *meta, __u64 offset) __ksym;
extern struct bpf_list_node *bpf_list_pop_front(struct bpf_list_head *head) __ksym;
extern int bpf_rbtree_add_impl(struct bpf_rb_root *root, struct bpf_rb_node *node,
			       bool (*less)(struct bpf_rb_node *, const struct bpf_rb_node *), void *meta,
			       __u64 offset) __ksym;
extern struct bpf_rb_node *bpf_rbtree_first(struct bpf_rb_root *root) __ksym;
extern struct bpf_rb_node *bpf_rbtree_remove(struct bpf_rb_root *root, struct bpf_rb_node *node) __ksym;

/* On the list and in the tree at once. */
struct job {
	__u32 weight;
	struct bpf_list_node by_age;
	struct bpf_rb_node by_weight;
	struct bpf_refcount references;
};

struct note {
	__u64 text;
	struct bpf_list_node next;
};

#define SHARED SEC(".data.jobs") __hidden __attribute__((aligned(8)))
SHARED struct bpf_spin_lock lock;
SHARED struct bpf_list_head queue OWNS(job, by_age);
SHARED struct bpf_rb_root tree OWNS(job, by_weight);

/* The same in the value of a map. */
struct shelf {
	struct bpf_spin_lock lock;
	struct bpf_list_head notes OWNS(note, next);
	__u64 count;
};
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, __u32);
	__type(value, struct shelf);
	__uint(max_entries, 4);
} shelves SEC(".maps");

/* One object in each element. */
struct desk {
	int number;
	struct note __kptr *note;
};
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, struct desk);
	__uint(max_entries, 2);
} desks SEC(".maps");

__u32 weight, oldest, lightest;
__u64 text;

static bool lighter(struct bpf_rb_node *a, const struct bpf_rb_node *b)
{
	return OF(a, job, by_weight)->weight < OF(b, job, by_weight)->weight;
}

/* Makes a job of a weight. */
SEC("tc")
int push(struct __sk_buff *ctx)
{
	struct job *job = NEW(job), *again;

	if (!job)
		return 1;
	job->weight = weight;
	again = bpf_refcount_acquire_impl(job, 0);
	bpf_spin_lock(&lock);
	bpf_list_push_back_impl(&queue, &job->by_age, 0, 0);
	bpf_rbtree_add_impl(&tree, &again->by_weight, lighter, 0, 0);
	bpf_spin_unlock(&lock);
	return 0;
}

/* Takes the oldest job from the list, and the lightest from the tree. */
SEC("tc")
int pop(struct __sk_buff *ctx)
{
	struct bpf_list_node *listed;
	struct bpf_rb_node *sorted;
	struct job *job;

	bpf_spin_lock(&lock);
	listed = bpf_list_pop_front(&queue);
	bpf_spin_unlock(&lock);
	if (!listed)
		return 1;
	job = OF(listed, job, by_age);
	oldest = job->weight;
	bpf_obj_drop_impl(job, 0);

	bpf_spin_lock(&lock);
	sorted = bpf_rbtree_first(&tree);
	if (sorted)
		sorted = bpf_rbtree_remove(&tree, sorted);
	bpf_spin_unlock(&lock);
	if (!sorted)
		return 2;
	job = OF(sorted, job, by_weight);
	lightest = job->weight;
	bpf_obj_drop_impl(job, 0);
	return 0;
}

/* Leaves a note on the desk. */
SEC("tc")
int leave(struct __sk_buff *ctx)
{
	__u32 key = 1;
	struct desk *desk = bpf_map_lookup_elem(&desks, &key);
	struct note *note, *before;

	if (!desk)
		return 1;
	note = NEW(note);
	if (!note)
		return 2;
	note->text = text;
	before = bpf_kptr_xchg(&desk->note, note);
	if (before) {
		bpf_obj_drop_impl(before, 0);
		return 3;
	}
	return 0;
}

/* Puts the note of the desk on a shelf, and reads the first one there. */
SEC("tc")
int file(struct __sk_buff *ctx)
{
	__u32 desk_key = 1, shelf_key = 9;
	struct desk *desk = bpf_map_lookup_elem(&desks, &desk_key);
	struct shelf *shelf = bpf_map_lookup_elem(&shelves, &shelf_key);
	struct bpf_list_node *first;
	struct note *note;

	if (!desk || !shelf)
		return 1;
	note = bpf_kptr_xchg(&desk->note, 0);
	if (!note)
		return 2;
	bpf_spin_lock(&shelf->lock);
	bpf_list_push_back_impl(&shelf->notes, &note->next, 0, 0);
	shelf->count++;
	first = bpf_list_pop_front(&shelf->notes);
	bpf_spin_unlock(&shelf->lock);
	if (!first)
		return 3;
	note = OF(first, note, next);
	text = note->text + 1;
	bpf_obj_drop_impl(note, 0);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
