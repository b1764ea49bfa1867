#pragma once

int ratelimit_allow(__u32 key);
