int helper(void)
{
	return 0;
}

/* For a type: without any, clang writes no BTF of variables. */
static int unused;
