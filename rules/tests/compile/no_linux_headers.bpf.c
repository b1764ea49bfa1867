#include "stub/linux/bpf.h"

__u32 not_reported;
