#include <linux/bpf.h>

int one = 1;
