// A server made with npm's modbus-serial for the interop test: TCP on a free port, which it prints.
// Registers and bits 0 to 199 exist; all else is refused with exception 2.
"use strict";
const ModbusRTU = require("modbus-serial");
const vector = require("./modbus_serial_map");

const server = new ModbusRTU.ServerTCP(vector, { host: "127.0.0.1", port: 0, unitID: 255 });
server.on("initialized", () => console.log(server._server.address().port));
server.on("socketError", () => {});
