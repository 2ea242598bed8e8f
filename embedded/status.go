package embedded

import (
	"errors"
	"syscall"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func invalid(format string, a ...any) error {
	return status.Errorf(codes.InvalidArgument, format, a...)
}

func notFound(name string) error {
	return status.Errorf(codes.NotFound, "Resource not found (resource=%s).", name)
}

func alreadyExists(name string) error {
	return status.Errorf(codes.AlreadyExists, "Resource already exists in the project (resource=%s).", name)
}

func precondition(format string, a ...any) error {
	return status.Errorf(codes.FailedPrecondition, format, a...)
}

func unsupported(what string) error {
	return status.Errorf(codes.Unimplemented, "%s is not supported by the embedded Pub/Sub server", what)
}

var errClosing = status.Error(codes.Unavailable, "the embedded Pub/Sub server is closing")

// stored is the answer to a request whose journal write failed.
func stored(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return status.Errorf(codes.ResourceExhausted, "the disk of the embedded Pub/Sub server is full: %v", err)
	}
	return status.Errorf(codes.Unavailable, "the embedded Pub/Sub server could not store it: %v", err)
}

const (
	permanentFailure = "PERMANENT_FAILURE_INVALID_ACK_ID"
	transientFailure = "TRANSIENT_FAILURE_SERVICE_UNAVAILABLE"
)

// invalidAckIDs is how Pub/Sub answers an Acknowledge or ModifyAckDeadline with
// exactly-once delivery, some of whose ids are no longer valid: the details say
// what became of each.
func invalidAckIDs(perID map[string]string) error {
	s := status.New(codes.InvalidArgument, "Some acknowledgement ids in the request were invalid. "+
		"This could be because the acknowledgement ids have expired or the acknowledgement ids were malformed.")
	with, err := s.WithDetails(&errdetails.ErrorInfo{
		Reason: "EXACTLY_ONCE_ACKID_FAILURE", Domain: "pubsub.googleapis.com", Metadata: perID,
	})
	if err != nil {
		return s.Err()
	}
	return with.Err()
}
