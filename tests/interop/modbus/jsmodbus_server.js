// A server made with npm's jsmodbus for the interop test: TCP on a free port, which it prints.
// Registers and bits 0 to 199 exist. What lies behind is answered short of data, without an exception.
"use strict";
const net = require("net");
const Modbus = require("jsmodbus");

const holding = Buffer.alloc(400);
for (let i = 0; i < 200; i++) holding.writeUInt16BE(i, 2 * i);
holding.writeFloatBE(230.5, 200);
holding.writeInt32BE(-123456, 216);
holding.writeBigInt64BE(-1234567890123n, 220);
holding.write("SDM630", 228);
const input = Buffer.alloc(400);
for (let i = 0; i < 200; i++) input.writeUInt16BE(1000 + i, 2 * i);
const coils = Buffer.alloc(25);
const discrete = Buffer.alloc(25);
for (let i = 0; i < 200; i++) {
  if (i % 3 === 0) coils[i >> 3] |= 1 << (i & 7);
  if (i % 2 === 1) discrete[i >> 3] |= 1 << (i & 7);
}

const listener = new net.Server();
new Modbus.server.TCP(listener, { holding, input, coils, discrete });
listener.listen(0, "127.0.0.1", () => console.log(listener.address().port));
