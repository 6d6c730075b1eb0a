// A service that is no Python: plain node:http and node:crypto, and everything that a service behind the proxy has to
// do. It is here to be examined; BROKEN names one rule that it then breaks.
import { createPublicKey, randomBytes, verify } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";

const env = process.env;
const broken = (name) => env.BROKEN === name;
const port = Number(env.PORT);
const keys = JSON.parse(readFileSync(env.STRANGLER_JWKS, "utf8")).keys;
const document = JSON.parse(readFileSync(new URL("./openapi.json", import.meta.url), "utf8"));
const greetings = [1, 2, 3].map((id) => ({ id, text: `greeting ${id}` }));
const counted = new Map();
const MOST_BODY = broken("body without end") ? Infinity : 1 << 20;
let draining = false;

if (broken("a document of another kind")) document.openapi = "2.0";
if (broken("a reference that leads nowhere")) delete document.components.schemas.Greeting;
if (broken("an end that the document does not know")) delete document.paths["/farewells/"].get.deprecated;
if (broken("a route that the document leaves out")) delete document.paths["/farewells/"];
if (broken("a status that is not declared")) delete document.paths["/greetings/"].get.responses["200"];

class Refused extends Error {
  constructor(status, detail, headers = {}) {
    super(detail);
    Object.assign(this, { status, headers });
  }
}

// --- identity ---

function visitor(request) {
  const token = request.headers["strangler-identity"];
  if (broken("a header that anybody can send") && request.headers["x-remote-user"]) return request.headers["x-remote-user"];
  if (broken("a visitor that stays on the connection") && token === undefined) return request.socket.visitor ?? null;
  if (token === undefined) return null;
  if (broken("a forgery that is nobody's")) {
    try {
      return named(token);
    } catch {
      return null;
    }
  }
  return (request.socket.visitor = named(token));
}

function named(token) {
  const parts = token.split(".");
  const refused = (why) => new Refused(401, why, { "WWW-Authenticate": "Strangler-Identity" });
  if (parts.length !== 3) throw refused("it is no token");
  const [header, claims] = parts.slice(0, 2).map(read);
  if (header === null || claims === null) throw refused("it is no token");
  if (broken("identities that nobody verifies")) return claims.name;
  if (broken("no keys") || !(broken("identities without signature") && header.alg === "none")) {
    const key = broken("no keys") ? undefined : keys.find((each) => each.kid === header.kid);
    const known = header.alg === "Ed25519" && header.typ === "strangler-identity+jwt" && key !== undefined;
    if (!known || !holds(parts, key)) throw refused("it does not verify");
  }
  if (claims.iss !== "strangler" || claims.aud !== "services") throw refused("it is for somebody else");
  if (claims.exp < Date.now() / 1000 && !broken("identities that never end")) throw refused("it has expired");
  return claims.name;
}

function read(part) {
  try {
    return JSON.parse(Buffer.from(part, "base64url").toString("utf8"));
  } catch {
    return null;
  }
}

function holds([header, claims, signature], key) {
  const { kty, crv, x } = key;
  const made = createPublicKey({ key: { kty, crv, x }, format: "jwk" });
  return verify(null, Buffer.from(`${header}.${claims}`), made, Buffer.from(signature, "base64url"));
}

// --- what it answers ---

const json = (status, told, headers = {}) => ({
  status,
  headers: { "Content-Type": "application/json", ...headers },
  body: JSON.stringify(told),
});

function problem(status, detail, id, headers = {}) {
  if (broken("errors of no shape")) return { status, headers: { "Content-Type": "text/plain" }, body: detail };
  const told = broken("a problem of another status") ? 200 : status;
  const instance = broken("ids that nobody finds again") ? undefined : `urn:request:${id}`;
  const body = JSON.stringify({ type: "about:blank", title: "refused", status: told, detail, instance });
  return { status, headers: { "Content-Type": "application/problem+json", ...headers }, body };
}

function probe(path) {
  if (broken("live that takes its time") && path === "/health/live") return later(2300).then(() => json(200, { status: "live" }));
  if (path === "/health/live") return json(200, { status: "live" });
  if (path === "/health/ready" && draining && !broken("ready until the end")) return json(503, { status: "not ready" });
  if (path === "/health/ready" && broken("ready in spite of its own words")) {
    return json(200, { status: "ready", checks: { database: "down" } });
  }
  if (path === "/health/ready") return json(200, { status: "ready", checks: { store: "ok" } });
  if (path.startsWith("/health/") && broken("ready at any address")) return json(200, { status: "ready", checks: { store: "ok" } });
  if (path === "/openapi.json" && !broken("no document")) return json(200, document);
  return path === "/metrics" ? metrics() : null;
}

function metrics() {
  if (broken("metrics in JSON")) return json(200, { requests: 1 });
  const unit = broken("seconds that are milliseconds") ? "ms" : "seconds";
  const total = [...counted.values()].reduce((sum, each) => sum + each, 0);
  const lines = [
    "# HELP greetings_requests_total Requests answered",
    "# TYPE greetings_requests_total counter",
    ...[...counted].map(([labels, value]) => `greetings_requests_total{${labels}} ${value}`),
    `# HELP greetings_request_${unit} Time to the end of an answer`,
    `# TYPE greetings_request_${unit} summary`,
    `greetings_request_${unit}_sum ${total / 1000}`,
    `greetings_request_${unit}_count ${broken("a counter that stands still") ? 0 : total}`,
  ];
  return { status: 200, headers: { "Content-Type": "text/plain; version=0.0.4" }, body: `${lines.join("\n")}\n` };
}

function ending() {
  if (broken("an end that is not announced")) return {};
  const sunset = broken("an end before its announcement") ? "Wed, 01 Jan 2020 00:00:00 GMT" : "Thu, 31 Dec 2099 00:00:00 GMT";
  return { Deprecation: broken("an end that is announced in words") ? "true" : "@1767225600", Sunset: sunset };
}

const later = (ms) => new Promise((done) => setTimeout(done, ms));

async function answer(request, path, label) {
  const who = visitor(request);
  if (broken("ready without anything that works") && request.method === "GET") throw new Refused(500, "nothing works");
  if (label === "/greetings/" && request.method === "POST") return json(201, { ...greetings[0], ...(await body(request)) });
  if (request.method !== "GET") throw new Refused(405, "GET only");
  if (label === "/greetings/") return json(200, { results: broken("a field of another type") ? [{ id: "one", text: "x" }] : greetings });
  if (label === "/greetings/mine/") return json(200, { for: who });
  if (label === "/greetings/slow/") return slowly(request);
  if (label === "/farewells/") return { status: 200, headers: { "Content-Type": "text/html", ...ending() }, body: "<p>bye</p>" };
  const found = greetings.find((each) => label === "/greetings/{id}/" && String(each.id) === path.split("/")[2]);
  if (found === undefined) throw new Refused(404, "nothing there");
  return json(200, found);
}

async function slowly(request) {
  const left = Number(request.headers["strangler-deadline"]);
  if (left >= 0 && left < 300 && !broken("a deadline that nobody keeps")) {
    await later(left);
    throw new Refused(503, "no time left", { "Retry-After": "1" });
  }
  await later(300);
  return json(200, { results: greetings });
}

async function body(request) {
  if (Number(request.headers["content-length"]) > MOST_BODY) throw new Refused(413, "too long");
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  return JSON.parse(Buffer.concat(chunks).toString("utf8"));
}

// --- one request ---

function route(path) {
  if (["/greetings/", "/greetings/mine/", "/greetings/slow/", "/farewells/"].includes(path)) return path;
  return /^\/greetings\/\d+\/$/.test(path) ? "/greetings/{id}/" : "unmatched";
}

function identify(request) {
  const named = request.headers["x-request-id"] ?? "";
  const parent = /^00-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}$/.exec(request.headers.traceparent ?? "");
  if (broken("nonsense that it stumbles over") && parent === null) throw new Refused(500, "no traceparent");
  return { id: /^[\w.:/+=@-]{1,128}$/.test(named) ? named : randomBytes(16).toString("hex"), trace: parent?.[1] };
}

async function serve(request, response) {
  const path = request.url.split("?")[0];
  const operators = await probe(path);
  if (operators) return send(request, response, operators);
  const label = route(path);
  let ids = { id: "none" };
  let told;
  try {
    ids = identify(request);
    told = await answer(request, path, label);
  } catch (error) {
    told = problem(error.status ?? 500, error.message, ids.id, error.headers);
  }
  const shown = broken("paths in labels") ? path : label;
  const labels = `route="${shown}",method="${request.method}",status="${told.status}"`;
  if (!broken("a counter that stands still")) counted.set(labels, (counted.get(labels) ?? 0) + 1);
  if (!broken("ids that nobody finds again")) console.log(JSON.stringify({ path, status: told.status, ...ids }));
  send(request, response, told);
}

function send(request, response, { status, headers, body }) {
  const last = draining ? { Connection: "close" } : {};
  response.writeHead(status, { ...headers, ...last, "Content-Length": Buffer.byteLength(body) });
  response.end(request.method === "HEAD" ? undefined : body);
}

// --- the process ---

const server = createServer(
  {
    maxHeaderSize: broken("heads without end") ? 1 << 20 : 16 << 10,
    headersTimeout: 500,
    connectionsCheckingInterval: 100,
    keepAliveTimeout: 75_000,
  },
  serve,
);
if (broken("slow clients that keep others out")) server.maxConnections = 8;
server.listen(port, "127.0.0.1");

process.on("SIGTERM", () => {
  if (broken("an end at once")) process.exit(0);
  if (broken("no end")) return;
  draining = true;
  const end = () => {
    server.close(() => process.exit(broken("an end that is a failure") ? 3 : 0));
    server.closeIdleConnections();
  };
  // Whoever balances sees that it is not ready, and sends nobody any more.
  setTimeout(end, broken("ready until the end") ? 1200 : 300);
});
