// A primary host made with npm mqtt and sparkplug-payload: node host.js URL HOST
// Prints a line of JSON for each message: {verb, device, seq, metrics}, where a metric has its name and type by its birth.
// Each line of its input is JSON: {topic, metrics} is sent as a command, {online: bool} changes its STATE.
"use strict";

const readline = require("node:readline");
const mqtt = require("mqtt");
const sparkplug = require("sparkplug-payload").get("spBv1.0");
const {Payload} = require("sparkplug-payload/lib/sparkplugPayloadProto").org.eclipse.tahu.protobuf;

const [url, host] = process.argv.slice(2);
const started = Date.now();
const state = (online, timestamp) => JSON.stringify({online, timestamp});
const client = mqtt.connect(url, {
  clientId: "sparkplug-host",
  will: {topic: `spBv1.0/STATE/${host}`, payload: state(false, started), qos: 1, retain: true},
});
const born = new Map(); // by alias: {name, datatype}

// The library gives null for a metric without a type, so that a host has to put in what the birth has said
function decode(message) {
  const raw = Payload.decode(message);
  const bare = raw.metrics.some((metric) => !metric.datatype);
  for (const metric of raw.metrics) {
    const alias = String(metric.alias);
    if (metric.name && metric.hasOwnProperty("alias")) born.set(alias, {name: metric.name, datatype: metric.datatype});
    const known = born.get(alias);
    if (known && !metric.name) metric.name = known.name;
    if (known && !metric.datatype) metric.datatype = known.datatype;
  }
  return {bare, ...sparkplug.decodePayload(Payload.encode(raw).finish())};
}

const plain = (key, value) => (value && value.low !== undefined ? Number(value) : value);

client.on("connect", () => {
  client.subscribe("spBv1.0/Plant1/#", {qos: 1}, () => {
    client.publish(`spBv1.0/STATE/${host}`, state(true, started), {qos: 1, retain: true}, () => console.log("{}"));
  });
});
client.on("message", (topic, message) => {
  const [, , verb, , device] = topic.split("/");
  if (verb.endsWith("CMD")) return;
  const {seq, bare, metrics} = decode(message);
  console.log(JSON.stringify({verb, device: device || "", seq, bare, metrics}, (key, value) =>
    value && value.constructor && value.constructor.name === "Long" ? value.toNumber() : plain(key, value)));
});
client.on("error", (error) => { console.error(error); process.exit(1); });

readline.createInterface({input: process.stdin}).on("line", (line) => {
  const {topic, metrics, online} = JSON.parse(line);
  if (topic) client.publish(topic, Buffer.from(sparkplug.encodePayload({timestamp: Date.now(), metrics})));
  else client.publish(`spBv1.0/STATE/${host}`, state(online, Date.now()), {qos: 1, retain: true});
}).on("close", () => process.exit(0));
