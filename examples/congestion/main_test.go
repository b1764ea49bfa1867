package main

import (
	"bytes"
	"context"
	"io"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/rules-bpf/rules_bpf/runtime/bpftest"
)

// use runs the congestion control, sends data with it and returns what is printed.
func use(t *testing.T, s settings) string {
	t.Helper()
	bpftest.NeedsBPF(t)
	bpftest.NeedsKernel(t, 6, 4, "links of struct_ops maps")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var out bytes.Buffer
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, &out, s, 20*time.Millisecond) }()
	for !bpftest.HasCongestionControl(t, "available", s.name) {
		select {
		case err := <-ended:
			t.Fatalf("it ended before it was registered: %v", err)
		case <-time.After(10 * time.Millisecond):
		}
	}
	if got := bpftest.HasCongestionControl(t, "allowed", s.name); got != s.everybody {
		t.Errorf("it is for everybody: %t, want %t", got, s.everybody)
	}
	bpftest.TransferTCP(t, s.name)
	time.Sleep(100 * time.Millisecond) // for it to be printed
	cancel()
	err := <-ended
	if err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestGrow(t *testing.T) {
	out := use(t, settings{name: "example_grows", increase: 1, keepPercent: 50, everybody: true})
	if !regexp.MustCompile(`(?m)^1 connections, [1-9]\d* acks, \d+ losses, largest window [1-9]`).MatchString(out) {
		t.Errorf("printed\n%s", out)
	}
}

func TestFixedWindow(t *testing.T) {
	out := use(t, settings{name: "example_fixed", window: 23, increase: 1, keepPercent: 50})
	if !regexp.MustCompile(`(?m)^1 connections, [1-9]\d* acks, \d+ losses, largest window 23$`).MatchString(out) {
		t.Errorf("printed\n%s", out)
	}
}

func TestNameTooLong(t *testing.T) {
	err := run(t.Context(), io.Discard, settings{name: "a_name_with_more_than_15_bytes"}, time.Second)
	if err == nil || !strings.Contains(err.Error(), "has space for 15") {
		t.Errorf("got %v", err)
	}
}
