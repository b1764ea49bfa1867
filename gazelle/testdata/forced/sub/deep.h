// In another package.
