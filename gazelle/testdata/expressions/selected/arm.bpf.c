int per_cpu(int x)
{
	return x + 1;
}
