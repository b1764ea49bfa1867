int native_limit(void);
