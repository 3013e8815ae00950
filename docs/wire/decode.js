// Frame messages of onpath to JSON lines, by format.md alone: node decode.js < FILE
// Needs the npm packages @msgpack/msgpack and fzstd. Values that JSON cannot write (NaN, whose low 16 bits say why there
// is no value, infinities, -0) come as their 64 bits in hexadecimal. Integers of 64 bits are BigInt all the way.
"use strict";
const { decode, decodeMulti } = require("@msgpack/msgpack");
const { decompress } = require("fzstd");

const TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let bit = 0; bit < 8; bit++) n = n & 1 ? (n >>> 1) ^ 0xedb88320 : n >>> 1;
  return n >>> 0;
});
const crc32 = (bytes) => ~bytes.reduce((crc, byte) => TABLE[(crc ^ byte) & 255] ^ (crc >>> 8), -1) >>> 0;
const view = (bytes) => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
const hex = (bytes) => Buffer.from(bytes).toString("hex");

/** The content of an envelope. */
function unseal(raw) {
  if (raw[0] !== 2) throw new Error(`an envelope of version ${raw[0]}`);
  const end = raw.length - 4;
  if (crc32(raw.subarray(0, end)) !== view(raw).getUint32(end, true)) throw new Error("the checksum is wrong");
  const held = raw.subarray(2, end);
  return raw[1] === 1 ? decompress(held) : held;
}
const unpack = (sealed) => decode(unseal(sealed), { useBigInt64: true });

/** Takes numbers and columns of 64-bit integers from bytes. */
class Reader {
  constructor(bytes) {
    this.bytes = bytes;
    this.at = 0;
  }

  varint() {
    let number = 0n;
    for (let shift = 0n; ; shift += 7n) {
      if (this.at >= this.bytes.length) throw new Error("bytes are missing");
      const byte = this.bytes[this.at++];
      number |= BigInt(byte & 127) << shift;
      if (byte < 128) return number;
    }
  }

  small() {
    return Number(this.varint());
  }

  signed() {
    const number = this.varint();
    return (number >> 1n) ^ -(number & 1n);
  }

  /** The next n numbers of so many bytes each, stored all lowest bytes first. */
  shuffled(n, size) {
    const part = this.bytes.subarray(this.at, (this.at += n * size));
    return Array.from({ length: n }, (_, k) => {
      let number = 0n;
      for (let byte = size; byte-- > 0; ) number = (number << 8n) | BigInt(part[byte * n + k]);
      return BigInt.asIntN(8 * size, number);
    });
  }

  column(n) {
    const head = this.small();
    const [form, width] = [head & 3, (head >> 2) & 7];
    const first = this.signed();
    if (form === 0) return Array(n).fill(first);
    const firsts = form === 3 ? [first, this.signed()] : [first];
    const step = head & 32 ? this.varint() : 1n;
    const count = n + 1 - form;
    let numbers = width === 5 ? Array.from({ length: count }, () => this.signed()) : this.shuffled(count, [0, 1, 2, 4, 8][width]);
    numbers = numbers.map((number) => number * step);
    if (form === 1) return numbers.map((number) => BigInt.asIntN(64, first + number));
    for (const start of firsts.reverse()) {
      let sum = start;
      numbers = [start, ...numbers.map((number) => (sum = BigInt.asIntN(64, sum + number)))];
    }
    return numbers;
  }

  /** A list of numbers for each run. */
  series(runs) {
    const out = this.column(runs.length).map((head) => [head]);
    const rest = runs.reduce((sum, run) => sum + run - 1, 0);
    if (rest === 0) return out;
    const differences = this.small() === 1;
    const numbers = this.column(rest).values();
    out.forEach((run, k) => {
      while (run.length < runs[k]) {
        run.push(BigInt.asIntN(64, run[differences ? run.length - 1 : 0] + numbers.next().value));
      }
    });
    return out;
  }
}

const cast = new DataView(new ArrayBuffer(8));

function valueOf(code, number) {
  if (code === 33) return cast.setBigInt64(0, number), cast.getFloat64(0);
  if (code === 32) return cast.setInt32(0, Number(number)), cast.getFloat32(0);
  const value = Number(number) / 10 ** (code & 15);
  return code < 16 ? value : Math.fround(value);
}

/** Lists of [point, time, value, quality], grouped by point. */
function columns(raw) {
  if (raw[0] !== 2 || raw[1] !== 0) throw new Error("columns of a version or layout that is not known");
  const reader = new Reader(raw.subarray(2));
  const n = reader.small();
  if (n === 0) return [];
  const count = reader.small();
  const points = reader.column(count);
  const runs = reader.column(count).map(Number);
  const shares = count > 1 ? [0n, ...reader.column(count - 1)] : [0n];
  const own = reader.series(runs.filter((_, k) => !shares[k])).values();
  const times = [];
  for (const share of shares) times.push(share ? times.at(-1) : own.next().value);
  const quality = reader.column(n);
  const codes = reader.column(count).map(Number);
  const specials = reader.small();
  const places = specials ? reader.column(specials) : [];
  const bits = specials ? reader.column(specials) : [];
  const values = Array(count);
  for (const [low, high] of [[0, 31], [32, 32], [33, 33]]) {
    const mine = [...codes.keys()].filter((k) => low <= codes[k] && codes[k] <= high);
    if (!mine.length) continue;
    const found = reader.series(mine.map((k) => runs[k]));
    mine.forEach((k, at) => (values[k] = found[at].map((number) => valueOf(codes[k], number))));
  }
  const rows = points.flatMap((point, k) => times[k].map((time, at) => [point, time, values[k][at]]));
  places.forEach((place, k) => (rows[Number(place)][2] = "0x" + BigInt.asUintN(64, bits[k]).toString(16).padStart(16, "0")));
  return rows.map((row, at) => [...row, quality[at]]);
}

/** Directories by hash: [hash of the base, points of this one]. */
const parts = new Map();

function pointsOf(name) {
  if (!name) return {};
  if (!parts.has(name)) throw new Error(`directory ${name} was not among the messages before`);
  const [base, points] = parts.get(name);
  return { ...pointsOf(base), ...points };
}

function batch(message) {
  const [gateway, epoch, seq, pipeline, historical, directory, chain, back, more] = unpack(message.h);
  const record = { gateway, epoch, seq, pipeline, historical, ...more };
  if (chain) Object.assign(record, { chain, prev: back ? BigInt(seq) - BigInt(back) : 0 });
  const points = message.c ? pointsOf(hex(directory)) : {};
  const rows = message.c ? columns(unseal(message.c)) : [];
  record.samples = rows.map(([id, time, value, quality]) => {
    const { name, states } = points[id];
    return { point: name, time, value: states?.[value] ?? value, quality };
  });
  return record;
}

/** JSON with integers of any size. */
function text(any) {
  if (typeof any === "bigint") return any.toString();
  if (Array.isArray(any)) return `[${any.map(text).join(", ")}]`;
  if (any === null || typeof any !== "object") return JSON.stringify(any);
  return `{${Object.entries(any).map(([key, value]) => `${JSON.stringify(key)}: ${text(value)}`).join(", ")}}`;
}

const stream = require("node:fs").readFileSync(0);
for (const message of stream.length ? decodeMulti(stream, { useBigInt64: true }) : []) {
  if (message.onpath !== 2) throw new Error(`a message of version ${message.onpath}`);
  if (message.points) parts.set(message.directory, [message.base, unpack(message.points)]);
  if (message.h) console.log(text(batch(message)));
}
