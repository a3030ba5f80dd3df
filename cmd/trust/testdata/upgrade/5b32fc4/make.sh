#!/usr/bin/env bash
# Makes the files of this folder with the program of commit 5b32fc4; README.md says how to run it. All people are made up.
set -euo pipefail

old=$(realpath "${OLD:?OLD names a checkout of commit 5b32fc4 in which make build was run}")
trust="$old/bin/trust" data="$old/cmd/trust/data"
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
chmod 755 "$work" # Postgres runs as a user of its own

export DATA_DIR="$work/data" HTTP_ADDR="127.0.0.1:${PORT:-28731}" RATE_LIMIT=off
api="http://$HTTP_ADDR/api/v1"
password="correct horse battery"
cd "$work"

# ---- the program ----

# The note that trust up leaves after its first import keeps it from importing every municipality: a few make a small dump.
mkdir "$DATA_DIR"
echo postgres >"$DATA_DIR/imported"
"$trust" up >up.log 2>&1 &
up=$!
trap 'kill $up 2>/dev/null || true; wait $up || true; rm -rf "$work"' EXIT

ready() { curl -fsS "http://$HTTP_ADDR/ready" 2>/dev/null | jq -e '.status == "ready"' >/dev/null; }
followed() { "$trust" status --json | jq -e 'all(.projections[]; .lag == 0)' >/dev/null; }
until ready; do
	kill -0 $up || { cat up.log >&2; exit 1; }
	sleep 0.2
done
source "$DATA_DIR/env"
: "${ADMIN_EMAIL:=admin@salga.example}"

awk -F, 'NR == 1 || $2 ~ /^City|^eThek/ || (($4 == "A" || $4 == "B") && $6 >= 480000)' "$data/municipalities.csv" >few.csv
"$trust" import municipalities few.csv
"$trust" import purposes "$data/purposes.csv"
"$trust" admin create --municipality SALGA --email "$ADMIN_EMAIL" <<<"$ADMIN_PASSWORD"
"$trust" admin create --municipality CPT --email admin@example.org --full-name "Ayesha Adams" <<<"$password"
"$trust" seed --people 24

# ---- how to ask ----

declare -A token refresh

# call METHOD PATH WHO [BODY [HEADER...]] prints the answer; WHO is empty for nobody. A refusal ends the script.
call() {
	local method=$1 path=$2 who=$3 body=${4:-} header args=()
	shift $(($# < 4 ? $# : 4))
	for header in "$@"; do args+=(-H "$header"); done
	[ -z "$who" ] || args+=(-H "Authorization: Bearer ${token[$who]}")
	[ -z "$body" ] || args+=(-H "Content-Type: application/json" --data-binary "$body")
	curl -sS --fail-with-body -X "$method" "${args[@]}" "$api/$path" || { echo " <- $method $path $who $body" >&2; exit 1; }
}

# refused is call for what must be refused, with a status.
refused() {
	local status=$1 answer
	shift
	if answer=$(call "$@" 2>/dev/null); then echo "not refused: $*" >&2; exit 1; fi
	jq -e --argjson status "$status" '.status == $status' <<<"$answer" >/dev/null || { echo "$answer <- $*" >&2; exit 1; }
}

# signIn WHO EMAIL MUNICIPALITY [PASSWORD]
signIn() {
	local answer
	answer=$(call POST auth/login "" "$(jq -n --arg e "$2" --arg m "$3" --arg p "${4:-$password}" '{email: $e, password: $p, municipality_code: $m}')")
	token[$1]=$(jq -r .access_token <<<"$answer")
	refresh[$1]=$(jq -r .refresh_token <<<"$answer")
}

# register NAME EMAIL: a citizen of Cape Town; prints the id.
register() {
	call POST auth/register "" "$(jq -n --arg n "$1" --arg e "$2" --arg p "$password" '{email: $e, password: $p, full_name: $n,
		phone: "+27821234567", preferred_language: "zu", municipality_code: "CPT",
		consent: {purpose: "platform_registration", language: "zu", consented: true}}')" | jq -r .id
}

id() { jq -r .id; }
texts() { jq -nc --arg t "$1" '{en: $t, zu: ($t + " (zu)"), af: ($t + " (af)")}'; }

# ---- SALGA: municipalities, and the wording of a default purpose ----

signIn salga "$ADMIN_EMAIL" SALGA "$ADMIN_PASSWORD"
municipality() {
	call POST municipalities salga '{"name":"Test '"$1"'","code":"'"$1"'","province":"Limpopo","category":"B","population":1200}' | jq -r .id
}
one=$(municipality TST1)
two=$(municipality TST2)
call PATCH "municipalities/$one" salga '{"name":"Test One","contact_email":"one@example.org"}' >/dev/null
"$trust" admin create --municipality TST2 --email admin@example.org <<<"$password"
for step in $one/deactivate $one/reactivate $two/deactivate; do call POST "municipalities/$step" salga >/dev/null; done
call POST purposes/sms_alert/notices salga '{"texts":'"$(texts 'To send you alerts by SMS, second wording.')"'}' >/dev/null

# ---- Cape Town: staff, and purposes of its own ----

signIn admin admin@example.org CPT
staff() {
	call POST users admin '{"email":"'"$1"'","password":"'"$password"'","full_name":"'"$2"'","role":"'"$3"'"}' | id
}
officer=$(staff officer@example.org "Sipho Zulu" manager)
second=$(staff second@example.org "Second Admin" admin)
closed=$(staff closed@example.org "Closed Account" field_worker)
call PUT "users/$second/role" admin '{"role":"manager"}' >/dev/null
for step in deactivate reactivate deactivate; do call POST "users/$closed/$step" admin >/dev/null; done
signIn officer officer@example.org CPT

for code in event_news old_survey; do
	call POST purposes admin '{"code":"'$code'","basis":"consent","special_personal_information":false,
		"retention":"1 year","notice":{"texts":'"$(texts "First wording of $code.")"'}}' >/dev/null
done
call POST purposes/event_news/notices admin '{"texts":'"$(texts 'Second wording of event_news.')"'}' >/dev/null

# ---- citizens ----

consent() { # WHO PURPOSE CONSENTED [MORE [HEADER]]
	call POST consents "$1" "$(jq -nc --arg p "$2" --argjson c "$3" '{purpose: $p, language: "zu", consented: $c} + '"${4:-{\}}")" "${@:5}"
}

nomsa=$(register "Nomsa Ṱhavhani" nomsa@example.org)
signIn nomsa nomsa@example.org CPT
key="Idempotency-Key: sms, yes"
agreed=$(consent nomsa sms_alert true '{}' "$key")
sms=$(id <<<"$agreed")
consent nomsa old_survey true >/dev/null
consent nomsa whatsapp_care false >/dev/null
consent nomsa event_news true >/dev/null
three_days_ago=$(date -u -d '3 days ago' +%Y-%m-%dT%H:%M:%SZ)
consent nomsa newsletter true '{channel: "paper", given_at: "'"$three_days_ago"'",
	evidence: {sha256: "'"$(printf %s paper | sha256sum | cut -c1-64)"'", reference: "form 114"}}' >/dev/null
consent officer child_programme true '{subject_id: "'"$nomsa"'", channel: "paper", given_at: "'"$three_days_ago"'",
	evidence: {sha256: "'"$(printf %s child | sha256sum | cut -c1-64)"'", reference: "box 4"},
	given_by: {name: "Thandi Dlamini", relation: "mother", authority: "birth certificate"}}' >/dev/null
call POST "consents/$sms/withdraw" nomsa '{"reason":"too many messages"}' >/dev/null
call POST purposes/old_survey/retire admin >/dev/null
call PATCH users/me nomsa '{"full_name":"Nomsa Ṱhavhani-Nkosi","phone":"+27829876543","preferred_language":"af"}' >/dev/null
call PATCH users/me nomsa '{"email":"nomsa.nkosi@example.org","current_password":"'"$password"'"}' >/dev/null
call PUT users/me/password nomsa '{"current_password":"'"$password"'","new_password":"another good password"}' >/dev/null

call POST auth/logout "" '{"refresh_token":"'"${refresh[nomsa]}"'"}' >/dev/null
signIn nomsa nomsa.nkosi@example.org CPT "another good password"
first=${refresh[nomsa]}
call POST auth/refresh "" '{"refresh_token":"'"$first"'"}' >/dev/null
refused 401 POST auth/refresh "" '{"refresh_token":"'"$first"'"}' # used twice
refused 401 POST auth/login "" '{"email":"nomsa@example.org","password":"wrong","municipality_code":"CPT"}'
refused 401 POST auth/login "" '{"email":"nomsa.nkosi@example.org","password":"wrong","municipality_code":"CPT"}'
signIn nomsa nomsa.nkosi@example.org CPT "another good password"
refused 403 GET users/me nomsa "" "X-Tenant-ID: 00000000-0000-4000-8000-000000000001"

# ---- rights: requests, holds, and two erasures ----

request() { call POST data-rights/requests "$1" '{"kind":"'"$2"'","details":"details of '"$2"'"}' | id; }
request nomsa access >/dev/null # stays open
call POST "data-rights/requests/$(request nomsa correction)/fulfil" officer '{"note":"corrected"}' >/dev/null
call POST "data-rights/requests/$(request nomsa objection)/refuse" officer '{"ground":"legal_obligation","note":"billing"}' >/dev/null
hold() { call POST data-rights/holds officer '{"subject_id":"'"$nomsa"'","reason":"'"$1"'"}' | id; }
call POST "data-rights/holds/$(hold "case 12")/lift" officer '{"reason":"case closed"}' >/dev/null
hold "case 13" >/dev/null

lindi=$(register "Lindi Gone" lindi@example.org)
signIn lindi lindi@example.org CPT
consent lindi sms_alert true >/dev/null
call POST "data-rights/requests/$(request lindi erasure)/fulfil" admin '{}' >/dev/null
anna=$(register "Anna Gone" anna@example.org)
signIn anna anna@example.org CPT
consent anna newsletter true >/dev/null
certificate=$(call DELETE data-rights/delete-account anna \
	'{"confirmation":"DELETE MY ACCOUNT","password":"'"$password"'"}' | jq -r .certificate_id)

# ---- staff read ----

until followed; do sleep 0.2; done
call GET "users?email=nomsa.nkosi@example.org" officer >/dev/null
call GET "users/$nomsa" officer >/dev/null
call GET "consents?subject_id=$nomsa" officer >/dev/null
call GET "compliance/subjects/$nomsa/history" officer >/dev/null
call GET "compliance/consents?purpose=sms_alert" officer >/dev/null
"$trust" replay --tenant CPT --subject "$nomsa" --reveal --reason "complaint 2026/114" >/dev/null

# ---- read tables that were rebuilt: their live version is no longer the first ----

until followed; do sleep 0.2; done
"$trust" rebuild users consents
"$trust" rebuild consents --drop-kept # users keeps what it had
"$trust" verify

# ---- the dump ----

until followed; do sleep 0.2; done
position=$("$trust" status --json | jq .head)
taken=$(date -u +%Y-%m-%dT%H:%M:%S.%NZ)

# Without what only psql reads (\restrict) and the name of the superuser, who owns the public schema's version table.
pg_dump --inserts --rows-per-insert=200 "$DATABASE_URL" | grep -v -e '^\\' -e 'OWNER TO postgres;$' | gzip -9n >"$here/system.sql.gz"
pg_dumpall --roles-only --no-role-passwords --dbname="$DATABASE_URL" |
	sed -nE 's/^ALTER (ROLE trust_)/CREATE \1/p; s/^(GRANT trust_.*) GRANTED BY .*/\1;/p' >"$here/roles.sql"
{
	echo "# The keys of the system in system.sql.gz. All its people are made up: nothing here is a secret."
	for name in SECRET_KEY MASTER_KEY ADMIN_EMAIL ADMIN_PASSWORD; do printf '%s=%s\n' $name "${!name}"; done
} >"$here/system.env"

echo "events that are not in the dump:"
psql -qAt "$DATABASE_URL" -c "select distinct event_type from trust.events" | sort >have
grep -o '"[a-z_.]*\.v1"' "$old/domain/registry.go" | tr -d '"' | sort | comm -23 - have

# ---- what is asked of the old program, and must be answered alike by every later one ----

signIn salga "$ADMIN_EMAIL" SALGA "$ADMIN_PASSWORD"
signIn admin admin@example.org CPT
signIn officer officer@example.org CPT
signIn nomsa nomsa.nkosi@example.org CPT "another good password"
: >commands >questions

# prints ARG... : what a command prints
prints() {
	"$trust" "$@" 2>/dev/null >out
	jq -nc --rawfile out out '{args: $ARGS.positional, stdout: $out}' --args -- "$@" >>commands
}
# ask WHO PATH : a query's answer as JSON
ask() {
	call GET "$2" "$1" >out
	jq -nc --arg who "$1" --arg path "$2" --slurpfile a out '{as: $who, path: $path, answer: $a[0]}' >>questions
}
# bytes WHO PATH : a document, byte for byte
bytes() {
	call GET "$2" "$1" >out
	jq -nc --arg who "$1" --arg path "$2" --arg sum "$(sha256sum <out | cut -c1-64)" --argjson n "$(wc -c <out)" \
		'{as: $who, path: $path, sha256: $sum, bytes: $n}' >>questions
}
# pages WHO PATH : how many pages and items a list has
pages() {
	local next="" pages=0 items=0
	while :; do
		call GET "$2&after=$next" "$1" >out
		pages=$((pages + 1)) items=$((items + $(jq '.items | length' out)))
		next=$(jq -r '.next // ""' out)
		[ -n "$next" ] || break
	done
	jq -nc --arg who "$1" --arg path "$2" --argjson p $pages --argjson i $items '{as: $who, path: $path, pages: $p, items: $i}' >>questions
}
# refusal PATH BODY : the status that somebody is refused with
refusal() {
	local status
	status=$(curl -sS -o /dev/null -w '%{http_code}' -H 'Content-Type: application/json' --data-binary "$2" "$api/$1")
	jq -nc --arg path "$1" --argjson body "$2" --argjson s "$status" '{path: $path, body: $body, status: $s}' >>questions
}
noEntry() { refusal auth/login "$(jq -nc --arg e "$1" --arg m "$2" --arg p "${3:-$password}" '{email: $e, password: $p, municipality_code: $m}')"; }

# First what shows who has looked: the staff's questions below would be among it.
ask nomsa data-rights/my-data
ask nomsa users/me
ask nomsa consents?limit=100
ask nomsa "consents/$sms"
ask nomsa data-rights/subject
granted_at=$(jq -r .recorded_at <<<"$agreed")
yesterday=$(date -u -d '1 day ago' +%Y-%m-%dT%H:%M:%SZ)
ask nomsa "consents/check?purpose=sms_alert&at=$granted_at"
ask nomsa "consents/check?purpose=sms_alert&at=$taken"
ask nomsa "consents/check?purpose=newsletter&at=$yesterday&known_at=$taken"
ask nomsa "consents/check?purpose=newsletter&at=$yesterday&known_at=$yesterday"
ask nomsa "consents/check?purpose=old_survey&at=$taken"
ask nomsa "consents/check?purpose=child_programme&at=$taken"

ask "" municipalities?limit=100
ask "" municipalities/TST2
ask "" purposes?municipality_code=CPT
ask "" "data-rights/certificates/$certificate"

ask officer users?limit=100
ask officer "users/$nomsa"
ask officer "data-rights/subject?subject_id=$nomsa"
for status in open fulfilled refused; do ask officer "data-rights/requests?status=$status"; done
for person in "$nomsa" "$lindi" "$anna"; do ask officer "compliance/subjects/$person/history"; done
for format in json csv ndjson; do
	bytes officer "compliance/consents?format=$format&position=$position&as_of=$taken"
	bytes officer "compliance/consents?format=$format&position=$position&as_of=$granted_at&purpose=sms_alert"
done
ask officer "compliance/exposure?subject_id=$nomsa&limit=100&to=$taken"

ask admin "audit-logs?limit=100&to=$taken"
pages admin "audit-logs?limit=20&to=$taken"
pages admin "audit-logs?limit=20&to=$taken&table_name=consents"
cpt=$(call GET municipalities/CPT "" | id)
ask salga "audit-logs?limit=20&to=$taken&tenant_id=$cpt&operation=DELETE"
pages salga "audit-logs?limit=100&to=$taken"

noEntry nomsa@example.org CPT
noEntry nomsa.nkosi@example.org CPT
noEntry closed@example.org CPT
noEntry admin@example.org TST2
noEntry lindi@example.org CPT
noEntry anna@example.org CPT

# The same request once more: it is found in the log.
consent nomsa sms_alert true '{}' "$key" >out
jq -nc --slurpfile a out '{as: "nomsa", path: "consents", key: "sms, yes",
	body: {purpose: "sms_alert", language: "zu", consented: true}, answer: $a[0]}' >>questions

for format in table csv ndjson; do prints replay --tenant CPT --position "$position" --format $format; done
prints replay --tenant CPT --subject "$nomsa" --as-of "$yesterday" --position "$position"
prints replay --tenant CPT --subject "$nomsa" --as-of "$yesterday" --known-at "$yesterday"

people=$(jq -nc --arg e "$ADMIN_EMAIL" --arg p "$ADMIN_PASSWORD" --arg w "$password" '{
	salga: {email: $e, password: $p, municipality_code: "SALGA"},
	admin: {email: "admin@example.org", password: $w, municipality_code: "CPT"},
	officer: {email: "officer@example.org", password: $w, municipality_code: "CPT"},
	nomsa: {email: "nomsa.nkosi@example.org", password: "another good password", municipality_code: "CPT"}}')
{ # one question a line, so that a difference can be read
	printf '{"position": %s,\n"people": %s,\n"questions": [\n' "$position" "$people"
	sed '$!s/$/,/' questions
	printf '],\n"commands": [\n'
	sed '$!s/$/,/' commands
	printf ']}\n'
} >"$here/expected.json"
jq -e . "$here/expected.json" >/dev/null
ls -l "$here"
