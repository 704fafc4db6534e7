import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { beforeEach, mock, test } from "node:test";

// The page's files are modules without a package.json that says so: they are loaded as what they are.
const load = (name) =>
  import(`data:text/javascript,${encodeURIComponent(readFileSync(new URL(`page/${name}`, import.meta.url), "utf8"))}`);
const { backoff, refusal, socketAddress, Connection } = await load("connection.js");
const { explain } = await load("codes.js");

let sockets;

class FakeSocket {
  static OPEN = 1;
  readyState = 0;
  sent = [];
  constructor(address, offered) {
    this.address = address;
    this.offered = offered;
    sockets.push(this);
  }
  open() {
    this.readyState = 1;
    this.onopen();
  }
  send(data) {
    this.sent.push(data);
  }
  close(code, reason) {
    this.end({ code, reason, wasClean: true });
  }
  end(event) {
    this.readyState = 3;
    this.onclose(event);
  }
}

beforeEach(() => {
  sockets = [];
  globalThis.WebSocket = FakeSocket;
  mock.timers.reset();
  mock.timers.enable({ apis: ["setTimeout", "Date"] });
});

function watch() {
  const seen = { states: [], ends: [], messages: [] };
  const connection = new Connection("wss://example.test/ws", {
    state: (state) => seen.states.push(state.name),
    open: () => {},
    message: (object) => seen.messages.push(object),
    end: (end) => seen.ends.push(end),
  });
  return { connection, seen };
}

test("the socket is beside the page, with TLS when the page has it", () => {
  assert.equal(socketAddress("https://localhost:8443/"), "wss://localhost:8443/ws");
  assert.equal(socketAddress("http://127.0.0.1:80/index?x=1#y"), "ws://127.0.0.1/ws");
  assert.equal(socketAddress("https://example.com/chat/"), "wss://example.com/chat/ws");
});

test("the back-off doubles up to 30 s and at most half of it is left to chance", () => {
  for (const [attempt, most] of [[0, 2000], [1, 4000], [3, 16_000], [4, 30_000], [500, 30_000]]) {
    assert.equal(backoff(attempt, () => 0), most / 2);
    assert.equal(backoff(attempt, () => 1), most);
    const got = backoff(attempt);
    assert.ok(got >= most / 2 && got <= most, `${got}`);
  }
});

test("a lost connection comes back by itself and reports how it ended", () => {
  const { connection, seen } = watch();
  connection.start();
  assert.equal(connection.send({ type: "say" }), false);
  sockets[0].open();
  assert.equal(connection.send({ type: "say", text: "hi" }), true);
  assert.deepEqual(sockets[0].sent, ['{"type":"say","text":"hi"}']);
  sockets[0].end({ code: 1011, reason: "upstream closed", wasClean: true });
  assert.equal(seen.ends.length, 1);
  assert.deepEqual(
    { ...seen.ends[0], lasted: 0, at: 0 },
    { code: 1011, reason: "upstream closed", clean: true, opened: true, lasted: 0, at: 0 },
  );
  mock.timers.tick(999);
  assert.equal(sockets.length, 1, "not before a second");
  mock.timers.tick(1001);
  assert.equal(sockets.length, 2);
  assert.deepEqual(seen.states, ["connecting", "open", "waiting", "connecting"]);
});

test("each failure waits longer", () => {
  const { connection } = watch();
  connection.start();
  for (let i = 0; i < 3; i++) {
    sockets.at(-1).end({ code: 1006, reason: "", wasClean: false });
    mock.timers.tick(2000 * 2 ** i);
  }
  assert.equal(sockets.length, 4);
  sockets.at(-1).end({ code: 1006, reason: "", wasClean: false });
  mock.timers.tick(7999);
  assert.equal(sockets.length, 4);
  mock.timers.tick(8001);
  assert.equal(sockets.length, 5);
});

test("whoever disconnects stays disconnected, also while it waits", () => {
  const { connection, seen } = watch();
  connection.start();
  sockets[0].open();
  connection.stop();
  assert.equal(seen.ends[0].code, 1000);
  mock.timers.tick(60_000);
  assert.equal(sockets.length, 1);
  assert.equal(seen.states.at(-1), "stopped");

  connection.start();
  sockets[1].end({ code: 1006, reason: "", wasClean: false });
  assert.equal(seen.states.at(-1), "waiting");
  connection.stop();
  mock.timers.tick(60_000);
  assert.equal(sockets.length, 2);
  assert.equal(seen.states.at(-1), "stopped");
});

test("starting twice opens one socket, starting while waiting does not wait", () => {
  const { connection } = watch();
  connection.start();
  connection.start();
  assert.equal(sockets.length, 1);
  sockets[0].end({ code: 1006, reason: "", wasClean: false });
  connection.start();
  assert.equal(sockets.length, 2);
  mock.timers.tick(60_000);
  assert.equal(sockets.length, 2, "the timer was dropped");
});

test("what is no chat message becomes a notice", () => {
  const { connection, seen } = watch();
  connection.start();
  sockets[0].open();
  sockets[0].onmessage({ data: '{"type":"message","name":"Ada","text":"x"}' });
  sockets[0].onmessage({ data: "xxxx" });
  sockets[0].onmessage({ data: "null" });
  assert.equal(seen.messages.length, 3);
  assert.equal(seen.messages[0].name, "Ada");
  assert.equal(seen.messages[1].type, "notice");
  assert.equal(seen.messages[2].type, "notice");
});

test("each socket offers what there is to offer then", () => {
  let token = "";
  const nothing = () => {};
  const connection = new Connection("wss://example.test/ws", { state: nothing, open: nothing, message: nothing, end: nothing }, () =>
    token ? ["demo.chat", "bearer", token] : []);
  connection.start();
  sockets[0].end({ code: 1006, reason: "", wasClean: false });
  token = "t0k3n";
  connection.start();
  assert.deepEqual(sockets.map((s) => s.offered), [[], ["demo.chat", "bearer", "t0k3n"]]);
});

test("why a handshake was refused is asked over HTTP", async () => {
  const asked = [];
  const answer = (status, type, body) => {
    globalThis.fetch = async (url, options) => {
      asked.push([url, options.headers]);
      return new Response(body, { status, headers: { "Content-Type": type } });
    };
  };
  answer(401, "application/problem+json", '{"title": "Unauthorized", "status": 401, "detail": "token required"}');
  assert.deepEqual(await refusal("wss://example.test/ws", ""), { status: 401, reason: "token required" });
  answer(404, "text/plain", "404 page not found"); // of the application: the gateway had nothing against it
  assert.equal(await refusal("wss://example.test/ws", "t0k3n"), null);
  answer(503, "application/problem+json", "cut off");
  assert.equal(await refusal("ws://example.test/ws", ""), null);
  globalThis.fetch = async () => { throw new TypeError("nothing answers"); };
  assert.equal(await refusal("wss://example.test/ws", ""), null);
  assert.deepEqual(asked, [
    ["https://example.test/ws/why", {}],
    ["https://example.test/ws/why", { Authorization: "Bearer t0k3n" }],
    ["http://example.test/ws/why", {}],
  ]);
});

test("every code that a page can see has a name, a tone and an explanation", () => {
  const cuts = new Set(["left", "right", "both"]);
  const tones = new Set(["calm", "own", "warn", "bad"]);
  for (const code of [1000, 1001, 1002, 1003, 1005, 1006, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4321, 4999]) {
    const meaning = explain(code, true);
    assert.ok(meaning.name && meaning.text.length > 20, `${code}`);
    assert.ok(tones.has(meaning.tone) && cuts.has(meaning.cut), `${code}`);
  }
  assert.equal(explain(1011, true).cut, "right");
  assert.equal(explain(1006, false).name, "Never opened");
  assert.notEqual(explain(1006, true).name, "Never opened");
  for (const status of [401, 403, 429, 503]) {
    const meaning = explain(1006, false, status);
    assert.ok(meaning.text.length > 20 && meaning.name !== "Never opened" && meaning.cut === "left", `${status}`);
  }
  assert.equal(explain(1006, false, 418).name, "Never opened");
  assert.match(explain(4321, true).name, /own code/);
  assert.match(explain(3000, true).name, /registered/);
});
