// A server made with npm's modbus-serial for the interop test: RTU on the serial device that is named.
// Registers and bits 0 to 199 exist; all else is refused with exception 2.
"use strict";
const ModbusRTU = require("modbus-serial");
const vector = require("./modbus_serial_map");

const server = new ModbusRTU.ServerSerial(vector, { port: process.argv[2], baudRate: 19200, unitID: 17 });
server.on("initialized", () => console.log("0"));
server.on("socketError", () => {});
server.on("error", () => {});
