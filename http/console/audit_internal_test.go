package console

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/salga-trust/engine/http/client"
)

func TestTheAuditPageSaysValuesAsPeopleReadThem(t *testing.T) {
	t.Parallel()
	audit, err := page(Afrikaans, "audit")
	if err != nil {
		t.Fatal(err)
	}
	var many []any
	for range 7 {
		many = append(many, uuid.NewString())
	}
	id := uuid.NewString()

	for _, c := range []struct {
		field string
		value any
		want  string
	}{
		{"expires_at", "2026-12-05T08:10:11.587798Z", "5 Desember 2026, 10:10:11"},
		{"status", "open", "oop"},
		{"scopes", []any{"events:read"}, "Lees die geskiedenis van toestemmings"},
		{"filter", map[string]any{"role": "citizen", "limit": 50.0}, "limit: 50, Rol: inwoner"},
		{"filter", map[string]any{"purpose": "library_card"}, "Doel: Library card"},
		{"purpose", "sms_alert", "Kennisgewings per SMS"},
		{"session_id", id, short(id)},
		{"full_name", "open", "open"},
		{"subjects", many, short(many[4]) + " en nog 2"},
		{"subjects", []any{}, "niks"},
		{"withdrawn", true, "ja"},
		{"position", 4417.0, "4417"},
	} {
		var out bytes.Buffer
		err := audit.ExecuteTemplate(&out, "value", auditValueOf(c.field, c.value, ""))
		if err != nil {
			t.Fatal(err)
		}
		if said := tag.ReplaceAllString(out.String(), ""); !strings.HasSuffix(said, c.want) {
			t.Errorf("%s %v is %q, want %q at its end", c.field, c.value, said, c.want)
		}
	}

	if hidden := auditValueOf("reason", "sealed", client.ChangeBodyPersonalSealed); hidden.State != "sealed" {
		t.Errorf("a sealed reason is %+v", hidden)
	}
}
