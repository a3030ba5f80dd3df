package domain

// MaxReadSubjects is how many subjects a PersonalDataRead names: everybody on a page of
// any list, and everybody whom a bulk check asks about. For more, as in an export, the
// filter is recorded instead.
const MaxReadSubjects = 1000

// PersonalDataRead says that an actor read other people's personal data: one event per
// request, appended before the answer is sent (POPIA s19, s22, s23(1)(b)).
type PersonalDataRead struct {
	Route    string   `json:"route"`
	Fields   string   `json:"fields"` // the group of fields: "profile", "consents", "history" …
	Head     int64    `json:"head"`   // the log's head at the time
	Subjects []UserID `json:"subjects,omitempty"`
	// Filter has only the names of personal filters, never their values.
	Filter map[string]string `json:"filter,omitempty"`
	// Private is sealed under the subject's key or, unless there is exactly one subject,
	// under the tenant's key of the month.
	Private Personal[ReadFacts] `json:"-"`
}

// ReadFacts is free text, which may identify a person.
type ReadFacts struct {
	Reason string `json:"reason,omitempty"` // why it was read, where a reason is required
}

// TenantMismatch says that a request named another tenant than its token: a mistake in a
// client, or somebody probing. At most one is recorded per minute, actor and tenant, with
// the number of requests since the last. Those of an actor who names more than ten
// tenants are counted as one.
type TenantMismatch struct {
	Route string   `json:"route"`           // of the newest request
	Named TenantID `json:"named"`           // by the newest request; the event is in the token's tenant
	Count int      `json:"count,omitempty"` // 0: once
}

// EventType implements Event.
func (*TenantMismatch) EventType() string { return "access.tenant_mismatch.v1" }

// EventType implements Event.
func (*PersonalDataRead) EventType() string { return "personal_data.read.v1" }

func (e *PersonalDataRead) personal() Part { return &e.Private }

// SubjectID returns the one person whose data was read, or nobody if there were several.
func (e *PersonalDataRead) SubjectID() UserID {
	if len(e.Subjects) != 1 {
		return UserID{}
	}
	return e.Subjects[0]
}
