#include <linux/bpf.h>
#include "no/such/header.h"
