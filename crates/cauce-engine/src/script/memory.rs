//! The memory of scripts is limited.

use mlua::{Lua, Result};

/// Runs a function of the host that makes values of at most about `bytes` bytes. While a limit is set, every
/// allocation on behalf of the host is a protected call; where there is room for all of them, they need not be.
pub(super) fn with_room<T>(lua: &Lua, bytes: usize, make: impl FnOnce() -> Result<T>) -> Result<T> {
    let limit = lua.set_memory_limit(0)?;
    let fits = lua.used_memory().saturating_add(bytes) < limit;
    if limit == 0 {
        return make();
    }
    if !fits {
        lua.set_memory_limit(limit)?;
        return make();
    }
    let made = make();
    lua.set_memory_limit(limit)?;
    made
}
