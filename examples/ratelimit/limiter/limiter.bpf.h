/* SPDX-License-Identifier: Apache-2.0 */

/* A rate limiter for BPF programs: packets of each source, per second. */
#pragma once

#include <linux/types.h>

/*
 * Takes what a packet of that many bytes costs from the source's tokens. Returns 1
 * if there were enough, 0 if the packet is to be dropped.
 */
int limiter_allow(__u32 source, __u32 bytes);

/*
 * How many tokens a packet costs: one, unless the program that uses the library
 * defines the function.
 */
int limiter_cost(__u32 bytes);
