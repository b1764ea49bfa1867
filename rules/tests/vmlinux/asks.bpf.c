// SPDX-License-Identifier: Apache-2.0

// Asks a kernel for one member of a type.

#include "vmlinux.h"

__attribute__((section("raw_tp/sys_enter"), used)) int asks(struct aligned *aligned)
{
	return aligned->i;
}

char LICENSE[] __attribute__((section("license"))) = "GPL";
