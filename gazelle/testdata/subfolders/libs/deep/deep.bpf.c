int deep(int x)
{
	return x;
}
