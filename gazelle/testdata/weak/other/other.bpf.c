static int twice(int x)
{
	return x + x;
}

int other(int x)
{
	return twice(x);
}
