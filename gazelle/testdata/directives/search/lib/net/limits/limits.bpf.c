#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <net/limits/limits.bpf.h>
int limits_get(void) { return 1; }
