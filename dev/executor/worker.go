//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"cloud.google.com/go/longrunning/autogen/longrunningpb"
	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

// defaultTimeout is for actions that have none.
const defaultTimeout = 15 * time.Minute

// worker runs actions.
type worker struct {
	store *store
	dir   string // for the directories of actions
	// root is the directory of which actions see the programs and libraries.
	root string
	free chan struct{}
	// trees are directories of inputs that several actions have.
	trees *trees

	mu sync.Mutex
	// ran counts the actions by their mnemonics.
	ran map[string]int
}

func newWorker(s *store, dir, root string, jobs int) (*worker, error) {
	return &worker{
		store: s, dir: dir, root: root, free: make(chan struct{}, jobs), trees: newTrees(s, dir), ran: make(map[string]int),
	}, os.MkdirAll(dir, 0o755)
}

// mnemonicHeader has a RequestMetadata.
const mnemonicHeader = "build.bazel.remote.execution.v2.requestmetadata-bin"

func mnemonic(ctx context.Context) string {
	md, _ := metadata.FromIncomingContext(ctx)
	for _, value := range md.Get(mnemonicHeader) {
		var m repb.RequestMetadata
		if proto.Unmarshal([]byte(value), &m) == nil && m.GetActionMnemonic() != "" {
			return m.GetActionMnemonic()
		}
	}
	return "unknown"
}

func (s *service) Execute(r *repb.ExecuteRequest, out repb.Execution_ExecuteServer) error {
	response := &repb.ExecuteResponse{}
	if !r.GetSkipCacheLookup() {
		response.Result = s.store.result(r.GetActionDigest())
		response.CachedResult = response.Result != nil
	}
	if response.Result == nil {
		result, err := s.worker.run(out.Context(), r.GetActionDigest())
		if err != nil {
			// Bazel uploads what is missing and tries again: why, only this program can say.
			fmt.Fprintf(os.Stderr, "executor: %s: %v\n", mnemonic(out.Context()), err)
			response.Status = status.Convert(err).Proto()
		}
		response.Result = result
	}
	packed, err := anypb.New(response)
	if err != nil {
		return err
	}
	return out.Send(&longrunningpb.Operation{
		Name: r.GetActionDigest().GetHash(), Done: true,
		Result: &longrunningpb.Operation_Response{Response: packed},
	})
}

func (s *service) WaitExecution(*repb.WaitExecutionRequest, grpc.ServerStreamingServer[longrunningpb.Operation]) error {
	return status.Error(codes.NotFound, "operations are not kept: execute it again")
}

// run runs an action.
func (w *worker) run(ctx context.Context, digest *repb.Digest) (*repb.ActionResult, error) {
	var action repb.Action
	var command repb.Command
	if err := errors.Join(w.store.message(digest, &action), w.store.message(action.GetCommandDigest(), &command)); err != nil {
		return nil, missing(digest, err)
	}
	select {
	case w.free <- struct{}{}:
		defer func() { <-w.free }()
	case <-ctx.Done():
		return nil, status.FromContextError(ctx.Err()).Err()
	}
	w.mu.Lock()
	w.ran[mnemonic(ctx)]++
	w.mu.Unlock()

	dir, err := os.MkdirTemp(w.dir, "action")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	build := filepath.Join(dir, "build")
	outputs := outputsOf(&command)
	l := layer{trees: w.trees, root: build}
	for _, output := range outputs {
		l.outputs = append(l.outputs, path.Join(command.GetWorkingDirectory(), output))
	}
	if err := l.lay(".", action.GetInputRootDigest()); err != nil {
		return nil, missing(action.GetInputRootDigest(), err)
	}
	for _, output := range outputs {
		if err := makeDirs(build, path.Dir(path.Join(command.GetWorkingDirectory(), output))); err != nil {
			return nil, err
		}
	}
	timeout := action.GetTimeout().AsDuration()
	if timeout == 0 {
		timeout = defaultTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	result, err := w.execute(ctx, dir, l.shared, &command)
	if err != nil {
		return nil, err
	}
	for _, output := range outputs {
		if err := w.collect(result, filepath.Join(build, command.GetWorkingDirectory()), output); err != nil {
			return nil, err
		}
	}
	if result.GetExitCode() == 0 && !action.GetDoNotCache() {
		w.store.setResult(digest, result)
	}
	return result, nil
}

// missing returns the error for a blob that is not there as clients expect it.
func missing(d *repb.Digest, err error) error {
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return status.Errorf(codes.FailedPrecondition, "of %s: %v", d.GetHash(), err)
}

// outputsOf returns the paths of what a command may make, of all forms of the protocol.
func outputsOf(c *repb.Command) []string {
	//lint:ignore SA1019 Bazel 7 says what outputs are in this way.
	outputs := slices.Concat(c.GetOutputPaths(), c.GetOutputFiles(), c.GetOutputDirectories())
	slices.Sort(outputs)
	return slices.Compact(outputs)
}

// makeDir makes a directory in which the command may write.
func makeDir(dir string) error {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	return giveAway(dir)
}

// makeDirs makes a directory below another, and those on the way.
func makeDirs(under, dir string) error {
	dir = path.Clean(dir)
	if dir == "." {
		return nil
	}
	if strings.HasPrefix(dir, "../") || path.IsAbs(dir) {
		return status.Errorf(codes.InvalidArgument, "output directory %q is not in the action's directory", dir)
	}
	if err := makeDirs(under, path.Dir(dir)); err != nil {
		return err
	}
	err := makeDir(filepath.Join(under, dir))
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

// execute runs a command in its sandbox.
func (w *worker) execute(ctx context.Context, dir string, shared []sharedDir, c *repb.Command) (*repb.ActionResult, error) {
	var stdout, stderr bytes.Buffer
	cmd, err := sandboxed(ctx, w.root, dir, shared, c)
	if err != nil {
		return nil, err
	}
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	// A process that goes on in the background holds neither.
	cmd.WaitDelay = time.Second
	err = cmd.Run()
	if ctx.Err() != nil {
		return nil, status.FromContextError(ctx.Err()).Err()
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return nil, status.Errorf(codes.Internal, "%s: %v", cmd, err)
	}
	return &repb.ActionResult{
		ExitCode: int32(cmd.ProcessState.ExitCode()), StdoutRaw: stdout.Bytes(), StderrRaw: stderr.Bytes(),
		ExecutionMetadata: &repb.ExecutedActionMetadata{Worker: "rules_bpf"},
	}, nil
}

// collect stores an output, if the command has made it.
func (w *worker) collect(result *repb.ActionResult, base, output string) error {
	file := filepath.Join(base, output)
	info, err := os.Stat(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if !info.IsDir() {
		d, err := w.store.putFile(file)
		if err != nil {
			return err
		}
		result.OutputFiles = append(result.OutputFiles, &repb.OutputFile{Path: output, Digest: d, IsExecutable: info.Mode()&0o111 != 0})
		return nil
	}
	tree := &repb.Tree{}
	if tree.Root, err = w.tree(tree, file); err != nil {
		return err
	}
	data, err := proto.MarshalOptions{Deterministic: true}.Marshal(tree)
	if err != nil {
		return err
	}
	d, err := w.store.put(data)
	if err != nil {
		return err
	}
	result.OutputDirectories = append(result.OutputDirectories, &repb.OutputDirectory{Path: output, TreeDigest: d})
	return nil
}

// tree stores the files of a directory, and adds those below it to the tree.
func (w *worker) tree(t *repb.Tree, dir string) (*repb.Directory, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	d := &repb.Directory{}
	for _, e := range entries {
		file := filepath.Join(dir, e.Name())
		switch {
		case e.Type()&fs.ModeSymlink != 0:
			target, err := os.Readlink(file)
			if err != nil {
				return nil, err
			}
			d.Symlinks = append(d.Symlinks, &repb.SymlinkNode{Name: e.Name(), Target: target})
		case e.IsDir():
			sub, err := w.tree(t, file)
			if err != nil {
				return nil, err
			}
			t.Children = append(t.Children, sub)
			data, err := proto.MarshalOptions{Deterministic: true}.Marshal(sub)
			if err != nil {
				return nil, err
			}
			d.Directories = append(d.Directories, &repb.DirectoryNode{Name: e.Name(), Digest: digestOf(data)})
		default:
			info, err := e.Info()
			if err != nil {
				return nil, err
			}
			digest, err := w.store.putFile(file)
			if err != nil {
				return nil, err
			}
			d.Files = append(d.Files, &repb.FileNode{Name: e.Name(), Digest: digest, IsExecutable: info.Mode()&0o111 != 0})
		}
	}
	return d, nil
}
