//! The libraries that Redis adds to Lua: `cjson`, `cmsgpack`, `struct` and `bit`.

mod args;
mod bit;
pub(super) mod cjson;
mod cmsgpack;
mod json;
mod structs;

pub(super) use args::type_name;
use mlua::{Lua, Result, Table};

/// All of them, by the names that scripts know them by; what `cjson` is set to is kept in `cjson`.
pub(super) fn all(lua: &Lua, cjson: &cjson::Shared) -> Result<Table> {
    let libraries = lua.create_table()?;
    libraries.raw_set("bit", bit::library(lua)?)?;
    libraries.raw_set("cjson", cjson::library(lua, cjson)?)?;
    libraries.raw_set("cmsgpack", cmsgpack::library(lua)?)?;
    libraries.raw_set("struct", structs::library(lua)?)?;
    Ok(libraries)
}
