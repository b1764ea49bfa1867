#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
int first(void);
int second(void) { return 0; }
int third(void) { return first(); }
