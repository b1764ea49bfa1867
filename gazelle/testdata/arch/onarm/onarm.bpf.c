int on_arm(int x)
{
	return x;
}
