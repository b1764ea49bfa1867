static int twice(int x)
{
	return 2 * x;
}

int pick(int x)
{
	return twice(x);
}

int strict(int x)
{
	return twice(x);
}
