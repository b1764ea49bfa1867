#pragma once

int ratelimit_allow(void);
