int ignored(int x)
{
	return x;
}
