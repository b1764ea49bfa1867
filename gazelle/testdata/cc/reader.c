#include "event.h"

int main(void)
{
	struct event e = {0};

	return e.x;
}
