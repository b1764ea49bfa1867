// SPDX-License-Identifier: Apache-2.0

// Storage of cgroups is in Linux since 6.2.

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "tests/maps/progs/stats/stats.bpf.h"

STORAGE(of_cgroups, CGRP);

struct cgroup;

__u32 pid;

SEC("tp_btf/cgroup_mkdir")
int new_cgroup(__u64 *ctx)
{
	if (pid && (bpf_get_current_pid_tgid() >> 32) == pid)
		count(bpf_cgrp_storage_get(&of_cgroups, (struct cgroup *)ctx[0], 0, BPF_LOCAL_STORAGE_GET_F_CREATE));
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
