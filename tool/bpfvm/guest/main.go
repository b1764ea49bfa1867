//go:build linux

// Guest is the first process of a kernel that bpfvm has started: see package
// vmguest.
package main

import "github.com/rules-bpf/rules_bpf/tool/internal/vmguest"

func main() { vmguest.Main() }
