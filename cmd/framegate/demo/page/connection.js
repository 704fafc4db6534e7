// One WebSocket that comes back: it reconnects by itself with back-off and jitter until it is told to stop.

const firstDelay = 2000; // milliseconds
const longestDelay = 30_000;
const stableAfter = 2000; // open for so long, a connection resets the back-off

// backoff returns how many milliseconds to wait before try number attempt, counted from 0: doubling, at most 30 s, of
// which a random half is taken off, so that a thousand pages do not come back in the same instant.
export function backoff(attempt, random = Math.random) {
  const most = Math.min(longestDelay, firstDelay * 2 ** attempt);
  return most / 2 + (random() * most) / 2;
}

// socketAddress returns the WebSocket's address beside the page at href.
export function socketAddress(href) {
  const url = new URL("ws", href);
  url.protocol = url.protocol === "http:" ? "ws:" : "wss:";
  url.search = url.hash = "";
  return url.href;
}

// refusal asks over plain HTTP, below the WebSocket's address, why a handshake was refused: browsers keep its status from the
// page, and the same policies judge both. It returns {status, reason}, or null where the gateway has nothing against it.
export async function refusal(address, token) {
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  try {
    const response = await fetch(`${address.replace(/^ws/, "http")}/why`, { headers, cache: "no-store" });
    if (response.headers.get("Content-Type") !== "application/problem+json") return null;
    return { status: response.status, reason: (await response.json()).detail };
  } catch {
    return null; // nothing answers there
  }
}

// Connection offers the subprotocols that offer() returns. It calls on.state({name, retryAt}) with the names connecting, open, waiting and stopped, on.open(),
// on.message(object) and on.end({code, reason, clean, opened, lasted, at}), times in milliseconds.
export class Connection {
  #address;
  #on;
  #offer;
  #socket = null;
  #timer = 0;
  #attempt = 0;
  #wanted = false;

  constructor(address, on, offer = () => []) {
    this.#address = address;
    this.#offer = offer;
    this.#on = on;
  }

  // start opens the connection now, unless one is open or opening.
  start() {
    this.#wanted = true;
    clearTimeout(this.#timer);
    if (this.#socket) return;
    const socket = new WebSocket(this.#address, this.#offer());
    let openedAt = 0;
    this.#socket = socket;
    this.#on.state({ name: "connecting" });
    socket.onopen = () => {
      openedAt = performance.now();
      this.#on.state({ name: "open" });
      this.#on.open();
    };
    socket.onmessage = (event) => this.#receive(event.data);
    socket.onclose = (event) => {
      this.#socket = null;
      const lasted = openedAt ? performance.now() - openedAt : 0;
      if (lasted > stableAfter) this.#attempt = 0;
      this.#on.end({
        code: event.code,
        reason: event.reason,
        clean: event.wasClean,
        opened: openedAt > 0,
        lasted,
        at: Date.now(),
      });
      this.#afterEnd();
    };
  }

  // stop closes with 1000 and stays closed until start.
  stop() {
    this.#wanted = false;
    clearTimeout(this.#timer);
    if (this.#socket) this.#socket.close(1000, "the user disconnected");
    else this.#on.state({ name: "stopped" });
  }

  // send returns false when there is no open connection.
  send(object) {
    if (this.#socket?.readyState !== WebSocket.OPEN) return false;
    this.#socket.send(JSON.stringify(object));
    return true;
  }

  #afterEnd() {
    if (!this.#wanted) {
      this.#on.state({ name: "stopped" });
      return;
    }
    const delay = backoff(this.#attempt++);
    this.#timer = setTimeout(() => this.start(), delay);
    this.#on.state({ name: "waiting", retryAt: Date.now() + delay });
  }

  #receive(data) {
    let object = null;
    try {
      object = JSON.parse(data);
    } catch {
      // told below
    }
    this.#on.message(object ?? { type: "notice", text: `The application sent ${data.length ?? data.size} characters that are no chat message.` });
  }
}
