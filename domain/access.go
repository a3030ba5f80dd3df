package domain

// MaxReadSubjects is how many subjects a PersonalDataRead names: everybody on a page of
// whatever list, also of the audit, whose entries may each show two people. For more, as
// in an export, the filter stands.
const MaxReadSubjects = 200

// PersonalDataRead says that an actor read other people's personal data: one per request,
// appended before the answer leaves (POPIA s19, s22, s23(1)(b)).
type PersonalDataRead struct {
	Route    string            `json:"route"`
	Fields   string            `json:"fields"` // the group of fields: "profile", "consents", "history" …
	Head     int64             `json:"head"`   // the log's head when it was read
	Subjects []UserID          `json:"subjects,omitempty"`
	Filter   map[string]string `json:"filter,omitempty"` // with the names of personal filters only, never their values
	// Private is sealed under the subject's key, or under the tenant's of the month when
	// there is not one subject alone.
	Private Personal[ReadFacts] `json:"-"`
}

// ReadFacts is free text, which may identify a person.
type ReadFacts struct {
	Reason string `json:"reason,omitempty"` // why it was read, where one has to say so
}

// TenantMismatch says that a request named another tenant than its token: a mistake in a
// client, or somebody trying doors. At most one is recorded a minute, actor and tenant,
// with the number of those since the last. Those of an actor who names more than ten
// tenants are counted as one.
type TenantMismatch struct {
	Route string   `json:"route"`           // of the newest
	Named TenantID `json:"named"`           // the tenant that the newest request named; the event is in the token's
	Count int      `json:"count,omitempty"` // 0: once
}

// EventType implements Event.
func (*TenantMismatch) EventType() string { return "access.tenant_mismatch.v1" }

// EventType implements Event.
func (*PersonalDataRead) EventType() string { return "personal_data.read.v1" }

func (e *PersonalDataRead) personal() Part { return &e.Private }

// SubjectID returns the one person whose data was read; nobody when they were several.
func (e *PersonalDataRead) SubjectID() UserID {
	if len(e.Subjects) != 1 {
		return UserID{}
	}
	return e.Subjects[0]
}
