#include <linux/types.h>
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

// One of each way in which a header can be found.
#include "beside.h"
#include "rules/tests/skeleton/from_root.h"
#include "in_include.h"
#include "in_dep.h"
#include "generated.h"
#include "rules/tests/skeleton/generated_from_root.h"

__u64 sum = BESIDE + FROM_ROOT + IN_INCLUDE + IN_DEP + GENERATED + GENERATED_FROM_ROOT + OWN_DEFINE + OWN_COPT;

SEC("tp/sched/sched_process_exec")
int handle_exec(void *ctx)
{
	sum++;
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
