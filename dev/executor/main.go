//go:build linux

// Executor runs Bazel's actions as a remote execution service does, on this machine: each in
// a new directory that has the declared inputs and nothing else, without a network, and where
// the programs and libraries of one root directory are all there is of the machine. A build
// that succeeds with it declares all that it reads.
//
//	executor -dir DIRECTORY [-root /] [-address FILE]
//	bazel build --remote_executor=grpc://127.0.0.1:PORT //...
//
// It listens on the loopback interface only, without authentication. When it gets SIGTERM or
// SIGINT, it prints how many actions of which kind it has run. .ci/remote runs it.
package main

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	bspb "google.golang.org/genproto/googleapis/bytestream"
	"google.golang.org/grpc"
)

func main() {
	var err error
	if text := os.Getenv(sandboxVariable); text != "" {
		err = become(text)
	} else {
		err = run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "executor:", err)
		os.Exit(1)
	}
}

func run() error {
	dir := flag.String("dir", "", "`directory` for blobs and actions")
	root := flag.String("root", "/", "`directory` whose usr, bin and lib actions see")
	address := flag.String("address", "", "`file` to write the address to")
	jobs := flag.Int("jobs", runtime.NumCPU(), "how many actions run at once")
	flag.Parse()
	if *dir == "" || flag.NArg() > 0 {
		return errors.New("usage: executor -dir DIRECTORY [-root DIRECTORY] [-address FILE] [-jobs N]")
	}
	server, w, err := serve(*dir, *root, *jobs)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	if *address != "" {
		if err := os.WriteFile(*address, []byte(l.Addr().String()+"\n"), 0o666); err != nil {
			return err
		}
	}
	fmt.Fprintf(os.Stderr, "executor: listens on %s\n", l.Addr())
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		<-stop
		server.Stop()
	}()
	if err := server.Serve(l); err != nil {
		return err
	}
	w.report(os.Stdout)
	return nil
}

// serve returns the service.
func serve(dir, root string, jobs int) (*grpc.Server, *worker, error) {
	s, err := newStore(filepath.Join(dir, "blobs"))
	if err != nil {
		return nil, nil, err
	}
	w, err := newWorker(s, filepath.Join(dir, "actions"), root, jobs)
	if err != nil {
		return nil, nil, err
	}
	// The caller removes the directory when this program has ended, so no action may still run.
	server := grpc.NewServer(grpc.MaxRecvMsgSize(maxBatch+1<<20), grpc.WaitForHandlers(true))
	all := &service{store: s, worker: w}
	repb.RegisterCapabilitiesServer(server, all)
	repb.RegisterActionCacheServer(server, all)
	repb.RegisterContentAddressableStorageServer(server, all)
	repb.RegisterExecutionServer(server, all)
	bspb.RegisterByteStreamServer(server, all)
	return server, w, nil
}

// report prints what has run.
func (w *worker) report(out *os.File) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, mnemonic := range slices.Sorted(maps.Keys(w.ran)) {
		fmt.Fprintf(out, "%5d %s\n", w.ran[mnemonic], mnemonic)
	}
}
