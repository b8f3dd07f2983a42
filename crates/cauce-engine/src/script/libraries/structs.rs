//! `struct`: values in the layout of C structures.

use mlua::{Lua, LuaString, MultiValue, Result, Table, Value};

use super::args::Args;

/// The largest integer that a format may ask for, in bytes.
const INTEGER_BYTES_MAX: usize = 32;
/// The alignment that `!` without a number means.
const ALIGNMENT: usize = 8;

pub(super) fn library(lua: &Lua) -> Result<Table> {
    let library = lua.create_table()?;
    library.raw_set("pack", lua.create_function(|lua, values: MultiValue| pack(lua, &values))?)?;
    library.raw_set("unpack", lua.create_function(|lua, values: MultiValue| unpack(lua, &values))?)?;
    library.raw_set("size", lua.create_function(|lua, values: MultiValue| size(lua, &values))?)?;
    Ok(library)
}

/// One item of a format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Item {
    option: u8,
    /// Its bytes; 0 where the data decides.
    size: usize,
}

/// Reads a format from left to right.
struct Format<'a> {
    args: &'a Args<'a>,
    text: &'a [u8],
    little_endian: bool,
    align: usize,
}

impl<'a> Format<'a> {
    fn new(args: &'a Args<'a>, text: &'a [u8]) -> Self {
        Self { args, text, little_endian: true, align: 1 }
    }

    /// The next item; options that only change how others are read are taken on the way.
    fn next(&mut self) -> Result<Option<Item>> {
        while let [option, rest @ ..] = self.text {
            self.text = rest;
            let size = match option {
                b' ' => continue,
                b'<' => {
                    self.little_endian = true;
                    continue;
                }
                b'>' => {
                    self.little_endian = false;
                    continue;
                }
                b'!' => {
                    self.set_alignment()?;
                    continue;
                }
                b'b' | b'B' | b'x' => 1,
                b'h' | b'H' => 2,
                b'l' | b'L' | b'T' | b'd' => 8,
                b'f' => 4,
                b's' => 0,
                b'c' => self.number().unwrap_or(1),
                b'i' | b'I' => self.integer_size()?,
                _ => {
                    let option = char::from(*option);
                    return Err(self.args.refused(1, &format!("invalid format option '{option}'")));
                }
            };
            return Ok(Some(Item { option: *option, size }));
        }
        Ok(None)
    }

    fn set_alignment(&mut self) -> Result<()> {
        let align = self.number().unwrap_or(ALIGNMENT);
        if align == 0 || !align.is_power_of_two() {
            return Err(self.args.failed(&format!("alignment {align} is not a power of 2")));
        }
        self.align = align;
        Ok(())
    }

    fn integer_size(&mut self) -> Result<usize> {
        let size = self.number().unwrap_or(4);
        if size > INTEGER_BYTES_MAX {
            let message = format!("integral size {size} is larger than limit of {INTEGER_BYTES_MAX}");
            return Err(self.args.failed(&message));
        }
        Ok(size)
    }

    /// A decimal number, if one stands here.
    fn number(&mut self) -> Option<usize> {
        let len = self.text.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (digits, rest) = self.text.split_at(len);
        self.text = rest;
        let text = std::str::from_utf8(digits).ok().filter(|text| !text.is_empty())?;
        // Too large a number is larger than any data.
        Some(text.parse().unwrap_or(i32::MAX as usize).min(i32::MAX as usize))
    }

    /// Bytes left out before an item at `position`.
    fn padding(&self, item: Item, position: usize) -> usize {
        if item.size == 0 || item.option == b'c' || item.option == b'x' {
            return 0;
        }
        let align = item.size.min(self.align);
        if !align.is_power_of_two() {
            return 0;
        }
        position.wrapping_neg() & (align - 1)
    }
}

fn pack(lua: &Lua, values: &MultiValue) -> Result<LuaString> {
    let args = Args::new(lua, "pack", values);
    let text = args.string(1)?;
    let text = text.as_bytes();
    let mut format = Format::new(&args, &text);
    let (mut out, mut position) = (Vec::new(), 2);
    while let Some(item) = format.next()? {
        out.resize(out.len() + format.padding(item, out.len()), 0);
        if item.option == b'x' {
            out.push(0);
            continue;
        }
        pack_item(&args, position, item, format.little_endian, &mut out)?;
        position += 1;
    }
    lua.create_string(out)
}

fn pack_item(args: &Args<'_>, position: usize, item: Item, little: bool, out: &mut Vec<u8>) -> Result<()> {
    match item.option {
        b's' | b'c' => {
            let text = args.string(position)?;
            let text = text.as_bytes();
            let wanted = if item.size == 0 { text.len() } else { item.size };
            // Redis names the argument behind it.
            let Some(text) = text.get(..wanted) else {
                return Err(args.refused(position + 1, "string too short"));
            };
            out.extend_from_slice(text);
            if item.option == b's' {
                out.push(0);
            }
        }
        b'f' => push(&(number(args, position)? as f32).to_le_bytes(), little, out),
        b'd' => push(&number(args, position)?.to_le_bytes(), little, out),
        _ => {
            let value = to_integer(number(args, position)?);
            // Bytes beyond the eighth are zero, as C leaves them.
            let bytes = value.to_le_bytes().into_iter().chain(std::iter::repeat(0));
            push(&bytes.take(item.size).collect::<Vec<_>>(), little, out);
        }
    }
    Ok(())
}

/// A missing argument is nil here, not "no value": the arguments end with a nil of their own in C.
fn number(args: &Args<'_>, position: usize) -> Result<f64> {
    if position > args.len() {
        return Err(args.refused(position, "number expected, got nil"));
    }
    args.number(position)
}

fn to_integer(number: f64) -> i64 {
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    match number {
        _ if number < 0.0 => number as i64,
        _ if number < 2.0 * LIMIT => (number as u64).cast_signed(),
        _ => 0,
    }
}

fn push(bytes: &[u8], little_endian: bool, out: &mut Vec<u8>) {
    if little_endian {
        out.extend_from_slice(bytes);
    } else {
        out.extend(bytes.iter().rev());
    }
}

fn unpack(lua: &Lua, values: &MultiValue) -> Result<MultiValue> {
    let args = Args::new(lua, "unpack", values);
    let (text, data) = (args.string(1)?, args.string(2)?);
    let (text, data) = (text.as_bytes(), data.as_bytes());
    let first = args.integer_or(3, 1)?;
    if first == 0 {
        return Err(args.refused(3, "offset must be 1 or greater"));
    }
    let mut at = usize::try_from(first - 1).unwrap_or(usize::MAX);
    let mut format = Format::new(&args, &text);
    let mut found: Vec<Value> = Vec::new();
    while let Some(item) = format.next()? {
        at = at.saturating_add(format.padding(item, at));
        let rest = data.get(at..).unwrap_or_default();
        if at > data.len() || item.size > rest.len() {
            return Err(args.refused(2, "data string too short"));
        }
        if item.option == b'x' {
            at += 1;
            continue;
        }
        let (value, len) = unpack_item(&args, item, rest, format.little_endian, &mut found)?;
        found.push(value);
        at += len;
    }
    found.push(Value::Integer(at as i64 + 1));
    Ok(MultiValue::from_vec(found))
}

/// The value of an item at the beginning of `data`, and how many bytes it takes.
fn unpack_item(
    args: &Args<'_>,
    item: Item,
    data: &[u8],
    little_endian: bool,
    found: &mut Vec<Value>,
) -> Result<(Value, usize)> {
    let mut bytes = [0; INTEGER_BYTES_MAX];
    let own = bytes.get_mut(..item.size.min(INTEGER_BYTES_MAX)).unwrap_or_default();
    own.copy_from_slice(data.get(..own.len()).unwrap_or_default());
    if !little_endian {
        own.reverse();
    }
    let [a, b, c, d, e, f, g, h, ..] = bytes;
    Ok(match item.option {
        b's' => {
            let len = data.iter().position(|&byte| byte == 0);
            let len = len.ok_or_else(|| args.failed("unfinished string in data"))?;
            let text = args.lua.create_string(data.get(..len).unwrap_or_default())?;
            (Value::String(text), len + 1)
        }
        b'c' => {
            let len = if item.size == 0 { previous_size(args, found)? } else { item.size };
            let Some(text) = data.get(..len) else { return Err(args.refused(2, "data string too short")) };
            (Value::String(args.lua.create_string(text)?), len)
        }
        b'f' => (Value::Number(f32::from_le_bytes([a, b, c, d]).into()), 4),
        b'd' => (Value::Number(f64::from_le_bytes([a, b, c, d, e, f, g, h])), 8),
        option => {
            let value = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
            let number = if option.is_ascii_lowercase() && option != b'T' {
                let unused = 64_u32.saturating_sub(8 * item.size as u32);
                let shifted = if unused == 64 { 0 } else { (value << unused).cast_signed() >> unused };
                shifted as f64
            } else {
                value as f64
            };
            (Value::Number(number), item.size)
        }
    })
}

/// `c0` takes the number before it as its size.
fn previous_size(args: &Args<'_>, found: &mut Vec<Value>) -> Result<usize> {
    match found.pop() {
        Some(Value::Number(size)) => Ok(size as usize),
        Some(Value::Integer(size)) => Ok(usize::try_from(size).unwrap_or(usize::MAX)),
        _ => Err(args.failed("format 'c0' needs a previous size")),
    }
}

fn size(lua: &Lua, values: &MultiValue) -> Result<i64> {
    let args = Args::new(lua, "size", values);
    let text = args.string(1)?;
    let text = text.as_bytes();
    let mut format = Format::new(&args, &text);
    let mut total: usize = 0;
    while let Some(item) = format.next()? {
        if item.size == 0 {
            let name = if item.option == b's' { "s" } else { "c0" };
            return Err(args.refused(1, &format!("option '{name}' has no fixed size")));
        }
        total = total.saturating_add(format.padding(item, total)).saturating_add(item.size);
    }
    Ok(total as i64)
}
