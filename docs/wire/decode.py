"""Frame messages of onpath to JSON lines: python3 decode.py < FILE. NaN, infinities, -0.0 come as their bits in hex."""
import itertools, json, struct, sys, zlib, msgpack, zstandard
def unpack(sealed): return msgpack.unpackb(unseal(sealed), strict_map_key=False)
def unseal(raw):
    if raw[0] != 2 or zlib.crc32(raw[:-4]) != int.from_bytes(raw[-4:], "little"): raise ValueError("damaged or newer")
    return zstandard.decompress(raw[2:-4]) if raw[1] else raw[2:-4]
def cast(number, how, to): return struct.unpack(to, struct.pack(how, number))[0]
def wrap(number): return (number + (1 << 63)) % (1 << 64) - (1 << 63)
def value_of(code, number):
    if code > 31: return cast(number, "<i", "<f") if code == 32 else cast(number, "<q", "<d")
    return number / 10**code if code < 16 else cast(number / 10 ** (code - 16), "<f", "<f")
class Reader:
    def __init__(self, raw): self.bytes = iter(raw)
    def varint(self): return (byte := next(self.bytes)) & 127 | (self.varint() << 7 if byte > 127 else 0)
    def signed(self): return (number := self.varint()) >> 1 ^ -(number & 1)
    def column(self, n):
        form, width, stepped = (head := self.varint()) & 3, head >> 2 & 7, head & 32
        firsts = [self.signed() for _ in range(2 if form == 3 else 1)]
        if form == 0: return firsts * n
        step, count = self.varint() if stepped else 1, n + 1 - form
        raw = bytes(itertools.islice(self.bytes, count * (0, 1, 2, 4, 8, 0)[width]))
        whole = (int.from_bytes(raw[i::count], "little", signed=True) for i in range(count))
        numbers = [step * (self.signed() if width == 5 else next(whole)) for i in range(count)]
        if form == 1: numbers, firsts = [firsts[0] + number for number in numbers], ()
        for first in reversed(firsts): numbers = list(itertools.accumulate(numbers, initial=first))
        return [wrap(number) for number in numbers]
    def series(self, runs):
        out = [[head] for head in self.column(len(runs))]
        if max(runs) == 1: return out
        before, rest = -self.varint(), iter(self.column(sum(runs) - len(runs)))
        for run, length in zip(out, runs):
            for _ in range(length - 1): run.append(wrap(run[before] + next(rest)))
        return out
def columns(raw):
    if raw[:2] != b"\2\0": raise ValueError("a layout that is not known")
    if not (n := (reader := Reader(raw[2:])).varint()): return []
    points = reader.column(count := reader.varint())
    runs, shares, times = reader.column(count), [0] + (reader.column(count - 1) if count > 1 else []), []
    own = iter(reader.series([run for run, share in zip(runs, shares) if not share]))
    for share in shares: times.append(times[-1] if share else next(own))
    quality, codes, specials, found = reader.column(n), reader.column(count), reader.varint(), {}
    specials = dict(zip(reader.column(specials), reader.column(specials))) if specials else {}
    for low, high in (0, 31), (32, 32), (33, 33):
        mine = [k for k in range(count) if low <= codes[k] <= high]
        found |= zip(mine, reader.series([runs[k] for k in mine])) if mine else {}
    values = [value_of(codes[k], number) for k in range(count) for number in found[k]]
    for place, bits in specials.items(): values[place] = f"0x{bits % (1 << 64):016x}"
    return zip((k for k, run in zip(points, runs) for _ in range(run)), itertools.chain(*times), values, quality)
def points_of(name): return points_of(parts[name][0]) | parts[name][1] if name else {}
def sample(p, t, v, q):
    return {"point": p["name"], "time": t, "value": dict(enumerate(p.get("states", ()))).get(v, v), "quality": q}
messages = list(msgpack.Unpacker(sys.stdin.buffer, strict_map_key=False))
if any(message.get("onpath") != 2 for message in messages): raise ValueError("a message not of version 2")
parts = {each["directory"]: (each["base"], unpack(each["points"])) for each in messages if "points" in each}
for message in (each for each in messages if "h" in each):
    *record, directory, chain, back, more = [*unpack(message["h"]), {}][:9]
    record = dict(zip(("gateway", "epoch", "seq", "pipeline", "historical"), record)) | more
    record |= {"chain": chain, "prev": record["seq"] - back if back else 0} if chain else {}
    points, rows = points_of(directory.hex()), columns(unseal(message["c"])) if "c" in message else []
    print(json.dumps(record | {"samples": [sample(points[point], *row) for point, *row in rows]}))
