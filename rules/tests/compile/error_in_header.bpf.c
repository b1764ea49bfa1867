#include <linux/bpf.h>
#include "error.h"
