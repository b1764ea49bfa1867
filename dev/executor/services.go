//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"github.com/bazelbuild/remote-apis/build/bazel/semver"
	bspb "google.golang.org/genproto/googleapis/bytestream"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// maxBatch is the most bytes of blobs in one message.
const maxBatch = 3 << 20

// service is what Bazel calls: https://github.com/bazelbuild/remote-apis says what each call
// means.
type service struct {
	repb.UnimplementedCapabilitiesServer
	repb.UnimplementedActionCacheServer
	repb.UnimplementedContentAddressableStorageServer
	repb.UnimplementedExecutionServer
	bspb.UnimplementedByteStreamServer

	store  *store
	worker *worker
}

func (s *service) GetCapabilities(context.Context, *repb.GetCapabilitiesRequest) (*repb.ServerCapabilities, error) {
	functions := []repb.DigestFunction_Value{repb.DigestFunction_SHA256}
	return &repb.ServerCapabilities{
		CacheCapabilities: &repb.CacheCapabilities{
			DigestFunctions:               functions,
			ActionCacheUpdateCapabilities: &repb.ActionCacheUpdateCapabilities{UpdateEnabled: true},
			MaxBatchTotalSizeBytes:        maxBatch,
		},
		ExecutionCapabilities: &repb.ExecutionCapabilities{
			DigestFunction:  functions[0],
			DigestFunctions: functions,
			ExecEnabled:     true,
		},
		LowApiVersion:  &semver.SemVer{Major: 2},
		HighApiVersion: &semver.SemVer{Major: 2, Minor: 1},
	}, nil
}

func (s *service) GetActionResult(_ context.Context, r *repb.GetActionResultRequest) (*repb.ActionResult, error) {
	if result := s.store.result(r.GetActionDigest()); result != nil {
		return result, nil
	}
	return nil, status.Errorf(codes.NotFound, "action %s has no result", r.GetActionDigest().GetHash())
}

func (s *service) UpdateActionResult(_ context.Context, r *repb.UpdateActionResultRequest) (*repb.ActionResult, error) {
	s.store.setResult(r.GetActionDigest(), r.GetActionResult())
	return r.GetActionResult(), nil
}

func (s *service) FindMissingBlobs(_ context.Context, r *repb.FindMissingBlobsRequest) (*repb.FindMissingBlobsResponse, error) {
	missing := &repb.FindMissingBlobsResponse{}
	for _, d := range r.GetBlobDigests() {
		if !s.store.has(d) {
			missing.MissingBlobDigests = append(missing.MissingBlobDigests, d)
		}
	}
	return missing, nil
}

func (s *service) BatchUpdateBlobs(_ context.Context, r *repb.BatchUpdateBlobsRequest) (*repb.BatchUpdateBlobsResponse, error) {
	answer := &repb.BatchUpdateBlobsResponse{}
	for _, blob := range r.GetRequests() {
		got, err := s.store.put(blob.GetData())
		if err == nil && !proto.Equal(got, blob.GetDigest()) {
			err = status.Errorf(codes.InvalidArgument, "blob has digest %v, want %v", got, blob.GetDigest())
		}
		answer.Responses = append(answer.Responses, &repb.BatchUpdateBlobsResponse_Response{
			Digest: blob.GetDigest(), Status: status.Convert(err).Proto(),
		})
	}
	return answer, nil
}

func (s *service) BatchReadBlobs(_ context.Context, r *repb.BatchReadBlobsRequest) (*repb.BatchReadBlobsResponse, error) {
	answer := &repb.BatchReadBlobsResponse{}
	for _, d := range r.GetDigests() {
		data, err := s.store.get(d)
		answer.Responses = append(answer.Responses, &repb.BatchReadBlobsResponse_Response{
			Digest: d, Data: data, Status: status.Convert(notFound(err)).Proto(),
		})
	}
	return answer, nil
}

func notFound(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return status.Error(codes.NotFound, err.Error())
	}
	return err
}

// digestIn reads the digest of a resource's name: [INSTANCE/]blobs/HASH/SIZE to read, and
// [INSTANCE/]uploads/UUID/blobs/HASH/SIZE[/ANYTHING] to write.
func digestIn(resource string) (*repb.Digest, error) {
	parts := strings.Split(resource, "/")
	for i, part := range parts {
		if part == "blobs" && i+2 < len(parts) {
			if size, err := strconv.ParseInt(parts[i+2], 10, 64); err == nil {
				return &repb.Digest{Hash: parts[i+1], SizeBytes: size}, nil
			}
		}
	}
	return nil, status.Errorf(codes.InvalidArgument, "%q names no blob", resource)
}

func (s *service) Read(r *bspb.ReadRequest, out bspb.ByteStream_ReadServer) error {
	d, err := digestIn(r.GetResourceName())
	if err != nil {
		return err
	}
	if err := checkHash(d.GetHash()); err != nil {
		return status.Error(codes.InvalidArgument, err.Error())
	}
	f, err := os.Open(s.store.path(d.GetHash(), false))
	if err != nil {
		return notFound(err)
	}
	defer f.Close()
	if _, err := f.Seek(r.GetReadOffset(), io.SeekStart); err != nil {
		return err
	}
	var blob io.Reader = f
	if r.GetReadLimit() > 0 {
		blob = io.LimitReader(f, r.GetReadLimit())
	}
	buf := make([]byte, 1<<20)
	for {
		n, err := io.ReadFull(blob, buf)
		if n > 0 {
			if err := out.Send(&bspb.ReadResponse{Data: buf[:n]}); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// writeStream reads what the messages of an upload carry.
type writeStream struct {
	stream bspb.ByteStream_WriteServer
	data   []byte
	at     int64
	done   bool
}

func (w *writeStream) take(r *bspb.WriteRequest) error {
	if r.GetWriteOffset() != w.at {
		return status.Errorf(codes.InvalidArgument, "upload goes on at %d, want %d", r.GetWriteOffset(), w.at)
	}
	w.data = r.GetData()
	w.at += int64(len(w.data))
	w.done = r.GetFinishWrite()
	return nil
}

func (w *writeStream) Read(p []byte) (int, error) {
	for len(w.data) == 0 {
		if w.done {
			return 0, io.EOF
		}
		r, err := w.stream.Recv()
		if err != nil {
			return 0, fmt.Errorf("upload has no end: %w", err)
		}
		if err := w.take(r); err != nil {
			return 0, err
		}
	}
	n := copy(p, w.data)
	w.data = w.data[n:]
	return n, nil
}

func (s *service) Write(in bspb.ByteStream_WriteServer) error {
	first, err := in.Recv()
	if err != nil {
		return err
	}
	d, err := digestIn(first.GetResourceName())
	if err != nil {
		return err
	}
	w := &writeStream{stream: in}
	if err := w.take(first); err != nil {
		return err
	}
	if _, err := s.store.putReader(w, d); err != nil {
		return status.Error(codes.InvalidArgument, err.Error())
	}
	return in.SendAndClose(&bspb.WriteResponse{CommittedSize: d.GetSizeBytes()})
}

func (s *service) QueryWriteStatus(_ context.Context, r *bspb.QueryWriteStatusRequest) (*bspb.QueryWriteStatusResponse, error) {
	d, err := digestIn(r.GetResourceName())
	if err != nil {
		return nil, err
	}
	if s.store.has(d) {
		return &bspb.QueryWriteStatusResponse{CommittedSize: d.GetSizeBytes(), Complete: true}, nil
	}
	return &bspb.QueryWriteStatusResponse{}, nil
}
