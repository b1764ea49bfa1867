int was_an_object(int x)
{
	return x;
}
