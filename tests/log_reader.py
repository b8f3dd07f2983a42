#!/usr/bin/env python3
"""Lists the records of a log directory: one line each, its number and its bytes in hexadecimal.

With --checkpoint, the records of the checkpoint instead, counted from 1; the last line says which record of the log they
stand for.

Written from docs/log-format.md alone, to prove that the page is enough.
"""

import os
import struct
import sys

TABLE = []
for byte in range(256):
    for _ in range(8):
        byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
    TABLE.append(byte)


def crc32c(data):
    value = 0xFFFFFFFF
    for byte in data:
        value = value >> 8 ^ TABLE[(value ^ byte) & 0xFF]
    return value ^ 0xFFFFFFFF


def segments(directory):
    """(header fields, bytes) of the segments that hold records, oldest first."""
    for name in sorted(name for name in os.listdir(directory) if name.startswith("log-")):
        with open(os.path.join(directory, name), "rb") as file:
            data = file.read()
        magic, checksum, version, number, epoch, first, _durable, continues = struct.unpack_from("<8sIIQQQQI", data)
        if magic != b"CAUCELOG" or checksum != crc32c(data[12:56]) or number != int(name[4:]):
            sys.exit(f"{name} is damaged at byte 0")
        if version != 1:
            sys.exit(f"{name} has format {version}")
        if first > 0:
            yield number, epoch, first, continues == 1, data


def leb128(data, at):
    value = shift = 0
    while True:
        value |= (data[at] & 0x7F) << shift
        shift += 7
        at += 1
        if data[at - 1] < 0x80:
            return value, at


def records(payload):
    at = 0
    while at < len(payload):
        count, at = leb128(payload, at)
        for _ in range(count):
            length, at = leb128(payload, at)
            yield payload[at : at + length]
            at += length


def frames(epoch, data):
    """(first, kind, part, payload) of the whole frames of a segment."""
    at = 4096
    while at + 40 <= len(data):
        checksum, length, found, first, _durable, _records, word = struct.unpack_from("<IIQQQII", data, at)
        if found != epoch or at + 40 + length > len(data) or checksum != crc32c(data[at + 4 : at + 40 + length]):
            return
        yield first, word & 0xFF, word >> 8, data[at + 40 : at + 40 + length]
        at = (at + 40 + length + 7) // 8 * 8


def read(directory):
    before = following = None
    unit, parts = b"", 0
    for number, epoch, first, continues, data in segments(directory):
        if before is not None and (number != before + 1 or first != following or continues != (parts > 0)):
            return
        before, following = number, first if following is None else following
        for first, kind, part, payload in frames(epoch, data):
            if first != following or part != parts:
                break
            unit, parts = unit + payload, parts + 1
            if kind != 1:
                for record in records(unit):
                    yield following, record
                    following += 1
                unit, parts = b"", 0


def check_blocks(directory, number, length):
    """A file of blocks: each is compared with its checksum."""
    name = f"blocks-{number:012}"
    with open(os.path.join(directory, name), "rb") as file:
        data = file.read()
    magic, version, _, found = struct.unpack_from("<8sIIQ", data)
    at = 24
    while at < len(data):
        size, checksum = struct.unpack_from("<II", data, at)
        if checksum != crc32c(data[at + 8 : at + 8 + size]):
            sys.exit(f"{name} is damaged at byte {at}")
        at += 8 + size
    if magic != b"CAUCEBLK" or version != 1 or found != number or not at == len(data) == length:
        sys.exit(f"{name} is damaged")


def checkpoint(directory):
    """(position, records) of the checkpoint in force; None if there is none."""
    try:
        with open(os.path.join(directory, "checkpoint"), "rb") as file:
            data = file.read()
    except FileNotFoundError:
        return None
    magic, checksum, version, position, parts, files = struct.unpack_from("<8sIIQQQ", data)
    if magic != b"CAUCECKP" or checksum != crc32c(data[12:]) or len(data) != 40 + 32 * parts + 16 * files:
        sys.exit("checkpoint is damaged")
    if version != 2:
        sys.exit(f"checkpoint has format {version}")
    for index in range(files):
        check_blocks(directory, *struct.unpack_from("<QQ", data, 40 + 32 * parts + 16 * index))
    found = []
    for row in range(parts):
        origin, index, length, checksum = struct.unpack_from("<QQQQ", data, 40 + 32 * row)
        name = f"part-{origin:020}-{index:06}"
        with open(os.path.join(directory, name), "rb") as file:
            part = file.read()
        if len(part) != length or checksum != crc32c(part):
            sys.exit(f"{name} is damaged")
        at = 0
        while at < len(part):
            (length,) = struct.unpack_from("<I", part, at)
            found.append(part[at + 4 : at + 4 + length])
            at += 4 + length
    return position, found


if __name__ == "__main__":
    if sys.argv[1] == "--checkpoint":
        position, found = checkpoint(sys.argv[2])
        for number, record in enumerate(found, 1):
            print(number, record.hex())
        print("position", position)
    else:
        for number, record in read(sys.argv[1]):
            print(number, record.hex())
