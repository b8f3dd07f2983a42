//! The interpreter: the sandbox, the compiled scripts, and how one is run.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use mlua::{
    Function, HookTriggers, Lua, LuaOptions, LuaString, StdLib, Table, Value, VmState, chunk::ChunkMode,
};

use mlua::state::{GcIncParams, GcMode};

use super::bridge::{Bridge, Lent, Rights};
use super::libraries::cjson;
use super::shebang::ScriptFlags;
use super::watch::ScriptFate;
use super::{Sha, api, raise, result};
use crate::call::Call;
use crate::errors::{self, Error, script as texts};

/// Instructions between two looks of the watch, as many as Redis lets pass.
const INSTRUCTIONS_PER_POLL: u32 = 100_000;

/// The collector begins anew when memory has grown to this many percent. Of the values tried (115 to 1000) this did
/// best on a noisy machine; why is not known, presumably because what has not grown stays in the processor's cache.
const GC_PAUSE: i32 = 150;

/// Scripts that a thread keeps compiled, and the bytes of their texts, at most. It begins anew when there are more.
const COMPILED_MAX: usize = 1000;
const COMPILED_BYTES_MAX: usize = 4 * 1024 * 1024;

thread_local! {
    /// Lua is not to be moved to another thread, or every value of it would cost atomic operations and a lock. So each
    /// thread that runs scripts has an interpreter, which is a cache: what scripts leave behind is the engine's.
    static INTERPRETER: Cell<Option<Box<Interpreter>>> = const { Cell::new(None) };
}

/// What errors call a script.
const SCRIPT_NAME: &str = "@user_script";

/// A script that a client wants to run.
#[derive(Debug)]
pub(crate) struct Request<'r> {
    pub(crate) sha: Sha,
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
    bridge: Rc<RefCell<Bridge>>,
    cjson: cjson::Shared,
    run: Function,
    scripts: HashMap<Sha, Script, FixedState>,
    /// Of the texts of `scripts`.
    text_bytes: usize,
}

impl Interpreter {
    /// Takes the thread's interpreter out, to use it; to be put back.
    pub(crate) fn take() -> Box<Self> {
        let interpreter = INTERPRETER.take();
        interpreter
            .unwrap_or_else(|| Box::new(Self::build().expect("the sandbox is part of this crate and loads")))
    }

    /// Keeps the thread's interpreter for the next script.
    pub(crate) fn put_back(self: Box<Self>) {
        INTERPRETER.set(Some(self));
    }

    /// Lets go of the thread's interpreter and all that is compiled in it.
    pub(super) fn forget() {
        INTERPRETER.set(None);
    }

    fn build() -> mlua::Result<Self> {
        let libraries = StdLib::TABLE | StdLib::STRING | StdLib::MATH | StdLib::OS;
        let lua = Lua::new_with(libraries, LuaOptions::default())?;
        let (bridge, cjson) = (Rc::new(RefCell::new(Bridge::new())), cjson::Shared::default());
        let host = api::host(&lua, &bridge, &cjson)?;
        host.raw_set("lua", lua.globals())?;
        let prelude = lua.load(include_str!("prelude.lua")).set_name("=sandbox").set_mode(ChunkMode::Text);
        let (view, run): (Table, Function) = prelude.call(host)?;
        lua.set_globals(view)?;
        lua.gc_set_mode(GcMode::Incremental(GcIncParams::default().pause(GC_PAUSE)));
        watch(&lua, &bridge)?;
        Ok(Self { lua, bridge, cjson, run, scripts: HashMap::default(), text_bytes: 0 })
    }

    /// Compiles a script, unless it is.
    pub(crate) fn load(&mut self, sha: Sha, text: &[u8]) -> Result<(), Error> {
        if self.scripts.contains_key(&sha) {
            return Ok(());
        }
        let script = self.compile(text)?;
        if self.scripts.len() >= COMPILED_MAX || self.text_bytes + text.len() > COMPILED_BYTES_MAX {
            self.scripts.clear();
            self.text_bytes = 0;
        }
        self.text_bytes += text.len();
        self.scripts.insert(sha, script);
        Ok(())
    }

    fn compile(&self, text: &[u8]) -> Result<Script, Error> {
        let (flags, skipped) = ScriptFlags::parse(text)?;
        let body = text.get(skipped..).unwrap_or_default();
        let chunk = self.lua.load(body).set_name(SCRIPT_NAME).set_mode(ChunkMode::Text);
        let function = chunk.into_function().map_err(|error| texts::compile(&raise::describe(&error)))?;
        Ok(Script { function, flags })
    }

    /// Runs a script that is loaded, and writes its result.
    pub(crate) fn run(&mut self, call: &mut Call<'_>, request: &Request<'_>) -> Result<(), Error> {
        let script = self.scripts.get(&request.sha).expect("a script is loaded before it is run");
        let rights = rights(script.flags, request.read_only, call.core.memory_is_full())?;
        let memory_max = call.core.settings.script_memory_max;
        *self.cjson.borrow_mut() = call.core.scripts.kept.cjson;
        let ended = {
            let _lent = Lent::new(&self.bridge, call, rights);
            self.call(&script.function, request, memory_max)
        };
        call.core.scripts.kept.cjson = *self.cjson.borrow();
        let (protocol, killed) = {
            let bridge = self.bridge.borrow();
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

    fn call(
        &self,
        function: &Function,
        request: &Request<'_>,
        memory_max: usize,
    ) -> mlua::Result<(bool, Value, bool)> {
        let list =
            |items: &[&[u8]]| self.lua.create_sequence_from(items.iter().map(|item| LuaString::wrap(*item)));
        // The parameters are no larger than the request; outside of the limit they cost less.
        let (keys, arguments) = (list(request.keys)?, list(request.arguments)?);
        self.lua.set_memory_limit(memory_max)?;
        self.run.call((function, keys, arguments))
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
fn watch(lua: &Lua, bridge: &Rc<RefCell<Bridge>>) -> mlua::Result<()> {
    let bridge = Rc::clone(bridge);
    let every = HookTriggers::new().every_nth_instruction(INSTRUCTIONS_PER_POLL);
    lua.set_global_hook(every, move |lua, _| look(lua, &bridge))
}

fn look(lua: &Lua, bridge: &Rc<RefCell<Bridge>>) -> mlua::Result<VmState> {
    // In use while a command runs; then the next look will do.
    let Ok(mut inner) = bridge.try_borrow_mut() else { return Ok(VmState::Continue) };
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
