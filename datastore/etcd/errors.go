package etcd

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/felid-net/felid/datastore"
)

// told makes an error of etcd one of the contract, with what to do about it.
func told(err error) error {
	var of error
	hint := ""
	switch err = rpctypes.Error(err); {
	case errors.Is(err, context.Canceled), errors.Is(err, datastore.ErrUnreachable):
		return err
	case errors.Is(err, rpctypes.ErrCompacted), errors.Is(err, rpctypes.ErrFutureRev):
		of = datastore.ErrExpired
	case errors.Is(err, rpctypes.ErrRequestTooLarge):
		of, hint = datastore.ErrInvalid, "; valid: objects below etcd's --max-request-bytes, 1.5 MB where it is not set"
	case errors.Is(err, rpctypes.ErrPermissionDenied), errors.Is(err, rpctypes.ErrUserEmpty):
		of, hint = datastore.ErrForbidden, "; it wants a client certificate whose name is a user with a role that has readwrite on the range "+Root+" to "+rangeEnd(Root)
	case errors.Is(err, rpctypes.ErrInvalidAuthToken), errors.Is(err, rpctypes.ErrAuthFailed):
		of = datastore.ErrForbidden
	case errors.Is(err, rpctypes.ErrNoSpace):
		of, hint = datastore.ErrUnreachable, "; it takes no writes until it is compacted and defragmented, or --quota-backend-bytes grows, and its alarm is disarmed"
	default:
		of = datastore.ErrUnreachable
	}
	return fmt.Errorf("%w: etcd: %s%s", of, plain(err), hint)
}

// plain is the text of an error without the names of protocols that people did not ask about.
func plain(err error) string {
	text := err.Error()
	if s, ok := status.FromError(err); ok {
		text = s.Message()
	}
	for _, prefix := range []string{"etcdserver: ", "mvcc: ", "connection error: desc = "} {
		text = strings.TrimPrefix(text, prefix)
	}
	return strings.Trim(text, `"`)
}

// rangeEnd is the end of the range of keys with a prefix.
func rangeEnd(prefix string) string {
	last := len(prefix) - 1
	return prefix[:last] + string(prefix[last]+1)
}

// failFast lets a call fail with why there is no connection, instead of waiting until its time is over and nobody knows why. Where a certificate is at
// fault, trying again is no use either.
func failFast(ctx context.Context, method string, req, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	err := invoke(ctx, method, req, reply, conn, append(opts, grpc.WaitForReady(false))...)
	if s, ok := status.FromError(err); ok && s.Code() == codes.Unavailable && strings.Contains(s.Message(), "authentication handshake failed") {
		return status.Error(codes.Unauthenticated, s.Message())
	}
	return err
}

// call makes one call to etcd, which has s.o.Patience to answer.
func call[T any](ctx context.Context, s *Store, make func(context.Context) (T, error)) (T, error) {
	var none T
	if err := ctx.Err(); err != nil {
		return none, err
	}
	limited, cancel := context.WithTimeout(ctx, s.o.Patience)
	defer cancel()
	defer s.pace.call()()
	answer, err := make(limited)
	switch {
	case err == nil:
		return answer, nil
	case ctx.Err() != nil:
		return none, ctx.Err()
	case limited.Err() != nil:
		return none, fmt.Errorf("%w: etcd: no answer within %s", datastore.ErrUnreachable, s.o.Patience)
	}
	return none, s.anonymous(told(err))
}

// anonymous adds what is most often wrong where a server that was reached hangs up: with TLS 1.3 it refuses a client without a certificate
// after the handshake, and its reason may be lost.
func (s *Store) anonymous(err error) error {
	if s.o.CertFile != "" || !strings.HasPrefix(s.o.Endpoints[0], "https:") || !errors.Is(err, datastore.ErrUnreachable) {
		return err
	}
	for _, sign := range []string{"broken pipe", "connection reset", "EOF", "server preface", "certificate required", "bad certificate"} {
		if strings.Contains(err.Error(), sign) {
			return fmt.Errorf("%w; it may want a client certificate (--etcd-cert, --etcd-key)", err)
		}
	}
	return err
}
