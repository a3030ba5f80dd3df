package domain

// Status says in one word what has become of a decision.
type Status string

// What becomes of a decision. A grant that another one superseded stays granted, but is
// not in force.
const (
	StatusGranted   Status = "granted"
	StatusRefused   Status = "refused"
	StatusWithdrawn Status = "withdrawn"
)

// Statuses lists them all.
func Statuses() []Status { return []Status{StatusGranted, StatusRefused, StatusWithdrawn} }

// Standing is what has become of a decision by an instant, as known at another.
type Standing struct {
	Status Status
	// InForce reports whether this grant is what allows processing.
	InForce bool
}

// Decided is a decision and what has become of it.
type Decided struct {
	Consent
	Standing
}

// Decided returns what had become of one of the records.
func (c Consents) Decided(r Consent) Decided {
	d := Decided{r, Standing{Status: StatusGranted, InForce: c.Holds(r)}}
	switch {
	case !r.Consented:
		d.Status = StatusRefused
	case r.Withdrawn():
		d.Status = StatusWithdrawn
	}
	return d
}
