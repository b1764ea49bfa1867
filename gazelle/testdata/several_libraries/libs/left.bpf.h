int left(void);
