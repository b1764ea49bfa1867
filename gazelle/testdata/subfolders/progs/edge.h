struct edge {
	int x;
};
