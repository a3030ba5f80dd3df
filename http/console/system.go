package console

import (
	"slices"
	"strconv"
	"time"

	"github.com/salga-trust/engine/http/client"
)

// systemView is the state of the log and its followers, as a page shows it.
type systemView struct {
	client.SystemBody

	Seal   seal
	Chart  chart
	Lagged bool // whether there is anything to draw
	// Since and Events say how much has happened since a first look at the page; zero:
	// this is the first.
	Since     time.Time
	Events    int64
	PerSecond string
	// Next is the address of the next look.
	Next string
}

// System shows how far the log and its followers are.
func (c *Console) System(v *Visit) error {
	state, err := v.API.GetSystem(v.r.Context(), nil)
	if err != nil {
		return err
	}

	s := systemView{SystemBody: state.Body, Chart: lags(state.Body)}
	if s.Seal, err = v.seal(); err != nil {
		return err
	}
	s.Lagged = slices.ContainsFunc(s.Followers, func(f client.FollowerBody) bool { return f.Lag > 0 })
	v.Position = s.Position
	from, since := s.Position, s.CheckedAt
	position, at, err := firstLook(v)
	if err != nil {
		return err
	}
	if !at.IsZero() && position <= s.Position && at.Before(s.CheckedAt) {
		from, since = position, at
		s.Since, s.Events = at, s.Position-position
		s.PerSecond = strconv.FormatFloat(float64(s.Events)/s.CheckedAt.Sub(at).Seconds(), 'f', 1, 64)
	}
	s.Next = link("/console/system", "from", from, "since", since.UTC().Format(time.RFC3339))
	return v.render("system", s)
}

// firstLook reads from the address when the page was first looked at, and where the log
// ended then; zero: this is the first look.
func firstLook(v *Visit) (position int64, at time.Time, err error) {
	if v.Value("from") == "" && v.Value("since") == "" {
		return 0, at, nil
	}
	if position, err = strconv.ParseInt(v.Value("from"), 10, 64); err != nil || position < 0 {
		return 0, at, faulty("from", "invalid")
	}
	if at, err = time.Parse(time.RFC3339, v.Value("since")); err != nil {
		return 0, at, faulty("since", "invalid")
	}
	return position, at, nil
}

// lags draws how many events each follower has yet to read.
func lags(s client.SystemBody) chart {
	c := chart{}
	for _, f := range s.Followers {
		c.Bars = append(c.Bars, bar{Label: f.Name, Parts: []int64{f.Lag}})
	}
	return c.drawn()
}
