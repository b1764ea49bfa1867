#pragma once

struct last_exec {
	int pid;
	unsigned long long time;
};
