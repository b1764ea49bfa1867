#pragma once
#include <linux/bpf.h>
#include "bpf_helpers.h"
#include "more.h"
