/* café */
int latin(int x)
{
	return x;
}
