#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "a.bpf.h"
#include "cycle/b/b.bpf.h"
int a(void) { return b(); }
