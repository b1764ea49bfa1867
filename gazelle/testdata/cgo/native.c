#include "native.h"
#include "shared.h"

int native_limit(void) { return SHARED_LIMIT; }
