// SPDX-License-Identifier: Apache-2.0

int __attribute__((noinline)) twice(int x)
{
	return x * 2;
}
