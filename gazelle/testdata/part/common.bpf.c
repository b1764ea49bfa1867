#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
static int common(void) { return XDP_PASS; }
