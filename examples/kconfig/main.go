// Kconfig prints Kconfig options of the running kernel, and what a BPF program
// makes of them.
package main

import (
	"fmt"
	"io"
	"log"
	"os"
	"time"

	"github.com/rules-bpf/rules_bpf/examples/kconfig/settings"
	"github.com/rules-bpf/rules_bpf/runtime/skeleton"
)

func main() {
	if err := run(os.Stdout); err != nil {
		log.Fatal(err)
	}
}

func run(w io.Writer) error {
	skel, err := settings.Open()
	if err != nil {
		return err
	}
	defer skel.Close()
	if err := skel.Load(); err != nil {
		return err
	}
	// The input is a packet, which the program does not look at.
	if _, _, err := skel.Progs.Compute.Test(make([]byte, 64)); err != nil {
		return err
	}

	k := skel.Kconfig
	v := k.LinuxKernelVersion
	fmt.Fprintf(w, "LINUX_KERNEL_VERSION     %d.%d.%d\n", v>>16, v>>8&0xff, v&0xff)
	fmt.Fprintf(w, "CONFIG_BPF_SYSCALL       %v\n", k.ConfigBpfSyscall)
	fmt.Fprintf(w, "CONFIG_HZ                %d\n", k.ConfigHz)
	fmt.Fprintf(w, "CONFIG_DEFAULT_HOSTNAME  %q\n", skeleton.String(k.ConfigDefaultHostname[:]))
	fmt.Fprintf(w, "CONFIG_VETH              %v\n", k.ConfigVeth)
	fmt.Fprintf(w, "CONFIG_NO_SUCH_SETTING   %d\n", k.ConfigNoSuchSetting)
	fmt.Fprintf(w, "a jiffy is               %v\n", time.Duration(skel.Bss.JiffyNs))
	fmt.Fprintf(w, "Linux 6.0 or newer       %v\n", skel.Bss.IsNew)
	fmt.Fprintf(w, "has a name of its own    %v\n", skel.Bss.HasName)
	fmt.Fprintf(w, "has virtual Ethernet     %v\n", skel.Bss.HasVeth)
	return nil
}
