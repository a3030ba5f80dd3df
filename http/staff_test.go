package http_test

import (
	"testing"

	"github.com/salga-trust/engine/domain"
)

const sipho = `{"email":"sipho@example.org","password":"correct horse battery staple","full_name":"Sipho Zulu",
	"role":"manager"}`

func TestAnAdminRunsTheStaff(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin := w.staff(domain.Admin, "KZN225")

	made := admin.send("POST", "/api/v1/users", sipho).want(201)
	if made.text("role") != "manager" || made.text("municipality_code") != "KZN225" {
		t.Errorf("made %s", made.raw)
	}

	admin.send("POST", "/api/v1/users", sipho).wantProblem(409, domain.CodeEmailTaken)
	admin.send("POST", "/api/v1/users",
		`{"email":"x@example.org","password":"a good password","full_name":"Xola","role":"mayor"}`).
		wantProblem(422, domain.CodeInvalid)
	admin.send("POST", "/api/v1/users",
		`{"email":"x@example.org","password":"a good password","full_name":"Xola","role":"manager",
			"municipality_code":"CPT"}`).
		wantProblem(403, domain.CodeForbidden)

	id := made.text("id")
	one := admin.send("GET", "/api/v1/users/"+id, "").want(200)
	changed := admin.send("PUT", "/api/v1/users/"+id+"/role", `{"role":"field_worker"}`,
		"If-Match", one.header.Get("ETag")).want(200)
	if changed.text("role") != "field_worker" {
		t.Errorf("changed %s", changed.raw)
	}

	admin.send("PUT", "/api/v1/users/"+id+"/role", `{"role":"manager"}`, "If-Match", one.header.Get("ETag")).
		wantProblem(412, domain.CodeStale)

	worker := w.signIn("sipho@example.org", "KZN225", id, made.text("tenant_id"))

	closed := admin.send("POST", "/api/v1/users/"+id+"/deactivate", "").want(200)
	if closed.json["is_active"] != false {
		t.Errorf("closed %s", closed.raw)
	}
	worker.send("GET", "/api/v1/users/me", "").wantProblem(403, domain.CodeAccountInactive)
	admin.send("POST", "/api/v1/users/"+id+"/reactivate", "").want(200)

	admin.send("POST", "/api/v1/users/"+admin.id+"/deactivate", "").wantProblem(409, domain.CodeLastAdmin)
	admin.send("PUT", "/api/v1/users/"+admin.id+"/role", `{"role":"citizen"}`).wantProblem(409, domain.CodeLastAdmin)
}

func TestPeopleOfOtherMunicipalitiesLookAbsent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)

	stranger, admin := w.staff(domain.Manager, "CPT"), w.staff(domain.Admin, "KZN225")

	for _, r := range [][3]string{
		{"GET", "", ""},
		{"PUT", "/role", `{"role":"citizen"}`},
		{"POST", "/deactivate", ""},
		{"POST", "/reactivate", ""},
	} {
		there := admin.send(r[0], "/api/v1/users/"+stranger.id+r[1], r[2]).wantProblem(404, domain.CodeNotFound)
		absent := admin.send(r[0], "/api/v1/users/01890a5d-ac96-774b-bcce-b302099a8057"+r[1], r[2]).
			wantProblem(404, domain.CodeNotFound)

		if there.raw != absent.raw {
			t.Errorf("%s%s: %s differs from %s", r[0], r[1], there.raw, absent.raw)
		}
	}
}

func TestLookingPeopleUpIsRecorded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	citizen := w.citizen("thandi@example.org")
	worker, manager := w.staff(domain.FieldWorker, "KZN225"), w.staff(domain.Manager, "KZN225")

	worker.send("GET", "/api/v1/users", "").wantProblem(403, domain.CodeForbidden)
	found := worker.send("GET", "/api/v1/users?email=THANDI@example.org", "").want(200)
	if items := found.json["items"].([]any); len(items) != 1 {
		t.Errorf("found %s", found.raw)
	}
	manager.send("GET", "/api/v1/users/"+citizen.id, "").want(200)
	// One's own account, and nobody at all, are no reads of another person's data.
	manager.send("GET", "/api/v1/users/"+manager.id, "").want(200)
	manager.send("GET", "/api/v1/users?email=nobody@example.org", "").want(200)

	var reads []*domain.PersonalDataRead
	for _, e := range w.store.events() {
		if read, is := e.Event.(*domain.PersonalDataRead); is {
			reads = append(reads, read)
		}
	}
	if len(reads) != 2 {
		t.Fatalf("%d reads were recorded, want 2", len(reads))
	}

	if r := reads[0]; r.Route != "GET /api/v1/users" || r.Filter["email"] != "given" || len(r.Subjects) != 1 ||
		r.Subjects[0].String() != citizen.id {
		t.Errorf("recorded %+v", r)
	}
	if r := reads[1]; r.Route != "GET /api/v1/users/{id}" || r.Fields != "profile" {
		t.Errorf("recorded %+v", r)
	}
}

func TestAnAdminRunsThePurposes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.define(domain.PlatformTenant(), "newsletter")
	admin, platform := w.staff(domain.Admin, "KZN225"), w.staff(domain.Admin, "SALGA")
	citizen := w.citizen("thandi@example.org")

	const car = `{"code":"Car_Washing","basis":"consent","special_personal_information":false,"retention":"1 year",
		"notice":{"texts":{"en":"To wash.","zu":"Ukugeza.","af":"Om te was."}}}`

	made := admin.send("POST", "/api/v1/purposes", car).want(201)
	if made.text("code") != "car_washing" {
		t.Errorf("made %s", made.raw)
	}
	admin.send("POST", "/api/v1/purposes", car).wantProblem(409, domain.CodePurposeTaken)

	citizen.send("POST", "/api/v1/consents", `{"purpose":"car_washing","language":"af","consented":true}`).want(201)
	next := admin.send("POST", "/api/v1/purposes/car_washing/notices",
		`{"texts":{"en":"To wash well.","zu":"Ukugeza kahle.","af":"Om goed te was."}}`).want(201)
	if next.json["notice"].(map[string]any)["version"] != float64(2) {
		t.Errorf("published %s", next.raw)
	}

	renewed := citizen.send("POST", "/api/v1/consents", `{"purpose":"car_washing","language":"af","consented":true}`).
		want(201)
	if renewed.json["notice_version"] != float64(2) {
		t.Errorf("renewed %s", renewed.raw)
	}

	admin.send("POST", "/api/v1/purposes/car_washing/retire", "").want(200)
	citizen.send("POST", "/api/v1/consents", `{"purpose":"car_washing","language":"af","consented":false}`).
		wantProblem(422, domain.CodeUnknownPurpose)

	// A default belongs to SALGA.
	admin.send("POST", "/api/v1/purposes/newsletter/retire", "").wantProblem(404, domain.CodeUnknownPurpose)
	platform.send("POST", "/api/v1/purposes/newsletter/retire", "").want(200)
	citizen.send("POST", "/api/v1/consents", `{"purpose":"newsletter","language":"af","consented":true}`).
		wantProblem(422, domain.CodeUnknownPurpose)
}
