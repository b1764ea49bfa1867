#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

int answer = 42;

char LICENSE[] SEC("license") = "GPL";
