/* SPDX-License-Identifier: Apache-2.0 */

/* How long processes live, from their exec to their end. */
#pragma once

#include <linux/types.h>

/*
 * Called when a process ends that lived for so many nanoseconds. The library's own
 * does nothing: define the function to have processes reported.
 */
int lifetimes_ended(__u32 pid, __u64 nsec);
