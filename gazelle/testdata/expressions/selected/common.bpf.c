int common(int x)
{
	return x;
}
