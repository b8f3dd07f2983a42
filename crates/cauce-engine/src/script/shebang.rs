//! The first line of a script, if it is `#!lua [name=...] [flags=a,b,...]`.

use crate::errors::{Error, script as texts};

/// What a script may do, as its first line declares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct ScriptFlags {
    /// It has a first line that declares flags: only what is declared is allowed.
    pub(crate) declared: bool,
    pub(crate) no_writes: bool,
    pub(crate) allow_oom: bool,
}

impl ScriptFlags {
    /// The flags of a script, and how many bytes its first line has (without the line break).
    pub(crate) fn parse(script: &[u8]) -> Result<(Self, usize), Error> {
        if !script.starts_with(b"#!") {
            return Ok((Self::default(), 0));
        }
        let end = script.iter().position(|&byte| byte == b'\n').ok_or(texts::SHEBANG)?;
        let line = String::from_utf8_lossy(script.get(2..end).unwrap_or_default()).into_owned();
        let engine =
            line.split_ascii_whitespace().next().filter(|_| !line.starts_with(' ')).unwrap_or_default();
        if engine != "lua" {
            return Err(texts::shebang_engine(engine));
        }
        let words = line.split_ascii_whitespace().skip(1).map(|word| word.trim_matches(['\'', '"']));
        let mut flags = Self { declared: true, ..Self::default() };
        for word in words {
            let Some(list) = word.strip_prefix("flags=") else { return Err(texts::shebang_option(word)) };
            for flag in list.split(',').take_while(|_| !list.is_empty()) {
                flags.set(flag)?;
            }
        }
        Ok((flags, end))
    }

    fn set(&mut self, flag: &str) -> Result<(), Error> {
        match flag {
            "no-writes" => self.no_writes = true,
            "allow-oom" => self.allow_oom = true,
            // True of this broker without saying so.
            "allow-stale" | "no-cluster" | "allow-cross-slot-keys" => {}
            _ => return Err(texts::shebang_flag(flag)),
        }
        Ok(())
    }
}
