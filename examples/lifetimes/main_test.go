package main

import (
	"context"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/rules-bpf/rules_bpf/examples/lifetimes/lifetimes"
	"github.com/rules-bpf/rules_bpf/examples/lifetimes/report"
	"github.com/rules-bpf/rules_bpf/runtime/bpftest"
)

// sleepEnv makes this binary live for 50 ms, in a process of its own.
const sleepEnv = "LIFETIMES_SLEEP"

func TestMain(m *testing.M) {
	if os.Getenv(sleepEnv) != "" {
		time.Sleep(50 * time.Millisecond)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// watch runs the example while processes live for 50 ms.
func watch(t *testing.T, atLeast time.Duration, atMost uint64) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	sleeper := bpftest.Executable(t, "sleeper")
	var out bpftest.Buffer
	go func() {
		defer cancel()
		// Printed when the programs are attached.
		out.WaitFor(ctx, regexp.MustCompile(`LIVED\n`))
		for range 5 {
			cmd := exec.Command(sleeper)
			cmd.Env = []string{sleepEnv + "=1"}
			if err := cmd.Run(); err != nil {
				t.Error(err)
			}
		}
		// For it to be printed.
		time.Sleep(200 * time.Millisecond)
	}()
	if err := run(ctx, &out, atLeast, atMost); err != nil {
		t.Fatal(err)
	}
	var lived []string
	for line := range strings.Lines(out.String()) {
		if f := strings.Fields(line); len(f) == 3 && f[1] == "sleeper" {
			lived = append(lived, f[2])
		}
	}
	return lived
}

func TestRun(t *testing.T) {
	bpftest.NeedsBPF(t)
	lived := watch(t, 0, 1000)
	if len(lived) == 0 {
		t.Fatal("no process was reported")
	}
	for _, l := range lived {
		if d, err := time.ParseDuration(l); err != nil || d < 50*time.Millisecond {
			t.Errorf("a process that slept 50 ms lived %s: %v", l, err)
		}
	}
	if lived := watch(t, time.Hour, 1000); len(lived) > 0 {
		t.Errorf("processes lived an hour: %v", lived)
	}
	if lived := watch(t, 0, 1); len(lived) > 1 {
		t.Errorf("reported %v, want one at most", lived)
	}
}

// The library's links are the slots of the skeleton, and its pointers lead into
// the skeleton's sections.
func TestShared(t *testing.T) {
	bpftest.NeedsBPF(t)
	skel, err := report.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer skel.Close()
	lib := skel.Subskeletons.Lifetimes
	if lib.DataConfig.LifetimesMinNsec != &skel.DataConfig.LifetimesMinNsec {
		t.Error("lifetimes_min_nsec is at two addresses")
	}
	if err := skel.Load(); err != nil {
		t.Fatal(err)
	}
	if err := skel.Attach(); err != nil {
		t.Fatal(err)
	}
	if *lib.Links.LifetimesExec == nil || *lib.Links.LifetimesExit == nil {
		t.Error("Attach of the skeleton left the library's programs alone")
	}
	if *lib.Kconfig.ConfigHz == 0 || *lib.Kconfig.ConfigHz != skel.Kconfig.ConfigHz {
		t.Errorf("CONFIG_HZ is %d for the library, %d for the object", *lib.Kconfig.ConfigHz, skel.Kconfig.ConfigHz)
	}
	// Opened once more, after load, it is the same.
	again, err := lifetimes.Open(skel)
	if err != nil {
		t.Fatal(err)
	}
	if again.DataConfig.LifetimesMinNsec != lib.DataConfig.LifetimesMinNsec {
		t.Error("opened after load, the variable is at another address")
	}
	if err := skel.Detach(); err != nil {
		t.Fatal(err)
	}
	if *lib.Links.LifetimesExec != nil {
		t.Error("Detach left a link of the library")
	}
}
