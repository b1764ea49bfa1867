int on_x86(int x)
{
	return x;
}
