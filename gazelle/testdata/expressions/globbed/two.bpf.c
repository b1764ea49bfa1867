int two(int x)
{
	return x;
}
