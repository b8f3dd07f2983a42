//! `cjson`: its functions and settings, and writing JSON. [`super::json`] reads it.

use std::cell::RefCell;
use std::rc::Rc;

use mlua::{Lua, MultiValue, Result, Table, Value};

use super::args::{Args, type_name};
use super::json;
use crate::script::memory::with_room;
use crate::script::number::write_g;
use crate::script::raise;

/// Tables inside tables that are written, at most, whatever a script sets: each takes a part of the thread's stack,
/// and far more of it in builds that are not optimised.
const WRITTEN_DEPTH_MAX: i64 = if cfg!(debug_assertions) { 200 } else { DEPTH_MAX };
/// Tables inside tables, at most, whatever a script sets.
pub(super) const DEPTH_MAX: i64 = 1000;

/// What a document costs at most as values of Lua: `[]` is a table.
const BYTES_PER_BYTE: usize = 64;

/// What `encode_invalid_numbers` chose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum InvalidNumbers {
    Refused,
    Written,
    Null,
}

/// The settings of one `cjson` (`cjson.new` makes another).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Config {
    sparse_convert: bool,
    sparse_ratio: i64,
    sparse_safe: i64,
    encode_depth: i64,
    pub(super) decode_depth: i64,
    precision: i64,
    keep_buffer: bool,
    encode_invalid: InvalidNumbers,
    pub(super) decode_invalid: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            sparse_convert: false,
            sparse_ratio: 2,
            sparse_safe: 10,
            encode_depth: DEPTH_MAX,
            decode_depth: DEPTH_MAX,
            precision: 14,
            keep_buffer: true,
            encode_invalid: InvalidNumbers::Refused,
            decode_invalid: true,
        }
    }
}

/// The settings that the functions of one `cjson` share.
pub(in crate::script) type Shared = Rc<RefCell<Config>>;

pub(super) fn library(lua: &Lua, config: &Shared) -> Result<Table> {
    let library = lua.create_table()?;
    let own = Rc::clone(config);
    let encode = lua.create_function(move |lua, values: MultiValue| {
        let args = Args::new(lua, "encode", &values);
        if args.len() != 1 {
            return Err(args.refused(1, "expected 1 argument"));
        }
        let mut writer = Writer { lua, config: *own.borrow(), out: Vec::new() };
        writer.value(&args.value(1), 0)?;
        lua.create_string(&writer.out)
    })?;
    library.raw_set("encode", encode)?;
    let own = Rc::clone(config);
    let decode = lua.create_function(move |lua, values: MultiValue| {
        let args = Args::new(lua, "decode", &values);
        if args.len() != 1 {
            return Err(args.refused(1, "expected 1 argument"));
        }
        let (text, config) = (args.string(1)?, *own.borrow());
        let text = text.as_bytes();
        with_room(lua, text.len() * BYTES_PER_BYTE, || json::decode(lua, &text, config))
    })?;
    library.raw_set("decode", decode)?;
    add_settings(lua, &library, config)?;
    library
        .raw_set("new", lua.create_function(|lua, _: MultiValue| self::library(lua, &Shared::default()))?)?;
    library.raw_set("null", Value::NULL)?;
    library.raw_set("_NAME", "cjson")?;
    library.raw_set("_VERSION", "2.1.0")?;
    Ok(library)
}

fn add_settings(lua: &Lua, library: &Table, config: &Shared) -> Result<()> {
    type Field = fn(&mut Config) -> &mut i64;
    let numbers: [(&'static str, i64, Field); 3] = [
        ("encode_max_depth", i64::from(i32::MAX), |config| &mut config.encode_depth),
        ("decode_max_depth", i64::from(i32::MAX), |config| &mut config.decode_depth),
        ("encode_number_precision", 14, |config| &mut config.precision),
    ];
    for (name, max, field) in numbers {
        let own = Rc::clone(config);
        let setting = lua.create_function(move |lua, values: MultiValue| {
            let args = Args::new(lua, name, &values);
            check_count(&args, 1)?;
            set_number(&args, 1, (1, max), field(&mut own.borrow_mut()))
        })?;
        library.raw_set(name, setting)?;
    }
    type Flag = fn(&mut Config) -> &mut bool;
    let flags: [(&'static str, Flag); 2] = [
        ("encode_keep_buffer", |config| &mut config.keep_buffer),
        ("decode_invalid_numbers", |config| &mut config.decode_invalid),
    ];
    for (name, field) in flags {
        let own = Rc::clone(config);
        let setting = lua.create_function(move |lua, values: MultiValue| {
            let args = Args::new(lua, name, &values);
            check_count(&args, 1)?;
            set_flag(&args, 1, field(&mut own.borrow_mut()))
        })?;
        library.raw_set(name, setting)?;
    }
    let own = Rc::clone(config);
    let sparse = lua.create_function(move |lua, values: MultiValue| {
        let args = Args::new(lua, "encode_sparse_array", &values);
        check_count(&args, 3)?;
        let mut config = own.borrow_mut();
        let max = i64::from(i32::MAX);
        Ok((
            set_flag(&args, 1, &mut config.sparse_convert)?,
            set_number(&args, 2, (0, max), &mut config.sparse_ratio)?,
            set_number(&args, 3, (0, max), &mut config.sparse_safe)?,
        ))
    })?;
    library.raw_set("encode_sparse_array", sparse)?;
    let own = Rc::clone(config);
    let invalid = lua.create_function(move |lua, values: MultiValue| {
        let args = Args::new(lua, "encode_invalid_numbers", &values);
        check_count(&args, 1)?;
        set_invalid(&args, &mut own.borrow_mut().encode_invalid)
    })?;
    library.raw_set("encode_invalid_numbers", invalid)
}

fn check_count(args: &Args<'_>, max: usize) -> Result<()> {
    if args.len() > max { Err(args.refused(max + 1, "found too many arguments")) } else { Ok(()) }
}

fn set_number(args: &Args<'_>, position: usize, (min, max): (i64, i64), field: &mut i64) -> Result<i64> {
    if !args.value(position).is_nil() {
        let wanted = args.number(position)? as i64;
        if !(min..=max).contains(&wanted) {
            return Err(args.refused(position, &format!("expected integer between {min} and {max}")));
        }
        *field = wanted;
    }
    Ok(*field)
}

fn set_flag(args: &Args<'_>, position: usize, field: &mut bool) -> Result<bool> {
    match args.value(position) {
        Value::Nil => {}
        Value::Boolean(wanted) => *field = wanted,
        _ => {
            let text = args.string(position)?.to_string_lossy();
            *field = match text.as_str() {
                "on" => true,
                "off" => false,
                _ => return Err(args.refused(position, &format!("invalid option '{text}'"))),
            };
        }
    }
    Ok(*field)
}

fn set_invalid(args: &Args<'_>, field: &mut InvalidNumbers) -> Result<Value> {
    match args.value(1) {
        Value::Nil => {}
        Value::Boolean(true) => *field = InvalidNumbers::Written,
        Value::Boolean(false) => *field = InvalidNumbers::Refused,
        _ => {
            let text = args.string(1)?.to_string_lossy();
            *field = match text.as_str() {
                "on" => InvalidNumbers::Written,
                "off" => InvalidNumbers::Refused,
                "null" => InvalidNumbers::Null,
                _ => return Err(args.refused(1, &format!("invalid option '{text}'"))),
            };
        }
    }
    Ok(match field {
        InvalidNumbers::Refused => Value::Boolean(false),
        InvalidNumbers::Written => Value::Boolean(true),
        InvalidNumbers::Null => Value::String(args.lua.create_string("null")?),
    })
}

/// Writes one document.
struct Writer<'a> {
    lua: &'a Lua,
    config: Config,
    out: Vec<u8>,
}

impl Writer<'_> {
    fn value(&mut self, value: &Value, depth: i64) -> Result<()> {
        match value {
            Value::Nil => self.out.extend_from_slice(b"null"),
            Value::LightUserData(pointer) if pointer.0.is_null() => self.out.extend_from_slice(b"null"),
            Value::Boolean(true) => self.out.extend_from_slice(b"true"),
            Value::Boolean(false) => self.out.extend_from_slice(b"false"),
            Value::Integer(number) => self.number(*number as f64)?,
            Value::Number(number) => self.number(*number)?,
            Value::String(text) => self.string(&text.as_bytes()),
            Value::Table(table) => self.table(table, depth + 1)?,
            other => return Err(self.refused(type_name(other), "type not supported")),
        }
        Ok(())
    }

    fn refused(&self, kind: &str, problem: &str) -> mlua::Error {
        raise::text(self.lua, &format!("Cannot serialise {kind}: {problem}"))
    }

    fn table(&mut self, table: &Table, depth: i64) -> Result<()> {
        if depth > self.config.encode_depth.min(WRITTEN_DEPTH_MAX) {
            let message = format!("Cannot serialise, excessive nesting ({depth})");
            return Err(raise::text(self.lua, &message));
        }
        match self.array_len(table)? {
            Some(len) if len > 0 => self.array(table, len, depth),
            _ => self.object(table, depth),
        }
    }

    /// The length of a table that is an array; `None` for an object.
    fn array_len(&self, table: &Table) -> Result<Option<i64>> {
        let (mut max, mut items) = (0, 0);
        for pair in table.pairs::<Value, Value>() {
            match pair?.0 {
                Value::Integer(key) if key > 0 => {
                    max = max.max(key);
                    items += 1;
                }
                _ => return Ok(None),
            }
        }
        let config = &self.config;
        let sparse = config.sparse_ratio > 0 && max > items * config.sparse_ratio && max > config.sparse_safe;
        match (sparse, config.sparse_convert) {
            (true, true) => Ok(None),
            (true, false) => Err(self.refused("table", "excessively sparse array")),
            (false, _) => Ok(Some(max)),
        }
    }

    fn array(&mut self, table: &Table, len: i64, depth: i64) -> Result<()> {
        self.out.push(b'[');
        for index in 1..=len {
            if index > 1 {
                self.out.push(b',');
            }
            self.value(&table.raw_get(index)?, depth)?;
        }
        self.out.push(b']');
        Ok(())
    }

    fn object(&mut self, table: &Table, depth: i64) -> Result<()> {
        self.out.push(b'{');
        let mut first = true;
        for pair in table.pairs::<Value, Value>() {
            let (key, value) = pair?;
            if !std::mem::take(&mut first) {
                self.out.push(b',');
            }
            match key {
                Value::String(name) => self.string(&name.as_bytes()),
                Value::Integer(_) | Value::Number(_) => {
                    self.out.push(b'"');
                    self.value(&key, depth)?;
                    self.out.push(b'"');
                }
                other => {
                    return Err(self.refused(type_name(&other), "table key must be a number or string"));
                }
            }
            self.out.push(b':');
            self.value(&value, depth)?;
        }
        self.out.push(b'}');
        Ok(())
    }

    fn number(&mut self, number: f64) -> Result<()> {
        if !number.is_finite() {
            match self.config.encode_invalid {
                InvalidNumbers::Refused => return Err(self.refused("number", "must not be NaN or Inf")),
                InvalidNumbers::Null => {
                    self.out.extend_from_slice(b"null");
                    return Ok(());
                }
                InvalidNumbers::Written => {}
            }
        }
        let precision = usize::try_from(self.config.precision).unwrap_or(1);
        let whole = number.fract() == 0.0 && (number != 0.0 || number.is_sign_positive());
        if precision == 14 && whole && number.abs() < 1e14 {
            self.out.extend_from_slice(itoa::Buffer::new().format(number as i64).as_bytes());
        } else {
            write_g(number, precision, &mut self.out);
        }
        Ok(())
    }

    fn string(&mut self, text: &[u8]) {
        self.out.push(b'"');
        for &byte in text {
            let escaped = match byte {
                b'"' => b'"',
                b'\\' => b'\\',
                b'/' => b'/',
                8 => b'b',
                12 => b'f',
                b'\n' => b'n',
                b'\r' => b'r',
                b'\t' => b't',
                0..32 | 127 => {
                    self.out.extend_from_slice(format!("\\u{byte:04x}").as_bytes());
                    continue;
                }
                _ => {
                    self.out.push(byte);
                    continue;
                }
            };
            self.out.extend_from_slice(&[b'\\', escaped]);
        }
        self.out.push(b'"');
    }
}
