// Package kernelfs opens files of the kernel's own file systems, whether or not
// they are mounted.
package kernelfs
