import { Connection, refusal, socketAddress } from "./connection.js";
import { explain } from "./codes.js";

const keptLines = 300;
const keptEnds = 20;
const bigMessage = 2 * 1024 * 1024;
const slipOfTheHand = 700; // milliseconds
const nameKey = "framegate-demo-name";
const tokenKey = "framegate-demo-token";
const otherHost = "other.localhost"; // of the page that plays another site
const away = location.hostname === otherHost;

const ui = Object.fromEntries(
  ["address", "announcement", "away", "ends", "ends-count", "log", "name", "name-form", "no-ends", "other", "path", "people", "say-form", "sign", "state",
    "state-text", "text", "toggle"]
    .map((id) => [id, document.getElementById(id)]),
);
const tries = [...document.querySelectorAll("button.try")];

let me = "";
let token = recall(sessionStorage, tokenKey);
let people = [];
let state = { name: "stopped" };
let stoppedWaitingAt = -Infinity;
let endedCount = 0;
let atEnd = true; // the log follows its end, unless the reader scrolled up
let lastMessageAt = 0; // by the application's clock, which never gives two messages one time
const shades = new Map(); // name -> number of its colour

// element builds a node. Data comes in as text only, never as markup.
function element(tag, className, ...children) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  node.append(...children);
  return node;
}

function clock(at, style = "medium") {
  return new Date(at).toLocaleTimeString([], { timeStyle: style });
}

function duration(milliseconds) {
  const seconds = Math.round(milliseconds / 1000);
  if (seconds < 1) return "under a second";
  if (seconds < 60) return seconds === 1 ? "1 second" : `${seconds} seconds`;
  const minutes = Math.floor(seconds / 60);
  return `${minutes} min ${seconds % 60} s`;
}

// shade gives the first six names six colours.
function shade(name) {
  if (!shades.has(name)) shades.set(name, shades.size % 6);
  return `shade-${shades.get(name)}`;
}

function badge(name) {
  const letter = [...name][0] ?? "?";
  const node = element("span", `badge ${shade(name)}`, letter.toLocaleUpperCase());
  node.setAttribute("aria-hidden", "true");
  return node;
}

// --- the log

function scrollToEnd() {
  if (atEnd) ui.log.scrollTop = ui.log.scrollHeight;
}

function addLine(node) {
  ui.log.append(node);
  while (ui.log.childElementCount > keptLines) ui.log.firstElementChild.remove();
  scrollToEnd();
}

function addMessage(event) {
  lastMessageAt = event.at;
  const time = element("time", "", clock(event.at, "short"));
  time.dateTime = new Date(event.at).toISOString();
  const own = event.name === me;
  const who = element("p", "who", element("b", "", event.name), time);
  addLine(element("div", own ? "message own" : "message", badge(event.name), element("div", "bubble", who, element("p", "said", event.text))));
}

function addNote(text, className = "note") {
  addLine(element("p", className, text));
}

// --- people

function showPeople() {
  if (people.length === 0) {
    ui.people.replaceChildren(element("li", "nobody", "not connected"));
    return;
  }
  const items = people.map((name) => {
    const item = element("li", name === me ? "me" : "", badge(name), name);
    if (name === me) item.append(element("span", "you", "you"));
    return item;
  });
  ui.people.replaceChildren(...items);
}

// --- what the application sends

function welcome(event) {
  const back = me !== "";
  me = event.name;
  people = event.people;
  showPeople();
  ui.name.value = me;
  ui.log.setAttribute("aria-busy", "true"); // the history is not news
  for (const old of event.history ?? []) {
    if (old.at > lastMessageAt) addMessage(old);
  }
  if (back) addNote(`Back again as ${me}.`);
  else if (people.length > 1) addNote(`You are here as ${me}.`);
  else addNote(`You are here as ${me}, alone. Open this page in a second window to have company.`);
  ui.log.setAttribute("aria-busy", "false");
}

function rename(event) {
  people = people.map((name) => (name === event.name ? event.to : name));
  shades.set(event.to, shades.get(event.name));
  addNote(event.name === me ? `You are now ${event.to}.` : `${event.name} is now ${event.to}.`);
  if (event.name === me) {
    me = event.to;
    ui.name.value = me;
    remember(localStorage, nameKey, me);
  }
  showPeople();
}

const handlers = {
  welcome,
  rename,
  message: addMessage,
  notice: (event) => addNote(event.text, "note notice"),
  join: (event) => {
    people = [...people, event.name];
    showPeople();
    addNote(`${event.name} joined.`);
  },
  leave: (event) => {
    people = people.filter((name) => name !== event.name);
    showPeople();
    addNote(`${event.name} left.`);
  },
};

// --- how connections end

// ended asks why, where the browser does not say, and stops where trying again would be no use.
async function ended(end) {
  const why = end.opened || away ? null : await refusal(address, token);
  if (why?.status === 401) setToken("");
  if (away || why?.status === 401) connection.stop();
  addEnd({ ...end, ...why });
}

function addEnd(end) {
  const meaning = explain(end.code, end.opened, end.status);
  const code = end.status ?? end.code;
  endedCount++;
  ui.path.dataset.cut = meaning.cut;
  ui.path.dataset.tone = meaning.tone;
  const lasted = end.opened ? `, open for ${duration(end.lasted)}` : "";
  const when = `${clock(end.at)}${lasted}, ${end.opened ? (end.clean ? "clean close" : "no closing handshake") : "before it was open"}`;
  const body = element("div", "",
    element("h3", "", meaning.name),
    element("p", "reason", end.reason ? element("q", "", end.reason) : "no reason given"),
    element("p", "", meaning.text),
    element("p", "when", when));
  ui.ends.prepend(element("li", `end ${meaning.tone}`, element("code", "code", String(code)), body));
  while (ui.ends.childElementCount > keptEnds) ui.ends.lastElementChild.remove();
  ui.ends.hidden = false;
  ui.ends.scrollTop = 0;
  ui["no-ends"].hidden = true;
  ui["ends-count"].textContent = endedCount === 1 ? "1 so far" : `${endedCount} so far`;

  const reason = end.reason ? `“${end.reason}”` : "no reason given";
  const line = element("p", `end-line ${meaning.tone}`, element("code", "code", String(code)), ` ${meaning.name}: ${reason}`);
  line.setAttribute("aria-hidden", "true"); // the announcement says it
  addLine(line);
  ui.announcement.textContent = `Connection ${end.status ? "refused with status" : "ended with code"} ${code}, ${meaning.name}, ${reason}. ${meaning.text}`;
}

// --- the state of the connection

function showState() {
  ui.state.dataset.state = state.name;
  const open = state.name === "open";
  for (const button of tries) button.setAttribute("aria-disabled", String(!open));
  ui.toggle.textContent = open || state.name === "connecting" ? "Disconnect" : away ? "Try again" : token ? "Reconnect now" : "Connect anyway";
  if (state.name === "waiting") {
    const seconds = Math.max(1, Math.ceil((state.retryAt - Date.now()) / 1000));
    ui["state-text"].textContent = `Reconnecting in ${seconds} s`;
    return;
  }
  ui["state-text"].textContent = { connecting: "Connecting", open: "Connected", stopped: token ? "Disconnected" : "Signed out" }[state.name];
}

function setState(next) {
  if (state.name === "open" && next.name !== "open") {
    people = [];
    showPeople();
  }
  if (next.name === "open") {
    ui.announcement.textContent = "Connected.";
    ui.path.dataset.cut = "none";
  }
  if (state.name === "waiting") stoppedWaitingAt = performance.now();
  state = next;
  showState();
}

// --- what the user does

function recall(storage, key) {
  try {
    return storage.getItem(key) ?? "";
  } catch {
    return ""; // storage is full or forbidden
  }
}

function remember(storage, key, value) {
  try {
    storage.setItem(key, value);
  } catch {
    // storage is full or forbidden: the value holds until the page is left
  }
}

function setToken(value) {
  token = value;
  remember(sessionStorage, tokenKey, token);
  ui.sign.textContent = token ? "Sign out" : "Sign in";
  ui.name.readOnly = token !== "";
  showState();
}

// signIn gets a token of the application for a name, and connects with it.
async function signIn(name) {
  try {
    const response = await fetch("token", { method: "POST", body: JSON.stringify({ name }) });
    if (!response.ok) throw new Error(await response.text());
    setToken((await response.json()).token);
    remember(localStorage, nameKey, name);
    me = "";
    connection.start();
    ui.text.focus();
  } catch (err) {
    addNote(`Signing in failed: ${err.message}`);
  }
}

function sendOrTell(object) {
  if (connection.send(object)) return true;
  ui.announcement.textContent = "Not sent: the connection is not open.";
  ui.state.classList.remove("nudge");
  requestAnimationFrame(() => ui.state.classList.add("nudge"));
  return false;
}

// siteAt is this page's address under another host name.
function siteAt(hostname) {
  const url = new URL(location.href);
  url.hostname = hostname;
  return url.href;
}

const address = socketAddress(away ? siteAt("localhost") : location.href);
const connection = new Connection(address, {
  state: setState,
  open: () => connection.send({ type: "name", name: me }),
  message: (event) => handlers[event.type]?.(event),
  end: ended,
}, () => (token ? ["demo.chat", "bearer", token] : []));

ui.address.textContent = address;
ui["say-form"].addEventListener("submit", (event) => {
  event.preventDefault();
  const text = ui.text.value.trim();
  if (text && sendOrTell({ type: "say", text })) ui.text.value = "";
});
ui["name-form"].addEventListener("submit", (event) => {
  event.preventDefault();
  if (!token) {
    signIn(ui.name.value.trim());
    return;
  }
  setToken("");
  connection.stop();
});
ui.log.addEventListener("scroll", () => {
  atEnd = ui.log.scrollHeight - ui.log.scrollTop - ui.log.clientHeight < 60;
});
new ResizeObserver(scrollToEnd).observe(ui.log);
ui.toggle.addEventListener("click", () => {
  if (state.name === "waiting" || state.name === "stopped") connection.start();
  else if (performance.now() - stoppedWaitingAt > slipOfTheHand) connection.stop();
  // else the click was meant for "Reconnect now", and the page was faster
});
for (const button of tries) {
  button.addEventListener("click", () => {
    const text = button.hasAttribute("data-big") ? "x".repeat(bigMessage) : button.dataset.command;
    sendOrTell({ type: "say", text });
  });
}
setInterval(() => state.name === "waiting" && showState(), 250);
ui.name.value = recall(localStorage, nameKey);
ui.away.hidden = !away;
ui.other.closest("li").hidden = location.hostname !== "localhost";
ui.other.href = siteAt(otherHost);
showPeople();
setToken(token);
if (token || away) connection.start();
else addNote("Sign in with any name to talk. Or connect anyway, and see what the gateway says.");
