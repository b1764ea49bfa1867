#include "diamond/base/base.bpf.h"

/* Who includes it needs the other library. */
static inline int left(int x)
{
	return base(x);
}
