// What the servers made with npm's modbus-serial hold.
"use strict";
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

module.exports = {
  getInputRegister: (address, unit) => 1000 * unit + there(address),
  getHoldingRegister: (address) => holding.readUInt16BE(2 * there(address)),
  getCoil: (address) => coils[there(address)],
  getDiscreteInput: (address) => there(address) % 2 === 1,
  setRegister: (address, value) => void holding.writeUInt16BE(value, 2 * there(address)),
  setCoil: (address, value) => void (coils[there(address)] = value),
};
