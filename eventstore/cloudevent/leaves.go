package cloudevent

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/salga-trust/engine/domain"
)

// leaves lists the fields of each event's payload that leave, separated by blanks. A
// field of an object within is named with a point. Whatever is not listed stays: so does
// everything of a type that is missing here, and a test asks for a decision about each
// field of each type.
//
// What leaves are ids that mean nothing outside of this system, codes from closed lists,
// numbers, instants, and hashes of what is public. Of texts that somebody typed, only the
// name of a municipality leaves.
func leaves() map[string]string {
	const decision = "consent_id purpose notice_version sha256 language channel " +
		"given_at recorded_by given_by basis copy"

	return map[string]string{
		"access.tenant_mismatch.v1": "route named count",
		"personal_data.read.v1":     "route fields head subjects",

		"admin.added.v1":     "user_id",
		"admin.removed.v1":   "user_id",
		"officer.added.v1":   "user_id",
		"officer.removed.v1": "user_id",
		"officers.listed.v1": "user_ids",

		"consent.granted.v1":   decision + " valid_until validity_days",
		"consent.refused.v1":   decision,
		"consent.claimed.v1":   decision + " validity_days claim.decided claim.evidence_grade claim.day_only",
		"consent.withdrawn.v1": "consent_id purpose given_at recorded_by cause copy",
		"consent.annulled.v1":  "consent_id purpose entry annuls cause moved_to",

		"log.event_disowned.v1": "position event_id",
		"log.forked.v1":         "origin size root",

		"municipality.registered.v1":      "code name province category district_code population",
		"municipality.details_changed.v1": "name population",
		"municipality.deactivated.v1":     "",
		"municipality.reactivated.v1":     "",

		"proof.issued.v1": "receipt_id consent_id purpose stream_type stream_id stream_version",

		"purpose.defined.v1":          "code basis special_personal_information competent_person_required",
		"purpose.notice_published.v1": "code notice_version sha256 in_use_since reconsent validity_days",
		"purpose.retired.v1":          "code",

		"resident.recorded.v1":        "municipality_code preferred_language",
		"resident.details_changed.v1": "fields preferred_language",
		"resident.merged.v1":          "from into",
		"resident.unmerged.v1":        "from into",

		"rights.request_lodged.v1":    "request_id kind lodged_by due_on received_at",
		"rights.request_fulfilled.v1": "request_id kind certificate_id",
		"rights.request_refused.v1":   "request_id kind ground",
		"rights.hold_placed.v1":       "hold_id",
		"rights.hold_lifted.v1":       "hold_id",

		"service_account.created.v1":        "scopes",
		"service_account.secret_rotated.v1": "former_until",
		"service_account.revoked.v1":        "",

		"session.started.v1":        "expires_at",
		"session.ended.v1":          "scope cause",
		"session.reuse_detected.v1": "",
		"session.sign_in_failed.v1": "count cause",

		"webhook.registered.v1": "events",
		"webhook.paused.v1":     "reason",
		"webhook.resumed.v1":    "",
		"webhook.deleted.v1":    "",

		"user.registered.v1":               "municipality_code role preferred_language",
		"user.profile_changed.v1":          "fields preferred_language",
		"user.email_changed.v1":            "",
		"user.role_changed.v1":             "role",
		"user.password_changed.v1":         "cause",
		"user.password_rehashed.v1":        "",
		"user.second_factor_begun.v1":      "expires_at",
		"user.second_factor_set.v1":        "",
		"user.second_factor_removed.v1":    "cause",
		"user.reset_code_issued.v1":        "channel expires_at",
		"user.sign_in_code_issued.v1":      "channel expires_at",
		"user.email_verification_begun.v1": "expires_at",
		"user.email_verified.v1":           "",
		"user.account_opened.v1":           "",
		"user.deactivated.v1":              "cause",
		"user.reactivated.v1":              "",
		"user.erased.v1":                   "cause request_id destroyed kept no_second_person",
	}
}

var leave = leaves() //nolint:gochecknoglobals // built once from the list above and never written

// Types lists the types of events that leave, in alphabetical order.
func Types() []string { return slices.Sorted(maps.Keys(leave)) }

// leaving returns the part of an event's payload that leaves.
func leaving(e domain.Event) (json.RawMessage, error) {
	payload, err := json.Marshal(e)
	if err != nil {
		return nil, err
	}
	return pick(payload, strings.Fields(leave[e.EventType()]))
}

// pick returns the named fields of an object, in the order in which they are named.
func pick(object []byte, names []string) (json.RawMessage, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(object, &fields); err != nil {
		return nil, err
	}

	var order []string
	within := map[string][]string{}
	for _, name := range names {
		outer, inner, nested := strings.Cut(name, ".")
		if _, has := fields[outer]; !has {
			continue
		}
		if _, named := within[outer]; !named {
			order, within[outer] = append(order, outer), nil
		}
		if nested {
			within[outer] = append(within[outer], inner)
		}
	}

	picked := []byte{'{'}
	for i, name := range order {
		value := fields[name]
		if inner := within[name]; inner != nil {
			var err error
			if value, err = pick(value, inner); err != nil {
				return nil, err
			}
		}
		if i > 0 {
			picked = append(picked, ',')
		}
		picked = fmt.Appendf(picked, "%q:%s", name, value)
	}
	return append(picked, '}'), nil
}
