"""Checks what `fit` logged: a CSV or JSON-lines file, and the same numbers in a folder of TensorBoard's event files, which
are read here by their format and, where Python has it, by TensorBoard itself. Usage: check_curves.py FILE FOLDER"""
import csv
import json
import pathlib
import struct
import sys

NAMES = ("loss", "validation", "learning_rate", "gradient_norm")


def crc32c(data):
    """Bit by bit, of the polynomial."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


assert crc32c(b"123456789") == 0xE3069283  # RFC 3720's check value


def masked(data):
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def records(data):
    at = 0
    while at < len(data):
        length, crc = struct.unpack_from("<QI", data, at)
        assert crc == masked(data[at:at + 8])
        event = data[at + 12:at + 12 + length]
        assert len(event) == length and struct.unpack_from("<I", data, at + 12 + length)[0] == masked(event)
        yield event
        at += 16 + length


def varint(data, at):
    value = shift = 0
    while True:
        byte, at = data[at], at + 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at


def fields(message):
    """(number, value) of a protocol buffer: numbers, or bytes."""
    at = 0
    while at < len(message):
        key, at = varint(message, at)
        if key & 7 == 0:
            value, at = varint(message, at)
        elif key & 7 == 2:
            size, at = varint(message, at)
            value, at = message[at:at + size], at + size
        else:
            form, size = {1: ("<d", 8), 5: ("<f", 4)}[key & 7]
            value, at = struct.unpack_from(form, message, at)[0], at + size
        yield key >> 3, value


def read_events(folder):
    found = {}
    for path in sorted(folder.iterdir()):
        assert path.name.startswith("events.out.tfevents."), path
        first, *events = records(path.read_bytes())
        assert dict(fields(first))[3] == b"brain.Event:1"
        for event in map(lambda event: dict(fields(event)), events):
            assert 1.6e9 < event[1] < 1e11, "wall time"
            scalar = dict(fields(dict(fields(event[5]))[1]))
            tag, step = scalar[1].decode(), event[2]
            for key in [key for key in found if key[0] == tag and key[1] >= step]:  # as TensorBoard does
                del found[key]
            found[tag, step] = scalar[2]
    return found


def read_lines(path):
    if path.suffix == ".jsonl":
        rows = [json.loads(line) for line in path.read_text().splitlines()]
    else:
        rows = [{key: value for key, value in row.items() if value} for row in csv.DictReader(path.open())]
    assert len({(row["stage"], int(row["step"])) for row in rows}) == len(rows), "steps that come twice"
    return {(f"{row['stage']}/{name}", int(row["step"])): float(row[name]) for row in rows for name in NAMES
            if name in row}


def same(found, expected):
    assert found.keys() == expected.keys(), (found.keys() ^ expected.keys())
    assert all(abs(found[key] - value) <= 1e-5 * max(1e-6, abs(value)) for key, value in expected.items())


file, folder = map(pathlib.Path, sys.argv[1:])
lines = read_lines(file)
assert ("behavior/loss", 6) in lines and ("behavior/gradient_norm", 6) in lines
same(read_events(folder), lines)
try:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
except ImportError:
    print("TensorBoard is not here: its format alone was checked")
else:
    read = EventAccumulator(str(folder)).Reload()
    scalars = {(tag, event.step): event.value for tag in read.Tags()["scalars"] for event in read.Scalars(tag)}
    same(scalars, lines)
