package console

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

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

// auditValue is a value as a page shows it: in a word, if State is none, yes, no, sealed
// or erased, and otherwise as its items, of which a page shows the first few.
type auditValue struct {
	State string
	Items []auditItem
	More  int // items that are not shown
}

// auditItem is a text, an id or an instant.
type auditItem struct {
	Name  string // within a value that has names
	Group string // of codes, of which the text may be one
	Text  string
	ID    bool
	At    time.Time
}

// IsPurpose reports whether the text is the code of a purpose, which a page always shows
// by its name.
func (i auditItem) IsPurpose() bool { return i.Group == purposeNames }

// purposeNames is the group of the names of purposes.
const purposeNames = "purpose_name"

// shownItems is how many items of one value a page shows. A look at a list may name
// hundreds of people.
const shownItems = 5

// auditTables lists the kinds of records that events are about.
func auditTables() []string {
	return []string{
		"admins", "consents", "data_rights_requests", "disowned_events", "lost_checkpoints",
		"municipalities", "notices",
		"officers", "personal_data", "purposes", "retention_holds", "service_accounts", "sessions", "sign_in_failures",
		"tenant_mismatches", "users", "webhooks",
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
			Name: name, Old: auditValueOf(name, c.Old, c.Personal), New: auditValueOf(name, c.New, c.Personal),
		})
	}
	return line
}

// auditValueOf says the value of a field in a form that a page can show. A value that
// cannot be shown is told from a text that reads the same by the state of its field.
func auditValueOf(field string, value any, state client.ChangeBodyPersonal) auditValue {
	switch value := value.(type) {
	case nil:
		return auditValue{State: "none"}
	case bool:
		return auditValue{State: map[bool]string{true: "yes", false: "no"}[value]}
	case string:
		if value == string(state) && (value == "sealed" || value == "erased") {
			return auditValue{State: value}
		}
	}

	items := auditItemsOf(field, value)
	if len(items) == 0 {
		return auditValue{State: "none"}
	}
	shown := items[:min(shownItems, len(items))]
	return auditValue{Items: shown, More: len(items) - len(shown)}
}

// auditItemsOf takes a list and an object apart. An object within a list is one item.
func auditItemsOf(field string, value any) (items []auditItem) {
	switch value := value.(type) {
	case []any:
		for _, item := range value {
			items = append(items, auditItemOf(field, "", item))
		}
	case map[string]any:
		for _, inner := range slices.Sorted(maps.Keys(value)) {
			items = append(items, auditItemOf(inner, inner, value[inner]))
		}
	default:
		items = append(items, auditItemOf(field, "", value))
	}
	return items
}

// auditItemOf says a value that has no parts; one that has is written as it came.
func auditItemOf(field, name string, value any) auditItem {
	text, is := value.(string)
	if !is {
		return auditItem{Name: name, Text: jsonText(value)}
	}

	item := auditItem{Name: name, Group: groupOf(field), Text: text}
	if id, err := uuid.Parse(text); err == nil {
		item.ID, item.Text = true, id.String()
	} else if at, err := time.Parse(time.RFC3339Nano, text); err == nil {
		item.At = at
	}
	return item
}

// groupOf returns the group of texts that the codes in a field belong to, where it is not
// named like the field.
func groupOf(field string) string {
	other := map[string]string{
		"fields": "shown", "scopes": "scope", "destroyed": "shown", "kept": "shown", "given_by": "by",
		"lodged_by": "by", "recorded_by": "by", "preferred_language": "language", "evidence_grade": "grade",
		"table_name": "records", "purpose": purposeNames,
	}
	if group, is := other[field]; is {
		return group
	}
	return field
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
