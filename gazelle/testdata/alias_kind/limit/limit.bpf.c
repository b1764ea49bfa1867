int limit(int x)
{
	return x;
}
