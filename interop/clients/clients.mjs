// Checks the embedded broker with Google's Pub/Sub client for Node.
//
// It runs `buffetctl pubsub` in a directory of its own, stops and kills it, and
// asks for what Google documents of the service. Each check is a line, ok or FAIL;
// the exit code is 1 if one failed. clients.py does the same with Python's client.
//
//   node clients.mjs DIRECTORY_WITH_BUFFETCTL

import {spawn} from 'node:child_process';
import {randomBytes} from 'node:crypto';
import {mkdtempSync, openSync, readFileSync, rmSync} from 'node:fs';
import {createRequire} from 'node:module';
import net from 'node:net';
import {tmpdir} from 'node:os';
import path from 'node:path';
import {isDeepStrictEqual} from 'node:util';

import {PubSub, v1} from '@google-cloud/pubsub';

const PROJECT = 'interop';
const PATIENCE = 15_000; // milliseconds that anything may take
const STATUS = {3: 'INVALID_ARGUMENT', 4: 'DEADLINE_EXCEEDED', 5: 'NOT_FOUND', 6: 'ALREADY_EXISTS', 9: 'FAILED_PRECONDITION', 14: 'UNAVAILABLE'};

const report = {checks: 0, failed: 0};

function expect(promise, got, want) {
  report.checks++;
  if (isDeepStrictEqual(got, want)) return console.log(`ok    node: ${promise}`);
  report.failed++;
  console.log(`FAIL  node: ${promise}: expected ${short(want)}, got ${short(got)}`);
}

function short(v) {
  const s = v instanceof Error ? v.stack : JSON.stringify(v) ?? String(v);
  return s.length < 300 ? s : s.slice(0, 300) + '...';
}

const sleep = ms => new Promise(resolve => setTimeout(resolve, ms));

// within gives what promise does, or late when it takes too long.
function within(promise, ms, late) {
  let timer;
  return Promise.race([promise, new Promise(resolve => (timer = setTimeout(() => resolve(late), ms)))]).finally(() => clearTimeout(timer));
}

// A Broker is buffetctl pubsub, which can be stopped and started on the same directory.
class Broker {
  constructor(bin) {
    this.program = path.resolve(bin, 'buffetctl');
    this.directory = mkdtempSync(path.join(tmpdir(), 'clients-'));
    this.log = path.join(this.directory, 'broker.log');
  }

  async start() {
    this.port ??= await new Promise(resolve => {
      const s = net.createServer().listen(0, '127.0.0.1', () => {
        const {port} = s.address();
        s.close(() => resolve(port));
      });
    });
    const out = openSync(this.log, 'a');
    this.process = spawn(this.program, ['pubsub', '--addr', `127.0.0.1:${this.port}`, '--dir', path.join(this.directory, 'pubsub')], {stdio: ['ignore', out, out]});
    this.ended = new Promise(resolve => this.process.once('error', resolve).once('exit', (code, signal) => resolve(signal ?? code)));
    for (const deadline = Date.now() + PATIENCE; !(await this.answers()); await sleep(50)) {
      if (Date.now() > deadline || this.process.exitCode !== null) throw new Error(`buffetctl pubsub does not answer: ${readFileSync(this.log)}`);
    }
  }

  answers() {
    return new Promise(resolve => {
      const s = net.connect(this.port, '127.0.0.1', () => resolve(true)).on('error', () => resolve(false));
      s.on('connect', () => s.destroy());
    });
  }

  // end sends the signal and gives the exit code, or the signal that ended it.
  async end(signal) {
    this.process.kill(signal);
    return within(this.ended, PATIENCE, 'still running');
  }
}

let pubsub, low, lowPublisher; // low is beneath the clients that stream and batch

async function pair(name, settings = {}, ordered = false) {
  const [topic] = await pubsub.createTopic(name);
  if (ordered) topic.setPublishOptions({messageOrdering: true});
  const [sub] = await topic.createSubscription(name + '-sub', settings);
  return [topic, sub];
}

const publish = (topic, ...data) => Promise.all(data.map(d => topic.publishMessage({data: Buffer.from(d)})));
const text = messages => messages.map(m => m.data.toString()).sort();
const numbers = n => Array.from({length: n}, (_, i) => String(i).padStart(4, '0'));

// stream hands messages to handle until it has been true n times, waits for
// after ms more, and gives those for which it was true.
async function stream({name}, n, handle = acked, after = 0) {
  const sub = pubsub.subscription(name);
  const got = [];
  let error;
  await within(new Promise(resolve => {
    sub.on('message', async m => {
      if (!(await handle(m))) return;
      got.push(m);
      if (got.length === n) resolve();
    });
    sub.on('error', e => { error = e; resolve(); });
  }), PATIENCE);
  await sleep(after);
  await sub.close();
  if (error) throw error;
  return got;
}

function acked(m) {
  m.ack();
  return true;
}

// more is what a subscription has now, without waiting.
async function more(sub) {
  const [r] = await low.pull({subscription: sub.name, maxMessages: 1000, returnImmediately: true});
  return text(r.receivedMessages.map(m => m.message));
}

// pull gives n messages, or those that came in time.
async function pull(sub, n) {
  const got = [];
  for (const deadline = Date.now() + PATIENCE; got.length < n && Date.now() < deadline;) {
    const [r] = await low.pull({subscription: sub.name, maxMessages: n - got.length, returnImmediately: true});
    got.push(...r.receivedMessages);
    if (got.length < n) await sleep(20);
  }
  return got;
}

const deadline = (sub, messages, seconds) =>
  low.modifyAckDeadline({subscription: sub.name, ackIds: messages.map(m => m.ackId), ackDeadlineSeconds: seconds});
const ack = (sub, messages) => low.acknowledge({subscription: sub.name, ackIds: messages.map(m => m.ackId)});

async function code(call) {
  try {
    const r = await within(call(), PATIENCE, 'nothing');
    return r === 'nothing' ? 'no answer' : 'OK';
  } catch (e) {
    return STATUS[e.code] ?? e;
  }
}

async function settings() {
  const [dead] = await pubsub.createTopic('settings-dead');
  const [, sub] = await pair('settings', {
    filter: 'attributes.kind = "x"', enableMessageOrdering: true, ackDeadlineSeconds: 30, retainAckedMessages: true,
    deadLetterPolicy: {deadLetterTopic: dead.name, maxDeliveryAttempts: 5}, enableExactlyOnceDelivery: true,
    retryPolicy: {minimumBackoff: {seconds: 1}, maximumBackoff: {seconds: 7}},
  });
  const [s] = await sub.getMetadata();
  expect('a subscription keeps what it was created with',
    [s.filter, s.enableMessageOrdering, s.ackDeadlineSeconds, s.retainAckedMessages, s.deadLetterPolicy, s.enableExactlyOnceDelivery,
      Number(s.retryPolicy.minimumBackoff.seconds), Number(s.retryPolicy.maximumBackoff.seconds)].map(v => JSON.stringify(v)),
    ['attributes.kind = "x"', true, 30, true, {deadLetterTopic: dead.name, maxDeliveryAttempts: 5}, true, 1, 7].map(v => JSON.stringify(v)));
  const [changed] = await sub.setMetadata({ackDeadlineSeconds: 40});
  expect('an update changes what its mask names', [changed.ackDeadlineSeconds, changed.filter], [40, 'attributes.kind = "x"']);
}

async function publishing() {
  const [topic, sub] = await pair('publishing');
  const id = await topic.publishMessage({data: Buffer.from('one'), attributes: {a: '1', b: 'Größe'}});
  const [m] = await stream(sub, 1);
  expect('a message arrives with data, attributes and id', [m?.data.toString(), {...m?.attributes}, m?.id], ['one', {a: '1', b: 'Größe'}, id]);
  expect('its publish time is now', Math.abs(Date.now() - m?.publishTime.getTime()) < 60_000, true);
  const want = numbers(1000);
  const ids = await publish(topic, ...want);
  expect('1,000 messages have 1,000 ids', new Set(ids).size, 1000);
  expect('1,000 messages arrive by streaming pull', text(await stream(sub, 1000)), want);
  expect('acks on the stream count', await more(sub), []);
  const [batch] = await lowPublisher.publish({topic: topic.name, messages: numbers(10).map(d => ({data: Buffer.from(d)}))});
  expect('a batch of 10 gets 10 ids, growing', batch.messageIds, [...batch.messageIds].sort((a, b) => Number(BigInt(a) - BigInt(b))).slice(0, 10));
  expect('and arrives', text(await stream(sub, 10)), numbers(10));
  const big = randomBytes(5 << 20);
  await topic.publishMessage({data: big});
  expect('a message of 5 MiB arrives unchanged', (await stream(sub, 1)).map(m => m.data.equals(big)), [true]);
  let deliveries = 0;
  await publish(topic, 'again');
  const again = await stream(sub, 1, m => (++deliveries === 1 ? (m.nack(), false) : acked(m)));
  expect('a message nacked on the stream comes again', [text(again), deliveries], [['again'], 2]);
}

async function deadlines() {
  const [topic, sub] = await pair('deadlines');
  await publish(topic, 'm');
  const first = await pull(sub, 1);
  expect('a message with a client is not given to another', await more(sub), []);
  await deadline(sub, first, 1);
  const started = Date.now();
  const again = await pull(sub, 1);
  const took = Date.now() - started;
  expect('a deadline set to 1 s passes after 1 s', [text(again.map(m => m.message)), took > 800 && took < 4000], [['m'], true]);
  await deadline(sub, again, 1);
  await deadline(sub, again, 60);
  await sleep(1500);
  expect('a deadline that was extended does not', await more(sub), []);
}

async function ordering() {
  const [topic, sub] = await pair('ordering', {enableMessageOrdering: true}, true);
  const want = {'key-0': [], 'key-1': [], 'key-2': [], 'key-3': []};
  await Promise.all(numbers(200).map((d, i) => {
    want[`key-${i % 4}`].push(d);
    return topic.publishMessage({data: Buffer.from(d), orderingKey: `key-${i % 4}`});
  }));
  const seen = {}, nacked = new Set();
  await stream(sub, 200, m => {
    const d = m.data.toString();
    (seen[m.orderingKey] ??= []).push(d);
    if ((d === '0000' || d === '0101') && !nacked.has(d)) { // the first of a key, and one amid
      nacked.add(d);
      m.nack();
      return false;
    }
    return acked(m);
  });
  const sorted = Object.keys(seen).sort();
  expect('every message of every key comes', Object.fromEntries(sorted.map(k => [k, [...new Set(seen[k])].sort()])), want);
  // The client hands on what it already holds of a key before the nacked message is back.
  expect('messages of a key come in order, from the nacked one again', Object.fromEntries(sorted.map(k => [k, seen[k].filter((d, i, all) => i && d <= all[i - 1])])),
    {'key-0': ['0000'], 'key-1': ['0101'], 'key-2': [], 'key-3': []});

  const [following, sub3] = await pair('following', {enableMessageOrdering: true}, true);
  await Promise.all(['1', '2', '3'].map(d => following.publishMessage({data: Buffer.from(d), orderingKey: 'key'})));
  const first = await pull(sub3, 3);
  await deadline(sub3, first.slice(0, 1), 0);
  const again = await pull(sub3, 3);
  expect('a nacked message brings those that follow it in its key', [first, again].map(x => x.map(m => m.message.data.toString())), [['1', '2', '3'], ['1', '2', '3']]);
}

async function filters() {
  const [topic, sub] = await pair('filters', {filter: 'attributes.kind = "x" AND hasPrefix(attributes.name, "ab") AND NOT attributes:hidden'});
  for (const [d, attributes] of [['1', {kind: 'x', name: 'abc'}], ['2', {kind: 'y', name: 'abc'}], ['3', {kind: 'x', name: 'bc'}],
    ['4', {kind: 'x', name: 'ab', hidden: ''}], ['5', {kind: 'x'}], ['6', {kind: 'x', name: 'ab'}]]) {
    await topic.publishMessage({data: Buffer.from(d), attributes});
  }
  expect('a filter lets through what matches, and nothing else', text(await stream(sub, 2, acked, 300)), ['1', '6']);
}

async function retries() {
  const [topic, sub] = await pair('retries', {retryPolicy: {minimumBackoff: {seconds: 1}, maximumBackoff: {seconds: 2}}});
  await publish(topic, 'm');
  const times = [];
  await stream(sub, 1, m => (times.push(Date.now()) === 1 ? (m.nack(), false) : acked(m)));
  expect('a retry policy of 1 s delays a nacked message by 1 s', [times.length, times[1] - times[0] > 800 && times[1] - times[0] < 4000], [2, true]);
}

async function seeking() {
  let [topic, sub] = await pair('seeking', {retainAckedMessages: true});
  await publish(topic, 'a');
  // The client seeks to whole seconds: what follows is published in another one.
  const between = new Date(Math.ceil((Date.now() + 20) / 1000) * 1000);
  await sleep(between - Date.now() + 20);
  await publish(topic, 'b', 'c');
  await stream(sub, 3, acked, 200);
  expect('nothing is left before the seek to a time', await more(sub), []);
  await sub.seek(between);
  expect('a seek to a time brings what was published since, though acknowledged, and nothing before', text(await stream(sub, 2, acked, 200)), ['b', 'c']);

  [topic, sub] = await pair('snapshot');
  await publish(topic, 'a', 'b');
  const both = await pull(sub, 2);
  await ack(sub, both.filter(m => m.message.data.toString() === 'a'));
  const [snapshot] = await sub.createSnapshot('snapshot-one');
  await publish(topic, 'c');
  await ack(sub, [...both.filter(m => m.message.data.toString() === 'b'), ...(await pull(sub, 1))]);
  expect('nothing is left before the seek to a snapshot', await more(sub), []);
  await sub.seek('snapshot-one');
  expect('a seek to a snapshot brings what was unacknowledged then and what came since', text(await stream(sub, 2, acked, 200)), ['b', 'c']);
  const [listed] = await pubsub.getSnapshots();
  await snapshot.delete();
  expect('a snapshot is listed, and deleted', [listed.map(s => s.name), (await pubsub.getSnapshots())[0]], [[snapshot.name], []]);
}

async function deadLetters() {
  const [dead, letters] = await pair('dead');
  const [topic, sub] = await pair('alive', {deadLetterPolicy: {deadLetterTopic: dead.name, maxDeliveryAttempts: 5}});
  await topic.publishMessage({data: Buffer.from('poison'), attributes: {mine: 'kept'}});
  const attempts = [];
  let published;
  await stream(sub, 5, m => {
    attempts.push(m.deliveryAttempt);
    published = m.publishTime;
    m.nack();
    return true;
  }, 200);
  expect('delivery attempts are counted from 1 to 5', attempts, [1, 2, 3, 4, 5]);
  const got = await stream(letters, 1, acked, 200);
  expect('a nacked message is dead-lettered after 5 attempts, once', [text(got), await more(sub)], [['poison'], []]);
  const {CloudPubSubDeadLetterSourceTopicPublishTime: when, ...rest} = got[0]?.attributes ?? {};
  expect('a dead letter says where it comes from', rest, {mine: 'kept', CloudPubSubDeadLetterSourceDeliveryCount: '5',
    CloudPubSubDeadLetterSourceSubscription: 'alive-sub', CloudPubSubDeadLetterSourceSubscriptionProject: PROJECT});
  expect('and when it was published', Math.abs(new Date(when) - published) < 2, true);
}

async function exactlyOnce() {
  const [topic, sub] = await pair('once', {enableExactlyOnceDelivery: true});
  await publish(topic, ...numbers(50));
  const answers = [];
  const got = await stream(sub, 50, async m => (answers.push(await m.ackWithResponse()), true), 200);
  expect('acks on a stream with exactly-once delivery are confirmed', [...new Set(answers)], ['SUCCESS']);
  expect('no message comes twice', [got.length, new Set(got.map(m => m.id)).size, await more(sub)], [50, 50, []]);
  await publish(topic, 'late');
  const late = await pull(sub, 1);
  await deadline(sub, late, 1);
  const again = await pull(sub, 1);
  expect('an ack after the deadline is refused', await code(() => ack(sub, late)), 'INVALID_ARGUMENT');
  expect('and the message came again', [text(again.map(m => m.message)), await code(() => ack(sub, again))], [['late'], 'OK']);
}

async function errors() {
  const [topic, sub] = await pair('errors');
  const missing = pubsub.topic('missing');
  for (const [what, want, call] of [
    ['getting a missing topic', 'NOT_FOUND', () => missing.getMetadata()],
    ['publishing to a missing topic', 'NOT_FOUND', () => publish(missing, 'm')],
    ['deleting a missing topic', 'NOT_FOUND', () => missing.delete()],
    ['subscribing to a missing topic', 'NOT_FOUND', () => missing.createSubscription('errors-two')],
    ['streaming from a missing subscription', 'NOT_FOUND', () => stream(pubsub.subscription('absent'), 1)],
    ['creating a topic twice', 'ALREADY_EXISTS', () => pubsub.createTopic('errors')],
    ['creating a subscription twice', 'ALREADY_EXISTS', () => topic.createSubscription('errors-sub')],
    ['an ack deadline of 9 s', 'INVALID_ARGUMENT', () => topic.createSubscription('errors-nine', {ackDeadlineSeconds: 9})],
    ['a filter that cannot be read', 'INVALID_ARGUMENT', () => topic.createSubscription('errors-filter', {filter: 'kind is x'})],
    ['an empty message', 'INVALID_ARGUMENT', () => publish(topic, '')],
    ['a message above 10 MB', 'INVALID_ARGUMENT', () => topic.publishMessage({data: Buffer.alloc(10_000_001)})],
    ['an attribute above 1,024 bytes', 'INVALID_ARGUMENT', () => topic.publishMessage({data: Buffer.from('m'), attributes: {a: 'x'.repeat(1025)}})],
    ['1,001 messages a request', 'INVALID_ARGUMENT', () => lowPublisher.publish({topic: topic.name, messages: numbers(1001).map(d => ({data: Buffer.from(d)}))})],
  ]) {
    expect(`${what} is ${want}`, await code(call), want);
  }
  expect('and leaves nothing', await more(sub), []);
}

async function listing() {
  const [topic, sub] = await pair('listing');
  const names = async list => (await list)[0].map(x => x.name);
  expect('a topic lists its subscriptions', await names(topic.getSubscriptions()), [sub.name]);
  const topics = [];
  let pages = 0;
  for (let query = {pageSize: 3, gaxOpts: {autoPaginate: false}}; query; pages++) {
    const [page, next] = await pubsub.getTopics(query);
    topics.push(...page.map(t => t.name));
    query = next;
  }
  expect('topics are listed, in pages, each once', [topics.includes(topic.name), pages, new Set(topics).size], [true, Math.ceil(topics.length / 3), topics.length]);
  expect('subscriptions are listed', (await names(pubsub.getSubscriptions())).includes(sub.name), true);
  await publish(topic, 'stays');
  await topic.delete();
  expect('a deleted topic is not listed', (await names(pubsub.getTopics())).includes(topic.name), false);
  expect('its subscription names _deleted-topic_', (await sub.getMetadata())[0].topic, '_deleted-topic_');
  expect('and still has its messages', text(await stream(sub, 1)), ['stays']);
  await sub.delete();
  expect('a deleted subscription is not listed', (await names(pubsub.getSubscriptions())).includes(sub.name), false);
  expect('and is NOT_FOUND', await code(() => sub.getMetadata()), 'NOT_FOUND');
}

async function restarts(broker) {
  const [topic, sub] = await pair('restarts', {enableExactlyOnceDelivery: true, retainAckedMessages: true});
  const [openTopic, openSub] = await pair('through');
  const through = new Set();
  openSub.on('message', m => (through.add(m.data.toString()), m.ack()));
  openSub.on('error', e => through.add(String(e)));
  let waiting = await publish(topic, ...numbers(100));
  const topics = async () => (await pubsub.getTopics())[0].map(t => t.name).sort();
  const before = await topics();
  for (const [what, signal, end] of [['SIGTERM', 'SIGTERM', 0], ['kill -9', 'SIGKILL', 'SIGKILL']]) {
    await publish(openTopic, 'before ' + what);
    const got = await pull(sub, 40);
    await ack(sub, got);
    const done = new Set(got.map(m => m.message.messageId));
    waiting = waiting.filter(id => !done.has(id));
    waiting.push(...(await publish(topic, 'last before ' + what)));
    const held = await pull(sub, 10); // with a client, not acknowledged
    expect(`${what} ends the broker`, await broker.end(signal), end);
    await broker.start();
    expect(`after ${what} topics are there`, await topics(), before);
    expect(`after ${what} a subscription has its settings`, (await sub.getMetadata())[0].retainAckedMessages, true);
    const all = await pull(sub, waiting.length);
    expect(`after ${what} unacknowledged messages are there, acknowledged ones are not`,
      [all.map(m => m.message.messageId).sort(), await more(sub), held.length], [[...waiting].sort(), [], 10]);
    await deadline(sub, all, 0);
  }
  await publish(openTopic, 'after');
  for (const end = Date.now() + PATIENCE; through.size < 3 && Date.now() < end;) await sleep(20);
  await openSub.close();
  expect('a stream that was open goes on after both', [...through].sort(), ['after', 'before SIGTERM', 'before kill -9']);
}

async function main() {
  const started = Date.now();
  const broker = new Broker(process.argv[2] ?? 'bin');
  try {
    await broker.start();
    process.env.METADATA_SERVER_DETECTION = 'none'; // nobody is asked for credentials
    process.env.PUBSUB_EMULATOR_HOST = `127.0.0.1:${broker.port}`;
    pubsub = new PubSub({projectId: PROJECT});
    const options = await pubsub.getClientConfig();
    low = new v1.SubscriberClient(options);
    lowPublisher = new v1.PublisherClient(options);
    for (const part of [settings, publishing, deadlines, ordering, filters, retries, seeking, deadLetters, exactlyOnce, errors, listing, restarts]) {
      await part(broker).catch(e => expect(`${part.name} runs to its end`, e, 'no error'));
    }
  } finally {
    if (broker.process?.exitCode === null) await broker.end('SIGKILL');
    rmSync(broker.directory, {recursive: true, force: true});
  }
  const {version} = createRequire(import.meta.url)('@google-cloud/pubsub/package.json');
  console.log(`node: ${report.checks} checks, ${report.failed} failed, ${((Date.now() - started) / 1000).toFixed(1)} s; @google-cloud/pubsub ${version}, Node ${process.versions.node}`);
  process.exit(report.failed ? 1 : 0);
}

await main();
