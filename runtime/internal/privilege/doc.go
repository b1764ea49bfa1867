// Package privilege finds out why the kernel refuses BPF to this process.
package privilege
