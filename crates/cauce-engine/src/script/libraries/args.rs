//! Arguments of functions, checked as Lua's auxiliary library checks them.

use mlua::{Lua, LuaString, MultiValue, Result, Value};

use crate::script::raise;

/// The arguments of a running function.
pub(super) struct Args<'a> {
    pub(super) lua: &'a Lua,
    function: &'static str,
    values: &'a MultiValue,
}

impl<'a> Args<'a> {
    pub(super) fn new(lua: &'a Lua, function: &'static str, values: &'a MultiValue) -> Self {
        Self { lua, function, values }
    }

    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    /// The argument at a position, counted from 1; nil if there are fewer.
    pub(super) fn value(&self, position: usize) -> Value {
        self.values.get(position - 1).cloned().unwrap_or(Value::Nil)
    }

    /// A string, or a number as one.
    pub(super) fn string(&self, position: usize) -> Result<LuaString> {
        let text = self.lua.coerce_string(self.value(position))?;
        text.ok_or_else(|| self.unexpected(position, "string"))
    }

    /// A number, or a string that is one.
    pub(super) fn number(&self, position: usize) -> Result<f64> {
        let number = self.lua.coerce_number(self.value(position))?;
        number.ok_or_else(|| self.unexpected(position, "number"))
    }

    /// A number without its fraction; `otherwise` if it is left out.
    pub(super) fn integer_or(&self, position: usize, otherwise: i64) -> Result<i64> {
        match self.value(position) {
            Value::Nil => Ok(otherwise),
            _ => self.number(position).map(|number| number as i64),
        }
    }

    /// The error of an argument.
    pub(super) fn refused(&self, position: usize, problem: &str) -> mlua::Error {
        raise::argument(self.lua, position, self.function, problem)
    }

    /// An error of another kind.
    pub(super) fn failed(&self, message: &str) -> mlua::Error {
        raise::text(self.lua, message)
    }

    fn unexpected(&self, position: usize, wanted: &str) -> mlua::Error {
        let got = self.values.get(position - 1).map_or("no value", type_name);
        self.refused(position, &format!("{wanted} expected, got {got}"))
    }
}

/// The name of a value's type in Lua.
pub(in crate::script) fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Integer(_) => "number",
        Value::LightUserData(_) | Value::Error(_) => "userdata",
        other => other.type_name(),
    }
}
