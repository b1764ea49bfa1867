#pragma once

__u64 tokens_take(__u32 key);
