int limits_get(void);
