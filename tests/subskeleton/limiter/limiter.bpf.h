// SPDX-License-Identifier: Apache-2.0

/* What a program that uses the library sees of it. */
#ifndef LIMITER_BPF_H
#define LIMITER_BPF_H

struct limit {
	unsigned int per_second;
	unsigned long long burst;
};

/* Counts a call, and reports whether it is within the limit. */
int limiter_allow(unsigned int key);

#endif
