package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/rules-bpf/rules_bpf/internal/kerneltest"
)

// available says whether the kernel lists a congestion control of this name.
func available(t *testing.T, list, name string) bool {
	t.Helper()
	data, err := os.ReadFile("/proc/sys/net/ipv4/tcp_" + list + "_congestion_control")
	if err != nil {
		t.Error(err)
	}
	return slices.Contains(strings.Fields(string(data)), name)
}

// send sends some data over a connection that uses the congestion control.
func send(t *testing.T, control string) {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Error(err)
		return
	}
	defer l.Close()
	const size = 1 << 20
	received := make(chan int64, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			received <- 0
			return
		}
		defer conn.Close()
		n, _ := io.Copy(io.Discard, conn)
		received <- n
	}()
	dialer := net.Dialer{Control: func(_, _ string, c syscall.RawConn) (err error) {
		ctlErr := c.Control(func(fd uintptr) {
			err = unix.SetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION, control)
		})
		return errors.Join(ctlErr, err)
	}}
	conn, err := dialer.Dial("tcp4", l.Addr().String())
	if err != nil {
		t.Error(err)
		return
	}
	if _, err := conn.Write(make([]byte, size)); err != nil {
		t.Error(err)
	}
	conn.Close()
	if n := <-received; n != size {
		t.Errorf("received %d bytes, want %d", n, size)
	}
}

// use runs the congestion control, sends data with it and returns what is printed.
func use(t *testing.T, s settings) string {
	t.Helper()
	kerneltest.BPF(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	go func() {
		defer cancel()
		for !available(t, "available", s.name) {
			if ctx.Err() != nil {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
		if got := available(t, "allowed", s.name); got != s.everybody {
			t.Errorf("it is for everybody: %t, want %t", got, s.everybody)
		}
		send(t, s.name)
		time.Sleep(100 * time.Millisecond) // for it to be printed
	}()
	var out bytes.Buffer
	err := run(ctx, &out, s, 20*time.Millisecond)
	if errors.Is(err, ebpf.ErrNotSupported) {
		t.Skipf("needs links of struct_ops maps (Linux 6.4): %v", err)
	}
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
