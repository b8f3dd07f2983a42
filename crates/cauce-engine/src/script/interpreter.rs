//! The interpreter: the sandbox, the compiled scripts, and how one is run.

use std::sync::{Arc, Mutex};

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use mlua::{
    Function, HookTriggers, Lua, LuaOptions, LuaString, StdLib, Table, Value, VmState, chunk::ChunkMode,
};

use mlua::state::{GcIncParams, GcMode};

use super::bridge::{Bridge, Lent, Rights, lock};
use super::shebang::ScriptFlags;
use super::watch::ScriptFate;
use super::{Sha, api, raise, result};
use crate::call::Call;
use crate::errors::{self, Error, script as texts};

/// Instructions between two looks of the watch, as many as Redis lets pass.
const INSTRUCTIONS_PER_POLL: u32 = 100_000;

/// The collector begins anew when memory has grown to this many percent: scripts leave little behind, and the memory
/// of the interpreter is small.
const GC_PAUSE: i32 = 400;

/// What errors call a script.
const SCRIPT_NAME: &str = "@user_script";

/// A script that a client wants to run.
#[derive(Debug)]
pub(crate) struct Request<'r> {
    pub(crate) sha: Sha,
    /// Its text, if it may not be known yet.
    pub(crate) text: Option<&'r [u8]>,
    pub(crate) keys: &'r [&'r [u8]],
    pub(crate) arguments: &'r [&'r [u8]],
    /// The client asked for a script that does not write.
    pub(crate) read_only: bool,
}

/// A compiled script.
#[derive(Debug)]
struct Script {
    function: Function,
    flags: ScriptFlags,
}

/// Lua with the sandbox, and the scripts compiled in it.
#[derive(Debug)]
pub(crate) struct Interpreter {
    lua: Lua,
    bridge: Arc<Mutex<Bridge>>,
    /// What scripts see as globals, to be changed by the host alone.
    globals: Table,
    run: Function,
    keys_name: LuaString,
    arguments_name: LuaString,
    scripts: HashMap<Sha, Script, FixedState>,
}

impl Interpreter {
    pub(super) fn new(seed: u32) -> Self {
        Self::build(seed).expect("the sandbox is part of this crate and loads")
    }

    fn build(seed: u32) -> mlua::Result<Self> {
        let libraries = StdLib::TABLE | StdLib::STRING | StdLib::MATH | StdLib::OS;
        let lua = Lua::new_with(libraries, LuaOptions::default())?;
        let bridge = Arc::new(Mutex::new(Bridge::new(seed)));
        let host = api::host(&lua, &bridge)?;
        host.raw_set("lua", lua.globals())?;
        let prelude = lua.load(include_str!("prelude.lua")).set_name("=sandbox").set_mode(ChunkMode::Text);
        let (globals, view, run): (Table, Table, Function) = prelude.call(host)?;
        lua.set_globals(view)?;
        lua.gc_set_mode(GcMode::Incremental(GcIncParams::default().pause(GC_PAUSE)));
        watch(&lua, &bridge)?;
        Ok(Self {
            keys_name: lua.create_string("KEYS")?,
            arguments_name: lua.create_string("ARGV")?,
            lua,
            bridge,
            globals,
            run,
            scripts: HashMap::default(),
        })
    }

    pub(super) fn has(&self, sha: &Sha) -> bool {
        self.scripts.contains_key(sha)
    }

    /// Compiles a script and keeps it.
    pub(crate) fn load(&mut self, text: &[u8]) -> Result<Sha, Error> {
        let sha = Sha::of(text);
        if !self.has(&sha) {
            let script = self.compile(text)?;
            self.scripts.insert(sha, script);
        }
        Ok(sha)
    }

    fn compile(&self, text: &[u8]) -> Result<Script, Error> {
        let (flags, skipped) = ScriptFlags::parse(text)?;
        let body = text.get(skipped..).unwrap_or_default();
        let chunk = self.lua.load(body).set_name(SCRIPT_NAME).set_mode(ChunkMode::Text);
        let function = chunk.into_function().map_err(|error| texts::compile(&raise::describe(&error)))?;
        Ok(Script { function, flags })
    }

    /// Runs a script and writes its result.
    pub(crate) fn run(&mut self, call: &mut Call<'_>, request: &Request<'_>) -> Result<(), Error> {
        if let Some(text) = request.text {
            self.load(text)?;
        }
        let script = self.scripts.get(&request.sha).expect("who asks for a script by name looked for it");
        let rights = rights(script.flags, request.read_only, call.core.memory_is_full())?;
        let memory_max = call.core.settings.script_memory_max;
        let ended = {
            let _lent = Lent::new(&self.bridge, call, rights);
            // The parameters are no larger than the request; outside of the limit they cost less.
            self.set_parameters(request)
                .and_then(|()| self.lua.set_memory_limit(memory_max))
                .and_then(|_| self.run.call::<(bool, Value, bool)>(&script.function))
        };
        let (protocol, killed) = {
            let bridge = lock(&self.bridge);
            (bridge.protocol, bridge.killed)
        };
        self.lua.set_memory_limit(0).map_err(|error| failed(&error))?;
        if memory_max > 0 && self.lua.used_memory() > memory_max / 2 {
            self.lua.gc_collect().map_err(|error| failed(&error))?;
        }
        if killed {
            watch(&self.lua, &self.bridge).map_err(|error| failed(&error))?;
        }
        match ended {
            Ok((true, value, is_sequence)) => {
                result::write(value, is_sequence, protocol, &mut call.reply).map_err(|error| failed(&error))
            }
            Ok((false, error, _)) => Err(result::error(&error, request.sha.as_str())),
            Err(error) => Err(failed(&error)),
        }
    }

    fn set_parameters(&self, request: &Request<'_>) -> mlua::Result<()> {
        let list =
            |items: &[&[u8]]| self.lua.create_sequence_from(items.iter().map(|item| LuaString::wrap(*item)));
        self.globals.raw_set(&self.keys_name, list(request.keys)?)?;
        self.globals.raw_set(&self.arguments_name, list(request.arguments)?)
    }
}

/// What a script with these flags may do, if it may be run at all.
fn rights(flags: ScriptFlags, asked_read_only: bool, memory_is_full: bool) -> Result<Rights, Error> {
    if flags.declared {
        if memory_is_full && !flags.no_writes && !flags.allow_oom {
            return Err(errors::OUT_OF_MEMORY);
        }
        if asked_read_only && !flags.no_writes {
            return Err(texts::WRITING_SCRIPT);
        }
    }
    Ok(Rights { read_only: asked_read_only || flags.no_writes, allow_oom: flags.allow_oom })
}

/// An error of the interpreter outside of a script's own code.
fn failed(error: &mlua::Error) -> Error {
    texts::plain(&format!("ERR {}", raise::describe(error)))
}

/// Lets the watch look at running scripts now and then.
fn watch(lua: &Lua, bridge: &Arc<Mutex<Bridge>>) -> mlua::Result<()> {
    let bridge = Arc::clone(bridge);
    let every = HookTriggers::new().every_nth_instruction(INSTRUCTIONS_PER_POLL);
    lua.set_global_hook(every, move |lua, _| look(lua, &bridge))
}

fn look(lua: &Lua, bridge: &Arc<Mutex<Bridge>>) -> mlua::Result<VmState> {
    // Held while a command runs; then the next look will do.
    let Ok(mut inner) = bridge.try_lock() else { return Ok(VmState::Continue) };
    if inner.poll() == ScriptFate::Continue {
        return Ok(VmState::Continue);
    }
    drop(inner);
    // At every line from now on, so that no `pcall` of the script can go on for long.
    lua.set_global_hook(HookTriggers::EVERY_LINE, |_, place| {
        // The sandbox's own lines have to run.
        let is_script = place.source().source.is_some_and(|name| name == SCRIPT_NAME);
        if is_script { Err(killed()) } else { Ok(VmState::Continue) }
    })?;
    Err(killed())
}

fn killed() -> mlua::Error {
    raise::reply(texts::KILLED.text().as_bytes())
}
