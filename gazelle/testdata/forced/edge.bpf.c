#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#ifdef CONFIG
#include "of_config.h"
#endif

char LICENSE[] SEC("license") = "GPL";

SEC("tc")
int edge(void *ctx) { return 0; }
