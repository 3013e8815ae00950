// An edge node made with npm sparkplug-client: node sparkplug_edge.js URL BIRTHS
// BIRTHS is JSON: {"": metrics of the node, "d1": metrics of a device ...}. It is born when it connects and when it is
// asked. Each line of its input is JSON: {device, metrics, compress}, or {device, death: true}.
"use strict";

const readline = require("node:readline");
const sparkplug = require("sparkplug-client");

const [url, births] = [process.argv[2], JSON.parse(process.argv[3])];
const client = sparkplug.newClient({
  serverUrl: url, username: null, password: null, clientId: "sparkplug-edge", groupId: "Plant1", edgeNode: "E1",
  version: "spBv1.0", publishDeath: true,
});

const stamped = (metrics) => ({timestamp: Date.now(), metrics: metrics.map((one) => ({timestamp: Date.now(), ...one}))});

function bear() {
  const own = [{name: "Node Control/Rebirth", type: "Boolean", value: false}, ...births[""]];
  client.publishNodeBirth(stamped(own));
  for (const device of Object.keys(births).filter((name) => name)) {
    client.publishDeviceBirth(device, stamped(births[device]));
  }
  console.log("born");
}

client.on("birth", bear);
client.on("ncmd", (payload) => {
  if (payload.metrics.some((one) => one.name === "Node Control/Rebirth" && one.value === true)) bear();
});
client.on("error", (error) => { console.error(error); process.exit(1); });

readline.createInterface({input: process.stdin}).on("line", (line) => {
  const {device, metrics, death, compress} = JSON.parse(line);
  if (death) client.publishDeviceDeath(device, {timestamp: Date.now(), metrics: []});
  else if (device) client.publishDeviceData(device, stamped(metrics), {compress});
  else client.publishNodeData(stamped(metrics), {compress});
}).on("close", () => { client.stop(); setTimeout(() => process.exit(0), 100); });
