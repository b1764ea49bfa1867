int excluded(int x)
{
	return x;
}
