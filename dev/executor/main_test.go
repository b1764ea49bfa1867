//go:build linux

package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"golang.org/x/sys/unix"
	bspb "google.golang.org/genproto/googleapis/bytestream"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"
)

func TestMain(m *testing.M) {
	if text := os.Getenv(sandboxVariable); text != "" {
		fmt.Fprintln(os.Stderr, become(text))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// client is a client of a service of its own.
type client struct {
	t    *testing.T
	conn *grpc.ClientConn
}

func start(t *testing.T) *client {
	t.Helper()
	if err := exec.Command("unshare", "--mount", "--pid", "--net", "--fork", "true").Run(); err != nil && os.Geteuid() == 0 {
		t.Skipf("needs the right to make namespaces: %v", err)
	}
	dir, err := os.MkdirTemp("", "executor")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	// The user nobody has to get there.
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	server, _, err := serve(dir, "/", 2)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(server.Stop)
	conn, err := grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &client{t, conn}
}

// upload uploads a blob, large ones as a stream.
func (c *client) upload(data []byte) *repb.Digest {
	c.t.Helper()
	d := digestOf(data)
	if len(data) < 1<<20 {
		r, err := repb.NewContentAddressableStorageClient(c.conn).BatchUpdateBlobs(c.t.Context(), &repb.BatchUpdateBlobsRequest{
			Requests: []*repb.BatchUpdateBlobsRequest_Request{{Digest: d, Data: data}},
		})
		if err != nil || r.GetResponses()[0].GetStatus().GetCode() != 0 {
			c.t.Fatalf("upload: %v, %v", r, err)
		}
		return d
	}
	w, err := bspb.NewByteStreamClient(c.conn).Write(c.t.Context())
	if err != nil {
		c.t.Fatal(err)
	}
	for at := 0; at < len(data); at += 1 << 20 {
		part := data[at:min(at+1<<20, len(data))]
		r := &bspb.WriteRequest{WriteOffset: int64(at), Data: part, FinishWrite: at+len(part) == len(data)}
		if at == 0 {
			r.ResourceName = fmt.Sprintf("uploads/1/blobs/%s/%d", d.GetHash(), d.GetSizeBytes())
		}
		if err := w.Send(r); err != nil {
			c.t.Fatal(err)
		}
	}
	if r, err := w.CloseAndRecv(); err != nil || r.GetCommittedSize() != d.GetSizeBytes() {
		c.t.Fatalf("upload: %v, %v", r, err)
	}
	return d
}

func (c *client) uploadMessage(m proto.Message) *repb.Digest {
	c.t.Helper()
	data, err := proto.Marshal(m)
	if err != nil {
		c.t.Fatal(err)
	}
	return c.upload(data)
}

func (c *client) download(d *repb.Digest) string {
	c.t.Helper()
	r, err := bspb.NewByteStreamClient(c.conn).Read(c.t.Context(), &bspb.ReadRequest{ResourceName: fmt.Sprintf("blobs/%s/%d", d.GetHash(), d.GetSizeBytes())})
	if err != nil {
		c.t.Fatal(err)
	}
	var all bytes.Buffer
	for {
		part, err := r.Recv()
		if err == io.EOF {
			return all.String()
		}
		if err != nil {
			c.t.Fatal(err)
		}
		all.Write(part.GetData())
	}
}

// run runs a shell script with files in "in". It has the outputs "out/result", "tree" and others.
func (c *client) run(script string, files map[string]string, outputs ...string) *repb.ExecuteResponse {
	c.t.Helper()
	in := &repb.Directory{}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		text := files[name]
		in.Files = append(in.Files, &repb.FileNode{Name: name, Digest: c.upload([]byte(text))})
	}
	root := c.uploadMessage(&repb.Directory{Directories: []*repb.DirectoryNode{{Name: "in", Digest: c.uploadMessage(in)}}})
	command := &repb.Command{
		Arguments:            []string{"/bin/sh", "-c", script},
		EnvironmentVariables: []*repb.Command_EnvironmentVariable{{Name: "PATH", Value: "/usr/bin:/bin"}},
		OutputPaths:          append([]string{"out/result", "tree"}, outputs...),
	}
	return c.execute(command, root)
}

// execute executes a command with inputs.
func (c *client) execute(command *repb.Command, root *repb.Digest) *repb.ExecuteResponse {
	c.t.Helper()
	action := c.uploadMessage(&repb.Action{CommandDigest: c.uploadMessage(command), InputRootDigest: root})
	stream, err := repb.NewExecutionClient(c.conn).Execute(c.t.Context(), &repb.ExecuteRequest{ActionDigest: action})
	if err != nil {
		c.t.Fatal(err)
	}
	op, err := stream.Recv()
	if err != nil {
		c.t.Fatal(err)
	}
	var r repb.ExecuteResponse
	if err := op.GetResponse().UnmarshalTo(&r); err != nil {
		c.t.Fatal(err)
	}
	return &r
}

func TestExecute(t *testing.T) {
	c := start(t)
	large := strings.Repeat("large\n", 1<<20)
	files := map[string]string{"a": "text", "large": large}
	script := "cat in/a >out/result; mkdir -p tree/sub && cp in/large tree/sub/copy; ln -s copy tree/sub/link; echo said"
	r := c.run(script, files)
	if r.GetStatus().GetCode() != 0 || r.GetResult().GetExitCode() != 0 {
		t.Fatalf("%v", r)
	}
	if out := r.GetResult().GetOutputFiles(); len(out) != 1 || out[0].GetPath() != "out/result" || c.download(out[0].GetDigest()) != "text" {
		t.Errorf("output files are %v", out)
	}
	if got := string(r.GetResult().GetStdoutRaw()); got != "said\n" {
		t.Errorf("stdout is %q", got)
	}
	dirs := r.GetResult().GetOutputDirectories()
	if len(dirs) != 1 {
		t.Fatalf("output directories are %v", dirs)
	}
	var tree repb.Tree
	if err := proto.Unmarshal([]byte(c.download(dirs[0].GetTreeDigest())), &tree); err != nil {
		t.Fatal(err)
	}
	sub := tree.GetChildren()[0]
	if c.download(sub.GetFiles()[0].GetDigest()) != large || sub.GetSymlinks()[0].GetTarget() != "copy" {
		t.Errorf("the directory is %v", &tree)
	}
	// The same action has a result.
	if again := c.run(script, files); !again.GetCachedResult() {
		t.Error("the action runs twice")
	}
}

// What is not declared is not there: files, a network, other processes, rights.
func TestSandbox(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	c := start(t)
	for script, want := range map[string]string{
		"cat in/other":           "No such file",
		"cat " + secret:          "No such file",
		"cat /etc/passwd":        "No such file",
		"cat ../root/etc/passwd": "No such file",
		"ls / | tr '\\n' ' ' >&2; ls -A /root /home /etc": "build",
		"echo x >in/a":           "denied",
		"touch /usr/x":           "touch",
		"mount -t tmpfs none in": "mount",
		"grep -q : /proc/net/dev && ! grep -v 'lo:\\|Inter\\|face' /proc/net/dev; echo only lo >&2; exit 1": "only lo",
		"echo /proc/[0-9]* >&2; exit 1": "/proc/1\n",
	} {
		r := c.run(script, map[string]string{"a": "text"})
		if stderr := string(r.GetResult().GetStderrRaw()); r.GetStatus().GetCode() != 0 || r.GetResult().GetExitCode() == 0 || !strings.Contains(stderr, want) {
			t.Errorf("%s: status %d, want %q in %q, %v", script, r.GetResult().GetExitCode(), want, stderr, r.GetStatus())
		}
	}
	// The store's file is as it was.
	r := c.run("cat in/a >out/result", map[string]string{"a": "text"})
	if out := r.GetResult().GetOutputFiles(); len(out) != 1 || c.download(out[0].GetDigest()) != "text" {
		t.Errorf("output files are %v", out)
	}
}

func TestErrors(t *testing.T) {
	c := start(t)
	missing, err := repb.NewContentAddressableStorageClient(c.conn).FindMissingBlobs(t.Context(), &repb.FindMissingBlobsRequest{
		BlobDigests: []*repb.Digest{digestOf(nil), digestOf([]byte("x")), {Hash: "../x", SizeBytes: 1}},
	})
	if err != nil || len(missing.GetMissingBlobDigests()) != 2 {
		t.Errorf("missing are %v, %v", missing, err)
	}
	if r, err := repb.NewContentAddressableStorageClient(c.conn).BatchUpdateBlobs(t.Context(), &repb.BatchUpdateBlobsRequest{
		Requests: []*repb.BatchUpdateBlobsRequest_Request{{Digest: digestOf([]byte("x")), Data: []byte("y")}},
	}); err != nil || r.GetResponses()[0].GetStatus().GetCode() == 0 {
		t.Errorf("a blob with another digest: %v, %v", r, err)
	}
	if _, err := repb.NewActionCacheClient(c.conn).GetActionResult(context.Background(), &repb.GetActionResultRequest{ActionDigest: digestOf(nil)}); err == nil {
		t.Error("an action without a result has one")
	}
	action := c.uploadMessage(&repb.Action{CommandDigest: digestOf([]byte("none")), InputRootDigest: digestOf(nil)})
	stream, err := repb.NewExecutionClient(c.conn).Execute(t.Context(), &repb.ExecuteRequest{ActionDigest: action})
	if err != nil {
		t.Fatal(err)
	}
	op, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	var r repb.ExecuteResponse
	if err := op.GetResponse().UnmarshalTo(&r); err != nil || r.GetStatus().GetCode() != 9 {
		t.Errorf("a command that is missing: %v, %v, want FAILED_PRECONDITION", &r, err)
	}
}

// A directory of many files is laid out for one action, and is the same one for those that come
// after, unless they write there.
func TestSharedInputs(t *testing.T) {
	c := start(t)
	files := map[string]string{"a": "text"}
	for i := range sharedSize {
		files[fmt.Sprint("file", i)] = ""
	}
	const shared = "grep -q ' /build/in ' /proc/self/mountinfo"
	for _, test := range []struct {
		what, script string
		outputs      []string
	}{
		{"the first action", "! " + shared, nil},
		{"the second one", shared, nil},
		{"the third one", shared + " && ! touch in/new", nil},
		{"the one with an output there", "! " + shared + " && cat in/a >in/new", []string{"in/new"}},
		{"the one with an output that is there", "! " + shared, []string{"in"}},
		{"the one after them", shared + " && test ! -e in/new", nil},
	} {
		r := c.run(test.script+" && test $(ls in/file* | wc -l) = 100 && cat in/a >out/result", files, test.outputs...)
		out := r.GetResult().GetOutputFiles()
		if r.GetResult().GetExitCode() != 0 || len(out) == 0 {
			t.Errorf("%s: %v", test.what, r)
			continue
		}
		for _, file := range out {
			if got := c.download(file.GetDigest()); got != "text" {
				t.Errorf("%s: %s is %q", test.what, file.GetPath(), got)
			}
		}
	}
}

// What is missing of a directory can come later.
func TestSharedInputsMissing(t *testing.T) {
	c := start(t)
	files := &repb.Directory{}
	for i := range sharedSize {
		files.Files = append(files.Files, &repb.FileNode{Name: fmt.Sprint(i), Digest: digestOf([]byte("late"))})
	}
	in := c.uploadMessage(&repb.Directory{Directories: []*repb.DirectoryNode{{Name: "in", Digest: c.uploadMessage(files)}}})
	for i, want := range []codes.Code{codes.FailedPrecondition, codes.FailedPrecondition, codes.OK, codes.OK} {
		if i == 2 {
			c.upload([]byte("late"))
		}
		if r := c.execute(&repb.Command{Arguments: []string{"/bin/cat", "in/1"}}, in); codes.Code(r.GetStatus().GetCode()) != want {
			t.Errorf("action %d: %v, want %v", i, r, want)
		}
	}
}

// Several actions store one blob and get links to it at once.
func TestStoreAtOnce(t *testing.T) {
	s, err := newStore(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	links := t.TempDir()
	for blob := range 20 {
		var all sync.WaitGroup
		for action := range 8 {
			all.Go(func() {
				d, err := s.put(fmt.Append(nil, "blob ", blob))
				if err != nil {
					t.Error(err)
					return
				}
				for _, executable := range []bool{false, true} {
					to := filepath.Join(links, fmt.Sprint(blob, action, executable))
					if err := s.link(d, executable, to); err != nil {
						t.Error(err)
					} else if info, err := os.Stat(to); err != nil || (info.Mode()&0o111 != 0) != executable {
						t.Errorf("%s has mode %v, %v", to, info.Mode(), err)
					}
				}
			})
		}
		all.Wait()
	}
}

// Who is not root runs actions in a user namespace.
func TestWithoutRoot(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to become another user; the other tests are without then")
	}
	const again = "EXECUTOR_TEST_AGAIN"
	dir, err := os.MkdirTemp("", "executor")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	self := filepath.Join(dir, "test")
	data, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(self, data, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "-test.run=^(TestExecute|TestSandbox)$")
	cmd.Dir, cmd.Env = dir, []string{again + "=1", "TMPDIR=" + dir, "PATH=" + os.Getenv("PATH")}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 12345, Gid: 12345}}
	out, err := cmd.CombinedOutput()
	if bytes.Contains(out, []byte(unix.EPERM.Error())) || bytes.Contains(out, []byte(unix.ENOSPC.Error())) {
		t.Skipf("needs the right to make user namespaces: %s", out)
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}
