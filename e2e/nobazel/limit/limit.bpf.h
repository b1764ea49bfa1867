/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Counts a packet, and returns 1 as long as no more than the limit were counted. */
int limit_allow(void);
