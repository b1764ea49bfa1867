// SPDX-License-Identifier: Apache-2.0

/* What a program that uses the library sees of it. */
#ifndef POOL_BPF_H
#define POOL_BPF_H

#define __arena __attribute__((address_space(1)))

struct pool_entry {
	unsigned int id;
	unsigned long long value;
};

/* The application's own variable. */
extern unsigned long long __arena app_slot;

/* Counts a call. */
int pool_take(void);

#endif
