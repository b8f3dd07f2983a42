//! `cmsgpack`: values in the `MessagePack` format.

use mlua::{Lua, MultiValue, Result, Table, Value};

use super::args::Args;
use crate::script::raise;

/// Tables inside tables that are written; deeper ones become nil, as Redis has it.
const PACK_DEPTH_MAX: usize = 16;
/// Arrays and maps inside each other that are read.
const UNPACK_DEPTH_MAX: usize = 100;

pub(super) fn library(lua: &Lua) -> Result<Table> {
    let library = lua.create_table()?;
    library.raw_set("pack", lua.create_function(|lua, values: MultiValue| pack(lua, &values))?)?;
    let unpack_all = lua.create_function(|lua, values: MultiValue| {
        let args = Args::new(lua, "unpack", &values);
        unpack(&args, 0, 0, true)
    })?;
    library.raw_set("unpack", unpack_all)?;
    let unpack_one = lua.create_function(|lua, values: MultiValue| {
        let args = Args::new(lua, "unpack_one", &values);
        let offset = args.integer_or(2, 0)?;
        unpack(&args, 1, offset, false)
    })?;
    library.raw_set("unpack_one", unpack_one)?;
    let unpack_limit = lua.create_function(|lua, values: MultiValue| {
        let args = Args::new(lua, "unpack_limit", &values);
        let limit = args.number(2)? as i64;
        let offset = args.integer_or(3, 0)?;
        unpack(&args, limit, offset, false)
    })?;
    library.raw_set("unpack_limit", unpack_limit)?;
    library.raw_set("_NAME", "cmsgpack")?;
    library.raw_set("_VERSION", "lua-cmsgpack 0.4.0")?;
    library.raw_set("_COPYRIGHT", "Copyright (C) 2012, Salvatore Sanfilippo")?;
    library.raw_set("_DESCRIPTION", "MessagePack C implementation for Lua")?;
    Ok(library)
}

fn pack(lua: &Lua, values: &MultiValue) -> Result<mlua::LuaString> {
    if values.is_empty() {
        return Err(Args::new(lua, "pack", values).refused(0, "MessagePack pack needs input."));
    }
    let mut out = Vec::new();
    for value in values {
        write(value, 0, &mut out)?;
    }
    lua.create_string(out)
}

fn write(value: &Value, depth: usize, out: &mut Vec<u8>) -> Result<()> {
    match value {
        Value::Boolean(value) => out.push(if *value { 0xc3 } else { 0xc2 }),
        Value::Integer(number) => write_integer(*number, out),
        Value::Number(number) => write_number(*number, out),
        Value::String(text) => {
            let text = text.as_bytes();
            write_length(text.len(), (0xa0, 32), [Some(0xd9), Some(0xda), Some(0xdb)], out);
            out.extend_from_slice(&text);
        }
        Value::Table(table) if depth < PACK_DEPTH_MAX => write_table(table, depth + 1, out)?,
        _ => out.push(0xc0),
    }
    Ok(())
}

fn write_number(number: f64, out: &mut Vec<u8>) {
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    if number.fract() == 0.0 && (-LIMIT..LIMIT).contains(&number) {
        write_integer(number as i64, out);
    } else if f64::from(number as f32).to_bits() == number.to_bits() {
        out.push(0xca);
        out.extend_from_slice(&(number as f32).to_be_bytes());
    } else {
        out.push(0xcb);
        out.extend_from_slice(&number.to_be_bytes());
    }
}

fn write_integer(number: i64, out: &mut Vec<u8>) {
    let bytes = number.to_be_bytes();
    let (kind, len) = match number {
        -32..=0x7f => (None, 1),
        0x80..=0xff => (Some(0xcc), 1),
        0x100..=0xffff => (Some(0xcd), 2),
        0x1_0000..=0xffff_ffff => (Some(0xce), 4),
        0x1_0000_0000.. => (Some(0xcf), 8),
        -0x80..=-33 => (Some(0xd0), 1),
        -0x8000..=-0x81 => (Some(0xd1), 2),
        -0x8000_0000..=-0x8001 => (Some(0xd2), 4),
        _ => (Some(0xd3), 8),
    };
    out.extend(kind);
    out.extend_from_slice(bytes.get(8 - len..).unwrap_or_default());
}

/// A length: in the kind itself if it is below `short.1`, else behind the kind of its size (1, 2 and 4 bytes).
fn write_length(len: usize, short: (u8, usize), kinds: [Option<u8>; 3], out: &mut Vec<u8>) {
    if len < short.1 {
        out.push(short.0 | len as u8);
        return;
    }
    let bytes = (len as u32).to_be_bytes();
    let [kind8, kind16, kind32] = kinds;
    let (kind, size) = match len {
        0..=0xff if kind8.is_some() => (kind8, 1),
        0..=0xffff => (kind16, 2),
        _ => (kind32, 4),
    };
    out.extend(kind);
    out.extend_from_slice(bytes.get(4 - size..).unwrap_or_default());
}

fn write_table(table: &Table, depth: usize, out: &mut Vec<u8>) -> Result<()> {
    let (mut items, mut max, mut sequence) = (0, 0, true);
    for pair in table.pairs::<Value, Value>() {
        items += 1;
        match pair?.0 {
            Value::Integer(key) if key > 0 => max = max.max(key),
            _ => sequence = false,
        }
    }
    if sequence && max == i64::try_from(items).unwrap_or(i64::MAX) {
        write_length(items, (0x90, 16), [None, Some(0xdc), Some(0xdd)], out);
        for index in 1..=items {
            write(&table.raw_get(index)?, depth, out)?;
        }
        return Ok(());
    }
    write_length(items, (0x80, 16), [None, Some(0xde), Some(0xdf)], out);
    for pair in table.pairs::<Value, Value>() {
        let (key, value) = pair?;
        write(&key, depth, out)?;
        write(&value, depth, out)?;
    }
    Ok(())
}

/// Reads values: all of them (`limit` 0), or as many as `limit` says. Unless all were asked for, the place to go on
/// from comes first, or -1 at the end.
fn unpack(args: &Args<'_>, limit: i64, offset: i64, all: bool) -> Result<MultiValue> {
    let text = args.string(1)?;
    let text = text.as_bytes();
    if limit < 0 || offset < 0 {
        let len = text.len();
        return Err(
            args.failed(&format!("Invalid request to unpack with offset of {offset} and limit of {len}."))
        );
    }
    let start = usize::try_from(offset).unwrap_or(usize::MAX);
    let Some(bytes) = text.get(start..) else {
        let len = text.len();
        return Err(args.failed(&format!("Start offset {offset} greater than input length {len}.")));
    };
    let mut reader = Reader { args, bytes };
    let mut values = MultiValue::new();
    while !reader.bytes.is_empty() && (limit == 0 || (values.len() as i64) < limit) {
        let value = reader.value(0)?;
        values.push_back(value);
    }
    if !all && limit > 0 {
        let next = if reader.bytes.is_empty() { -1 } else { (text.len() - reader.bytes.len()) as i64 };
        values.push_front(Value::Integer(next));
    }
    Ok(values)
}

struct Reader<'a> {
    args: &'a Args<'a>,
    bytes: &'a [u8],
}

impl Reader<'_> {
    fn take(&mut self, len: usize) -> Result<&[u8]> {
        let (taken, rest) =
            self.bytes.split_at_checked(len).ok_or_else(|| self.args.failed("Missing bytes in input."))?;
        self.bytes = rest;
        Ok(taken)
    }

    fn unsigned(&mut self, len: usize) -> Result<u64> {
        Ok(self.take(len)?.iter().fold(0, |value, &byte| (value << 8) | u64::from(byte)))
    }

    fn signed(&mut self, len: usize) -> Result<Value> {
        let unused = 64 - 8 * len as u32;
        let value = self.unsigned(len)?;
        Ok(Value::Number(((value << unused).cast_signed() >> unused) as f64))
    }

    fn length(&mut self, len: usize) -> Result<usize> {
        Ok(usize::try_from(self.unsigned(len)?).unwrap_or(usize::MAX))
    }

    fn value(&mut self, depth: usize) -> Result<Value> {
        let kind = self.take(1)?.first().copied().unwrap_or_default();
        Ok(match kind {
            0x00..=0x7f => Value::Integer(kind.into()),
            0xe0..=0xff => Value::Integer(kind.cast_signed().into()),
            0x80..=0x8f => self.map((kind & 0x0f).into(), depth)?,
            0x90..=0x9f => self.array((kind & 0x0f).into(), depth)?,
            0xa0..=0xbf => self.text((kind & 0x1f).into())?,
            0xc0 => Value::Nil,
            0xc2 => Value::Boolean(false),
            0xc3 => Value::Boolean(true),
            0xca => Value::Number(f32::from_bits(self.unsigned(4)? as u32).into()),
            0xcb => Value::Number(f64::from_bits(self.unsigned(8)?)),
            0xcc => Value::Number(self.unsigned(1)? as f64),
            0xcd => Value::Number(self.unsigned(2)? as f64),
            0xce => Value::Number(self.unsigned(4)? as f64),
            // Redis reads these as signed too.
            0xcf | 0xd3 => self.signed(8)?,
            0xd0 => self.signed(1)?,
            0xd1 => self.signed(2)?,
            0xd2 => self.signed(4)?,
            0xd9..=0xdb => {
                let len = self.length(1 << (kind - 0xd9))?;
                self.text(len)?
            }
            0xdc | 0xdd => {
                let len = self.length(2 << (kind - 0xdc))?;
                self.array(len, depth)?
            }
            0xde | 0xdf => {
                let len = self.length(2 << (kind - 0xde))?;
                self.map(len, depth)?
            }
            _ => return Err(self.args.failed("Bad data format in input.")),
        })
    }

    fn text(&mut self, len: usize) -> Result<Value> {
        let lua = self.args.lua;
        self.take(len).and_then(|text| lua.create_string(text)).map(Value::String)
    }

    fn array(&mut self, len: usize, depth: usize) -> Result<Value> {
        self.check_depth(depth, "mp_decode_to_lua_array")?;
        let table = self.args.lua.create_table()?;
        for index in 1..=len {
            let value = self.value(depth + 1)?;
            table.raw_set(index, value)?;
        }
        Ok(Value::Table(table))
    }

    fn map(&mut self, len: usize, depth: usize) -> Result<Value> {
        self.check_depth(depth, "mp_decode_to_lua_hash")?;
        let table = self.args.lua.create_table()?;
        for _ in 0..len {
            let key = self.value(depth + 1)?;
            let value = self.value(depth + 1)?;
            match key {
                Value::Nil => return Err(raise::plain("table index is nil")),
                Value::Number(key) if key.is_nan() => return Err(raise::plain("table index is NaN")),
                key => table.raw_set(key, value)?,
            }
        }
        Ok(Value::Table(table))
    }

    fn check_depth(&self, depth: usize, place: &str) -> Result<()> {
        if depth < UNPACK_DEPTH_MAX {
            return Ok(());
        }
        Err(self.args.failed(&format!("stack overflow (in function {place})")))
    }
}
