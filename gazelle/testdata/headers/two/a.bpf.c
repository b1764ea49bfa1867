#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "shared.h"
#include "a.bpf.h"
int a(void) { return SHARED; }
