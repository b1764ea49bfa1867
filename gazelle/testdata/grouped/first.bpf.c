#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
int second(void);
int first(void) { return second(); }
