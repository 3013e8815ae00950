// A server made with npm's modbus-serial for the interop test: TCP on a free port, which it prints.
// Registers and bits 0 to 199 exist; all else is refused with exception 2.
"use strict";
const ModbusRTU = require("modbus-serial");

const holding = Buffer.alloc(400);
for (let i = 0; i < 200; i++) holding.writeUInt16BE(i, 2 * i);
holding.writeFloatBE(230.5, 200);
holding.writeInt32BE(-123456, 216);
holding.writeBigInt64BE(-1234567890123n, 220);
holding.write("SDM630", 228);
const coils = Array.from({ length: 200 }, (_, i) => i % 3 === 0);

function there(address) {
  if (address < 200) return address;
  throw Object.assign(new Error("no such address"), { modbusErrorCode: 2 });
}

const server = new ModbusRTU.ServerTCP(
  {
    getInputRegister: (address, unit) => 1000 * unit + there(address),
    getHoldingRegister: (address) => holding.readUInt16BE(2 * there(address)),
    getCoil: (address) => coils[there(address)],
    getDiscreteInput: (address) => there(address) % 2 === 1,
    setRegister: (address, value) => void holding.writeUInt16BE(value, 2 * there(address)),
    setCoil: (address, value) => void (coils[there(address)] = value),
  },
  { host: "127.0.0.1", port: 0, unitID: 255 },
);
server.on("initialized", () => console.log(server._server.address().port));
server.on("socketError", () => {});
