// What the peer scripts share. A script gets its options as one JSON argument, prints JSON lines on standard output for the Go test
// that started it, and ends when its standard input does, so that it cannot outlive the test.
import { createHash, randomBytes } from 'node:crypto';
import readline from 'node:readline';

export const options = JSON.parse(process.argv[2] ?? '{}');

export function emit(line) {
  process.stdout.write(JSON.stringify(line) + '\n');
}

const input = readline.createInterface({ input: process.stdin });
const waiting = [];
const unread = [];
input.on('line', (line) => (waiting.length ? waiting.shift()(line) : unread.push(line)));
input.on('close', () => process.exit(3));

// nextLine resolves with the next line that the Go test writes.
export function nextLine() {
  return unread.length ? Promise.resolve(unread.shift()) : new Promise((resolve) => waiting.push(resolve));
}

// within rejects when the promise takes longer than ms.
export function within(ms, what, promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: nothing within ${ms} ms`)), ms);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

// check runs one named check and prints its verdict; the first one that fails ends the script.
export async function check(name, run) {
  try {
    await within(120_000, name, run());
    emit({ check: name, ok: true });
  } catch (err) {
    emit({ check: name, ok: false, error: err?.stack ?? String(err) });
    process.exit(1);
  }
}

// done ends a script all of whose checks have passed.
export function done() {
  emit({ done: true });
  process.stdout.write('', () => process.exit(0));
}

export function equal(got, want, what) {
  const [g, w] = [JSON.stringify(got), JSON.stringify(want)];
  if (g !== w) throw new Error(`${what}: got ${g}, want ${w}`);
}

export function sha256(data) {
  return createHash('sha256').update(data).digest('hex');
}

const letters = ['a', 'Z', '7', ' ', 'é', 'ß', '€', '語', '😀', '𝄞'].map((c) => Buffer.from(c));

// payload makes random bytes, or random UTF-8 text of characters of one to four bytes, of exactly size bytes. Text repeats after a
// period that no compressor's window reaches, since a choice for each letter of 16 MiB takes a second.
export function payload(size, binary) {
  if (binary) return randomBytes(size);
  const period = Math.min(size, 64 * 1024 + 13);
  const text = Buffer.alloc(size, 'x');
  const dice = randomBytes(period);
  let end = 0;
  for (let n = 0; end < period; n++) {
    const letter = letters[dice[n] % letters.length];
    if (end + letter.length > period) break; // the rest stays x
    end += letter.copy(text, end);
  }
  for (let at = period; at > 0 && at + period <= size; at += period) text.copy(text, at, 0, period);
  return text;
}

// cut divides data into n parts at random places, empty parts and cuts inside of characters included.
export function cut(data, n) {
  const places = Array.from({ length: n - 1 }, () => Math.floor(Math.random() * (data.length + 1))).sort((a, b) => a - b);
  return [0, ...places].map((from, i) => data.subarray(from, i < places.length ? places[i] : data.length));
}

// Inbox queues the messages of a connection for those who ask for the next one.
export class Inbox {
  #messages = [];
  #waiting = [];
  #end = null;

  push(message) {
    const next = this.#waiting.shift();
    next ? next.resolve(message) : this.#messages.push(message);
  }

  // end makes every present and later wait fail.
  end(why) {
    this.#end ??= new Error(why);
    for (const next of this.#waiting.splice(0)) next.reject(this.#end);
  }

  next() {
    if (this.#messages.length) return Promise.resolve(this.#messages.shift());
    if (this.#end) return Promise.reject(this.#end);
    return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
  }
}

// roundTrip sends one message, compares its echo, and asks the upstream what it had received, so that an error that the way back
// undoes shows too. conn has send(data, binary) and inbox; count is the number of messages before this one.
export async function roundTrip(conn, data, binary, count) {
  await conn.send(data, binary);
  const echo = await conn.inbox.next();
  equal(echo.binary, binary, 'type of the echo');
  if (Buffer.compare(echo.data, data) !== 0) {
    throw new Error(`echo of ${data.length} bytes differs: ${echo.data.length} bytes came back`);
  }
  await conn.send(Buffer.from('!last'), false);
  const last = JSON.parse((await conn.inbox.next()).data.toString());
  equal([last.count, last.binary, last.length, last.sha256], [count + 1, binary, data.length, sha256(data)], 'what the upstream received');
  return last;
}
