package relay

import "github.com/nats-io/nats.go/jetstream"

// WithdrawalsIn is withdrawalsIn.
func WithdrawalsIn(c jetstream.ConsumerConfig) (municipalities []string, takes bool) {
	return withdrawalsIn(c)
}
