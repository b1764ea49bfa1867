#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "b.bpf.h"
#include "cycle/a/a.bpf.h"
int b(void) { return 0; }
int c(void) { return a(); }
