/* SPDX-License-Identifier: Apache-2.0 */

#ifndef SIZES_H
#define SIZES_H

/* The large variant says another number. */
#ifndef ENTRIES
#define ENTRIES 16
#endif

/* A count of packets, and of their bytes. */
struct traffic {
	__u64 packets;
	__u64 bytes;
};

#endif
