#include "undeclared.h"
