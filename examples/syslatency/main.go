// Syslatency draws a histogram of how long system calls take.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/rules-bpf/rules_bpf/examples/syslatency/latency"
)

func main() {
	pid := flag.Uint("pid", 0, "look at this process only; 0 looks at all")
	duration := flag.Duration("for", 5*time.Second, "how long to measure; 0 measures until interrupted")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if *duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, *duration)
		defer cancel()
	}
	if err := run(ctx, os.Stdout, uint32(*pid)); err != nil {
		log.Fatal(err)
	}
}

// run measures until ctx ends, then draws the histogram to w.
func run(ctx context.Context, w io.Writer, pid uint32) error {
	skel, err := latency.Open()
	if err != nil {
		return err
	}
	defer skel.Close()
	skel.Rodata.OnlyPid = pid
	if err := skel.Load(); err != nil {
		return err
	}
	if err := skel.Attach(); err != nil {
		return err
	}
	fmt.Fprintln(w, "measuring system calls")
	<-ctx.Done()
	if err := skel.Detach(); err != nil {
		return err
	}

	perCPU, err := skel.Maps.Latency.Lookup(0)
	if err != nil {
		return err
	}
	draw(w, sum(perCPU))
	return nil
}

// sum adds up the histograms of all CPUs.
func sum(perCPU []latency.Histogram) latency.Histogram {
	var total latency.Histogram
	for i := range perCPU {
		total.Calls += perCPU[i].Calls
		total.TotalNs += perCPU[i].TotalNs
		for slot, n := range perCPU[i].Slots {
			total.Slots[slot] += n
		}
	}
	return total
}

// barWidth is the length of the longest bar, in characters.
const barWidth = 50

// draw prints the slots between the first and the last that counted anything.
func draw(w io.Writer, h latency.Histogram) {
	if h.Calls == 0 {
		fmt.Fprintln(w, "no system call was seen")
		return
	}
	first, last, highest := -1, 0, uint64(0)
	for slot, n := range h.Slots {
		if n == 0 {
			continue
		}
		if first < 0 {
			first = slot
		}
		last, highest = slot, max(highest, n)
	}
	fmt.Fprintf(w, "%22s  %10s\n", "TIME", "CALLS")
	for slot := first; slot <= last; slot++ {
		n := h.Slots[slot]
		bar := strings.Repeat("#", int((n*barWidth+highest-1)/highest))
		fmt.Fprintf(w, "%10v-%-10v  %10d  %s\n", time.Duration(1)<<slot, time.Duration(1)<<(slot+1), n, bar)
	}
	fmt.Fprintf(w, "%d calls, %v on average\n", h.Calls, time.Duration(h.TotalNs/h.Calls))
}
