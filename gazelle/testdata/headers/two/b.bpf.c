#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "shared.h"
#include "detail/b_detail.h"
int b(void) { return SHARED + DETAIL; }
