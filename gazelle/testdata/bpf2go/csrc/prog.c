#include "../headers/common.h"
#include "prog.h"

SEC("xdp")
int prog(void *ctx)
{
	return RESULT;
}

char LICENSE[] SEC("license") = "GPL";
