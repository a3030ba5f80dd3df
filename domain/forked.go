package domain

import "github.com/google/uuid"

// LogForked says that events were lost that a checkpoint had covered, one that was shown
// to others: the log goes on from before them, under another origin. So the loss is as
// provable as the checkpoint is.
type LogForked struct {
	// Origin, Size and Root are those of the checkpoint. Size is a string in JSON, where
	// a number of this size would be rounded; Root is in base64, as in the checkpoint.
	Origin string `json:"origin"`
	Size   int64  `json:"size,string"`
	Root   string `json:"root"`
}

// EventType implements Event.
func (*LogForked) EventType() string { return "log.forked.v1" }

// Forks names the stream that holds every loss of events.
func Forks() Stream {
	return Stream{LogStream, uuid.NewSHA1(uuid.NameSpaceOID, []byte("forks"))}
}
