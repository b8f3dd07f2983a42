//! `bit`: operations on the lower 32 bits of numbers; results are signed.

use mlua::{Lua, MultiValue, Result, Table};

use super::args::Args;

type Unary = (&'static str, fn(u32) -> u32);
type Binary = (&'static str, fn(u32, u32) -> u32);

pub(super) fn library(lua: &Lua) -> Result<Table> {
    let library = lua.create_table()?;
    let unary: [Unary; 3] = [("tobit", |bits| bits), ("bnot", |bits| !bits), ("bswap", u32::swap_bytes)];
    for (name, operation) in unary {
        let function = lua.create_function(move |lua, values: MultiValue| {
            Ok(signed(operation(bits(&Args::new(lua, name, &values), 1)?)))
        })?;
        library.raw_set(name, function)?;
    }
    let folds: [Binary; 3] = [("band", |a, b| a & b), ("bor", |a, b| a | b), ("bxor", |a, b| a ^ b)];
    for (name, operation) in folds {
        let function = lua.create_function(move |lua, values: MultiValue| {
            let args = Args::new(lua, name, &values);
            let first = bits(&args, 1)?;
            (2..=args.len())
                .try_fold(first, |all, position| Ok(operation(all, bits(&args, position)?)))
                .map(signed)
        })?;
        library.raw_set(name, function)?;
    }
    // Only the lower five bits of the distance count.
    let shifts: [Binary; 5] = [
        ("lshift", u32::wrapping_shl),
        ("rshift", u32::wrapping_shr),
        ("arshift", |bits, by| bits.cast_signed().wrapping_shr(by).cast_unsigned()),
        ("rol", |bits, by| bits.rotate_left(by & 31)),
        ("ror", |bits, by| bits.rotate_right(by & 31)),
    ];
    for (name, operation) in shifts {
        let function = lua.create_function(move |lua, values: MultiValue| {
            let args = Args::new(lua, name, &values);
            Ok(signed(operation(bits(&args, 1)?, bits(&args, 2)?)))
        })?;
        library.raw_set(name, function)?;
    }
    library.raw_set("tohex", lua.create_function(|lua, values: MultiValue| tohex(lua, &values))?)?;
    Ok(library)
}

fn signed(bits: u32) -> i32 {
    bits.cast_signed()
}

/// The lower 32 bits of a number, rounded to the nearest integer.
fn bits(args: &Args<'_>, position: usize) -> Result<u32> {
    /// Added to a number, this moves its integer part into the lower bits of the mantissa.
    const SHIFT: f64 = 6_755_399_441_055_744.0;
    Ok((args.number(position)? + SHIFT).to_bits() as u32)
}

/// The last `n` hexadecimal digits (8 without it), in upper case if `n` is negative.
fn tohex(lua: &Lua, values: &MultiValue) -> Result<String> {
    let args = Args::new(lua, "tohex", values);
    let number = bits(&args, 1)?;
    let wanted = if args.len() < 2 { 8 } else { signed(bits(&args, 2)?) };
    let digits = wanted.unsigned_abs().min(8) as usize;
    let text = if wanted < 0 { format!("{number:08X}") } else { format!("{number:08x}") };
    Ok(text.get(8 - digits..).unwrap_or_default().to_owned())
}
