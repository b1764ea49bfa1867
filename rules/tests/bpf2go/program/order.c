// SPDX-License-Identifier: Apache-2.0

// The object says which cpu it was built for.

char LICENSE[] __attribute__((section("license"))) = "GPL";

#if defined(__TARGET_ARCH_x86)
char cpu[] = "cpu is x86.";
#elif defined(__TARGET_ARCH_arm64)
char cpu[] = "cpu is arm64.";
#elif defined(__TARGET_ARCH_s390)
char cpu[] = "cpu is s390.";
#endif
