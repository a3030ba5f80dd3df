package commands_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/salga-trust/engine/commands"
	"github.com/salga-trust/engine/domain"
)

// BenchmarkCheck compares checks of one person after another with bulk checks of the same
// thousand people, on one log.
func BenchmarkCheck(b *testing.B) {
	w := newWorld(b)
	clerk := w.staff(b, domain.FieldWorker, "clerk@example.co.za")
	people := make([]domain.UserID, commands.MaxChecked)

	var all sync.WaitGroup
	for worker := range 8 {
		all.Go(func() {
			for i := worker; i < len(people); i += 8 {
				a, err := w.Register(b.Context(), commands.Call{},
					registration("CPT", fmt.Sprintf("p%d@example.co.za", i)))
				ok(b, err)
				people[i] = a.Value.ID
				if i%2 == 0 {
					c := smsAlert()
					c.Subject, c.Channel = people[i], domain.Counter
					_, err = w.RecordConsent(b.Context(), clerk, c)
					ok(b, err)
				}
			}
		})
	}
	all.Wait()

	b.Run("one by one", func(b *testing.B) {
		for i := range b.N {
			_, err := w.CheckConsent(b.Context(), clerk, commands.CheckConsent{
				Subject: people[i%len(people)], Purpose: "sms_alert",
			})
			ok(b, err)
		}
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "people/s")
	})
	b.Run("in bulk", func(b *testing.B) {
		for range b.N {
			_, err := w.CheckConsents(b.Context(), clerk, commands.CheckConsents{
				Subjects: people, Purpose: "sms_alert",
			})
			ok(b, err)
		}
		b.ReportMetric(float64(b.N*len(people))/b.Elapsed().Seconds(), "people/s")
	})
}
