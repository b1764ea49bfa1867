int narrow(int x)
{
	return x;
}
