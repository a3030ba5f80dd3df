package console

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/salga-trust/engine/http/client"
)

// auditPage lists what happened, newest first.
type auditPage struct {
	Items  []auditLine
	Next   *string
	Tables []string
}

// auditLine is one event, with what it changed in the order of names.
type auditLine struct {
	client.AuditBody

	Fields []auditField
}

// auditField is a field before and after a change.
type auditField struct {
	Name     string
	Old, New auditValue
}

// auditValue is a value as a page shows it. State is none, yes, no, sealed, erased or
// text.
type auditValue struct{ State, Text string }

// auditTables lists the kinds of records that events are about.
func auditTables() []string {
	return []string{
		"admins", "consents", "data_rights_requests", "disowned_events", "municipalities", "notices", "officers",
		"personal_data", "purposes", "retention_holds", "sessions", "sign_in_failures", "tenant_mismatches", "users",
	}
}

// Audit shows the audit log.
func (c *Console) Audit(v *Visit) error {
	page := auditPage{Tables: auditTables()}
	read := fieldReader{v: v}
	params := client.AuditLogParams{
		Operation: chosen[client.AuditLogParamsOperation](v, "operation"),
		TableName: v.optional("table_name"),
		RecordID:  read.optionalID("record_id"), UserID: read.optionalID("user_id"),
		TenantID: read.optionalID("tenant_id"),
		From:     read.instant("from"), To: read.instant("to"), After: v.optional("after"),
	}
	if err := read.refused(); err != nil {
		return v.again("audit", page, err)
	}

	found, err := v.API.AuditLog(v.r.Context(), &params)
	if err != nil {
		return v.again("audit", page, err)
	}
	page.Next = found.Body.Next
	for _, item := range found.Body.Items {
		page.Items = append(page.Items, auditLineOf(item))
	}
	return v.render("audit", page)
}

func auditLineOf(b client.AuditBody) auditLine {
	line := auditLine{AuditBody: b}
	for _, name := range slices.Sorted(maps.Keys(b.Changes)) {
		c := b.Changes[name]
		line.Fields = append(line.Fields, auditField{
			Name: name, Old: auditValueOf(c.Old, c.Personal), New: auditValueOf(c.New, c.Personal),
		})
	}
	return line
}

// auditValueOf says a value in a form that a page can show. A value that cannot be shown
// is told from a text that reads the same by the state of its field.
func auditValueOf(value any, state client.ChangeBodyPersonal) auditValue {
	switch value := value.(type) {
	case nil:
		return auditValue{State: "none"}
	case bool:
		return auditValue{State: map[bool]string{true: "yes", false: "no"}[value]}
	case string:
		if value == string(state) && (value == "sealed" || value == "erased") {
			return auditValue{State: value}
		}
		return auditValue{State: "text", Text: value}
	default:
		return auditValue{State: "text", Text: jsonText(value)}
	}
}

func jsonText(value any) string {
	var text bytes.Buffer
	out := json.NewEncoder(&text)
	out.SetEscapeHTML(false)
	if err := out.Encode(value); err != nil {
		return plain(value)
	}
	return strings.TrimSpace(text.String())
}
