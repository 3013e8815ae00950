// An LwM2M client of npm's coap-node: node lwm2m_client.js PORT ENDPOINT LIFETIME
// Prints "registered CODE", then takes lines "set OID IID RID VALUE", "update", "leave".
process.env.npm_lifecycle_event = 'test'; // coap-node would ask ifconfig for its own address
const SmartObject = require('smartobject');
const CoapNode = require('coap-node');
const readline = require('readline');

const [port, endpoint, lifetime] = process.argv.slice(2);
const so = new SmartObject();
so.init(3303, 0, { sensorValue: 21.5, units: 'Cel' });
so.init(3305, 0, { instActivePwr: 1500, cumulActivePwr: 12.5 });

const node = new CoapNode(endpoint, so, { lifetime: Number(lifetime) });
node.on('error', (error) => console.log('error ' + error.message));
node.register('127.0.0.1', port, (error, message) => {
  console.log('registered ' + (error ? error.message : message.status));
});

readline.createInterface({ input: process.stdin }).on('line', (line) => {
  const [command, oid, iid, rid, value] = line.split(' ');
  if (command === 'set') {
    so.write(Number(oid), Number(iid), Number(rid), Number(value), (error) => console.log('set ' + (error || 'done')));
  } else if (command === 'update') {
    node.update({ lifetime: Number(oid) }, (error, message) => console.log('updated ' + (error || message.status)));
  } else if (command === 'leave') {
    node.deregister((error, message) => console.log('left ' + (error || message.status)));
  }
});
