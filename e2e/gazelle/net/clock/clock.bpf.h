#pragma once

__u64 clock_now(void);
