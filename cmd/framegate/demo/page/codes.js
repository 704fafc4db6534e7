// What a close code means, in words for a person who has not read RFC 6455.

// Each row: the name of the code, its tone (calm, own, warn or bad), which stretch of the way from page to gateway (left)
// to application (right) it is about, and what it says.
const meanings = new Map([
  [1000, ["Normal closure", "calm", "both", "Both sides were done. This is the ordinary end."]],
  [1001, ["Going away", "calm", "both", "One side is leaving: the application or the gateway is shutting down, or the connection was idle for too long."]],
  [1002, ["Protocol error", "bad", "left", "A frame broke the rules of the WebSocket protocol, so the gateway ended the connection with the side that sent it."]],
  [1003, ["Unsupported data", "bad", "left", "This type of message, text or binary, is not allowed on this route."]],
  [1005, ["No code given", "calm", "both", "A Close arrived without a code. Your browser fills in 1005; it never travels on the wire."]],
  [1006, ["Connection lost", "warn", "left", "No Close arrived at all: the line broke, or what is in front of you vanished. Your browser makes up 1006; nobody said why."]],
  [1007, ["Invalid data", "bad", "left", "A text message was not valid UTF-8. The gateway refuses it at the first wrong byte."]],
  [1008, ["Policy violation", "bad", "left", "A rule said no, for example a rate limit or an expired permission. The reason names the rule."]],
  [1009, ["Message too big", "bad", "left", "A message was over the limit. The gateway reads the length in the frame's header and refuses before any of it reaches the application."]],
  [1010, ["Extension missing", "bad", "left", "The client wanted an extension that the server did not agree to."]],
  [1011, ["Fault behind the gateway", "bad", "right", "The application ended without saying goodbye, or sent something that must not cross. Your side did nothing wrong."]],
  [1012, ["Service restart", "calm", "both", "The service restarts. Connecting again in a moment is right."]],
  [1013, ["Try again later", "warn", "both", "The service is overloaded. Connecting again later is right."]],
  [1014, ["Bad gateway", "bad", "right", "A gateway got an answer from the application that it could not use."]],
]);

// What the HTTP status of a refused handshake means.
const refusals = new Map([
  [401, ["Not signed in", "The gateway wants a token that this application has signed, and that is still valid. The application was not asked: it does not even know that you tried."]],
  [403, ["Not allowed", "A policy of the gateway says no. The application was not asked."]],
  [429, ["Too many", "Too many connections or handshakes from here. Trying again later is right."]],
  [503, ["Not now", "The gateway takes no further connections at the moment."]],
]);

// explain returns {name, tone, cut, text} for a close code. opened tells whether the connection had been open: if not, the
// browser reports every failure as 1006 and keeps the cause to itself; status is that of the refusal where it is known.
export function explain(code, opened, status = 0) {
  if (refusals.has(status)) {
    const [name, text] = refusals.get(status);
    return { name, tone: "warn", cut: "left", text };
  }
  if (!opened) {
    return {
      name: "Never opened",
      tone: "warn",
      cut: "left",
      text: "The opening handshake failed: nothing answers there, or the gateway refused it. Browsers hide the HTTP status from the page; the gateway's log has it.",
    };
  }
  const known = meanings.get(code);
  if (known) {
    const [name, tone, cut, text] = known;
    return { name, tone, cut, text };
  }
  if (code >= 4000) {
    return { name: "The application's own code", tone: "own", cut: "both", text: "Codes from 4000 on belong to the application. The gateway passed this one on with its reason, unchanged." };
  }
  return { name: "A registered code", tone: "own", cut: "both", text: "Codes from 3000 to 3999 are registered by libraries and frameworks. The gateway passed this one on unchanged." };
}
