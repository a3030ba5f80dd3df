package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/salga-trust/engine/cmd/trust/internal/exit"
	"github.com/salga-trust/engine/internal/pgtest"
)

func TestAWithdrawalReachesAWebhookThroughTheProcesses(t *testing.T) {
	t.Parallel()
	got := make(chan string, 10)
	recipient := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		got <- string(body)
	}))
	t.Cleanup(recipient.Close)

	s := newSite(t, "DATABASE_URL="+pgtest.Fresh(t), testSecret, testMaster, "RATE_LIMIT=off",
		"ADMIN_EMAIL=admin@example.org", "ADMIN_PASSWORD=correct horse battery", "WEBHOOK_ALLOW_PRIVATE=127.0.0.1")
	s.run("migrate").expect(t, exit.CodeDone, "schema version")
	s.run("prepare", "contents").expect(t, exit.CodeDone, "first platform admin: made")
	s.feed("a good password\n", "admin", "create", "--municipality", "CPT", "--email", "admin@cpt.example.org").
		expect(t, exit.CodeDone, "made")
	s.start("project", "webhooks")
	s.start("webhooks")
	s.start("serve")
	pgtest.Eventually(t, "it serves", func() bool {
		answer, err := http.Get("http://" + s.addr + "/ready") //nolint:noctx // a test
		if err != nil {
			return false
		}
		defer func() { _ = answer.Body.Close() }()
		body, err := io.ReadAll(answer.Body)
		return err == nil && answer.StatusCode == http.StatusOK && len(body) > 0
	})

	admin := s.signedIn("admin@cpt.example.org", "a good password", "CPT")
	made := admin.call("POST", "webhooks", `{"url":"`+recipient.URL+`","events":["consent.withdrawn.v1"]}`)
	person := s.citizen("person@example.org", "Thandi Dlamini")
	granted := person.call("POST", "consents", `{"purpose":"sms_alert","language":"zu","consented":true}`)
	person.call("POST", "consents/"+field(t, granted, "id")+"/withdraw", `{"reason":"too many of them"}`)

	body := pgtest.Receive(t, got)
	var event struct{ Type, Subject, Municipality, Source string }
	must(t, json.Unmarshal([]byte(body), &event))
	if event.Type != "consent.withdrawn.v1" || event.Subject != person.id || event.Municipality != "CPT" ||
		!strings.HasPrefix(event.Source, "salga-trust/") {
		t.Errorf("received %s", body)
	}
	for _, secret := range []string{"Thandi", "too many", "person@"} {
		if strings.Contains(body, secret) {
			t.Errorf("%q left: %s", secret, body)
		}
	}

	path := "webhooks/" + field(t, made, "id") + "/deliveries?status=acknowledged"
	pgtest.Eventually(t, "the delivery is shown as acknowledged", func() bool {
		return strings.Contains(string(admin.call("GET", path, "")), `"response_status":200`)
	})

	shown := string(admin.call("GET", "compliance/propagation", ""))
	if !strings.Contains(shown, `"measured":1`) || !strings.Contains(shown, `"outstanding":0`) {
		t.Errorf("how long it took: %s", shown)
	}
	metrics := scrape(t, "http://"+s.addr+"/metrics")
	if !strings.Contains(metrics, `trust_withdrawals_overdue{recipients="webhooks"} 0`) ||
		strings.Contains(metrics, `recipients="consumers"`) {
		t.Errorf("metrics: %s", metrics)
	}
}
