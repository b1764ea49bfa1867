#include "stub/asm/types.h"

__u32 not_reported;
