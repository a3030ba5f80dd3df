package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
)

// emmett is @event-driven-io/emmett-postgresql in Node, its own language, driven by
// driver/emmett.mjs.
func emmett() contender {
	return contender{
		name: "Emmett", npm: true,
		about: "in one process of Node: appendToStream with expected version 0; read by readMessagesBatch in pages " +
			"of 5 000; projected by a reactor of pages of 1 000 with an upsert for each, in its transaction; " +
			"polling every 50 ms to 1 s, its defaults",
		setUp: func(ctx context.Context, e *env, database string) error {
			if _, err := drivenByNode("setUp")(ctx, e, database, params{callers: 1}); err != nil {
				return err
			}
			return e.server.exec(ctx, database, readTable)
		},
		append: drivenByNode("append"), appended: "select count(*) from emt_messages where stream_position = 1",
		fill: fillEmmett, read: drivenByNode("read"),
		project: drivenByNode("project"), projected: countConsents,
		visible: drivenByNode("visible"),
	}
}

// drivenByNode runs a work in a child process, which measures with its own clock once it
// is ready.
func drivenByNode(work string) run {
	return func(ctx context.Context, e *env, database string, p params) (s sample, err error) {
		page := readPage
		if work == "project" {
			page = projectPage
		}
		asked, err := json.Marshal(map[string]any{
			"work": work, "url": e.server.url(database, ""), "callers": p.callers, "seconds": p.howLong.Seconds(),
			"connections": e.connections, "events": p.events, "page": page, "writesASecond": writesASecond,
		})
		if err != nil {
			return sample{}, err
		}

		cmd := exec.CommandContext(ctx, "node", "emmett.mjs", string(asked))
		cmd.Dir = e.modules
		var out, said bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &said
		if err := cmd.Run(); err != nil {
			return sample{}, fmt.Errorf("%s in Node: %w: %s", work, err, complaint(said.String()))
		}
		return s, json.Unmarshal(out.Bytes(), &s)
	}
}

// complaint returns the line of Node's output that names the error; other lines name
// files of this machine.
func complaint(said string) string {
	for line := range strings.Lines(said) {
		if name, _, found := strings.Cut(line, ":"); found && strings.HasSuffix(strings.ToLower(name), "error") {
			return strings.TrimSpace(line)
		}
	}
	return "it says no more"
}

func fillEmmett(ctx context.Context, e *env, database string, events int) error {
	payload, err := encoded()
	if err != nil {
		return err
	}
	return e.server.exec(ctx, database, fmt.Sprintf(`insert into emt_messages
			(stream_position, transaction_id, stream_id, message_schema_version, message_id, message_type, message_data,
			message_metadata)
		select 1, pg_current_xact_id(), 'consent-' || gen_random_uuid(), '1', gen_random_uuid()::text, '%s',
			replace('%s', '%s', gen_random_uuid()::text)::jsonb, '{}'
		from generate_series(1, %d)`, eventType, payload, consentIn(payload), events), "vacuum analyze emt_messages")
}
