/* SPDX-License-Identifier: Apache-2.0 */

/* What both programs have. */
#ifndef FLOW_H
#define FLOW_H

enum direction { IN, OUT };

struct flow {
	unsigned int source;
	enum direction direction;
	struct {
		unsigned short from;
		unsigned short to;
	} ports;
};

typedef unsigned long long bytes_t;

#endif
