// Drives @event-driven-io/emmett-postgresql as the Go contenders drive theirs, and prints
// one sample as JSON. Its one argument is the work as JSON: {work, url, callers, seconds,
// connections, events, page, writesASecond}. ../emmett.go runs it.

import { randomUUID } from 'node:crypto';
import { performance } from 'node:perf_hooks';

import { dumbo } from '@event-driven-io/dumbo';
import { getPostgreSQLEventStore, readMessagesBatch } from '@event-driven-io/emmett-postgresql';
import pg from 'pg';

const p = JSON.parse(process.argv[2]);
const type = 'consent.granted.v1';

const granted = () => ({
  type,
  data: {
    consent_id: randomUUID(),
    purpose: 'sms_alert',
    notice_version: 1,
    wording: 'To send you SMS alerts about water and electricity interruptions.',
    sha256: '2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881',
    language: 'en',
    channel: 'web',
    recorded_by: 'self',
    given_by: 'self',
    basis: 'consent',
  },
});

const now = () => performance.now() / 1000;

function percentiles(took) {
  if (took.length === 0) return { p50_ms: 0, p99_ms: 0 };
  const sorted = took.toSorted((a, b) => a - b);
  const at = (share) => sorted[Math.floor(sorted.length * share)] * 1000;
  return { p50_ms: at(0.5), p99_ms: at(0.99) };
}

// A pool of its own, because the store's default has 10 connections.
const pool = new pg.Pool({ connectionString: p.url, max: Math.max(2, Math.min(p.callers, p.connections)) });
const open = (autoMigration = 'None') =>
  getPostgreSQLEventStore(p.url, { schema: { autoMigration }, connectionOptions: { connectionString: p.url, pool } });

// The expected version is 0, that of a missing stream: STREAM_DOES_NOT_EXIST would check
// nothing.
const append = (store, id = randomUUID()) =>
  store.appendToStream(`consent-${id}`, [granted()], { expectedStreamVersion: 0n });

const works = {
  async setUp() {
    const store = open('CreateOrUpdate');
    await store.schema.migrate();
    await store.close();
    return { events: 0, seconds: 0, p50_ms: 0, p99_ms: 0, wrote: 0 };
  },

  async append() {
    const store = open();
    const callers = Array.from({ length: p.callers });
    await Promise.all(callers.map(() => append(store)));

    const took = [];
    const began = now();
    await Promise.all(
      callers.map(async () => {
        while (now() - began < p.seconds) {
          const before = now();
          await append(store);
          took.push(now() - before);
        }
      }),
    );
    const seconds = now() - began;
    return { events: took.length, seconds, ...percentiles(took), wrote: p.callers + took.length };
  },

  async read() {
    const reader = dumbo({ connectionString: p.url, pool });
    await pool.query('select 1'); // so that the clock does not pay for the connection
    const began = now();
    let events = 0;
    let after = 0n;
    while (events < p.events && now() - began < p.seconds) {
      const { messages, currentGlobalPosition } = await readMessagesBatch(reader.execute, { after, batchSize: p.page });
      if (messages.length === 0) throw new Error(`only ${events} events are there`);
      events += messages.length;
      after = currentGlobalPosition;
    }
    return { events, seconds: now() - began, p50_ms: 0, p99_ms: 0, wrote: events };
  },

  async project() {
    const store = open();
    const consumer = store.consumer({ pulling: { batchSize: p.page, pullingFrequencyInMs: 1 } });
    let events = 0;
    let began;
    const done = new Promise((resolve) => {
      consumer.reactor({
        processorId: `bench-${randomUUID()}`,
        startFrom: 'BEGINNING',
        eachMessage: async ({ data: e, metadata }, { connection }) => {
          const client = await connection.transaction.connection.open();
          await client.query({
            name: 'upsert',
            text: `insert into consents (id, subject_id, purpose, notice_version, wording, sha256, language, channel, recorded_at, position)
              values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
              on conflict (id) do update set purpose = excluded.purpose, position = excluded.position`,
            values: [
              e.consent_id, metadata.streamName.slice('consent-'.length), e.purpose, e.notice_version, e.wording, e.sha256,
              e.language, e.channel, new Date(), metadata.globalPosition.toString(),
            ],
          });
          events++;
          if (events >= p.events || now() - began > p.seconds) {
            resolve();
            return { type: 'STOP' };
          }
        },
      });
    });
    await pool.query('truncate consents'); // which opens a connection too
    began = now();
    const running = consumer.start();
    await done;
    await running; // the page's transaction has committed
    const seconds = now() - began;
    return { events, seconds, p50_ms: 0, p99_ms: 0, wrote: events };
  },

  async visible() {
    const store = open();
    const started = new Map();
    const took = [];
    let follows = false;
    const consumer = store.consumer(); // pages of 100, polled every 50 ms to 1 s: its defaults
    consumer.reactor({
      processorId: `bench-${randomUUID()}`,
      startFrom: 'END',
      eachMessage: ({ metadata }) => {
        follows = true;
        const before = started.get(metadata.streamName);
        if (before === undefined) return;
        started.delete(metadata.streamName);
        took.push(now() - before);
      },
    });
    const running = consumer.start();
    while (!follows) { // the end that it starts from is the one of when it looks
      await append(store);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }

    const began = now();
    let events = 0;
    for (let next = began; now() - began < p.seconds; next += 1 / p.writesASecond) {
      let from = next; // when it was due, if the one before has made it late
      if (next > now()) {
        await new Promise((resolve) => setTimeout(resolve, (next - now()) * 1000));
        from = now();
      }
      const id = randomUUID();
      started.set(`consent-${id}`, from);
      await append(store, id);
      events++;
    }
    const seconds = now() - began;
    while (started.size > 0 && now() - began < p.seconds + 10) await new Promise((resolve) => setTimeout(resolve, 5));
    if (started.size > 0) throw new Error(`${started.size} events never arrived`);
    await consumer.stop();
    await running;
    return { events, seconds, ...percentiles(took), wrote: took.length };
  },
};

const sample = await works[p.work]();
process.stdout.write(JSON.stringify(sample));
process.exit(0); // whatever still holds a connection
