int off(int x)
{
	return x;
}
