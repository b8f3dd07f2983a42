//! What `#[event(...)]` says, parsed and checked.

use proc_macro2::Span;
use syn::meta::ParseNestedMeta;
use syn::{DeriveInput, Error, LitInt, LitStr, Result};

/// How the payload is laid out in an entry.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Codec {
    Json,
    Fields,
}

/// The attributes of one event type.
pub(crate) struct Attributes {
    pub(crate) stream: Option<LitStr>,
    pub(crate) channel: Option<LitStr>,
    pub(crate) action: LitStr,
    pub(crate) key: Option<LitStr>,
    /// 0: the stream is not partitioned.
    pub(crate) partitions: u16,
    pub(crate) codec: Codec,
}

const KNOWN: &str = "`stream`, `action`, `key`, `partitions`, `codec` and `channel`";
/// As many partitions as one service can look after.
const PARTITIONS_MAX: u16 = 1024;

impl Attributes {
    pub(crate) fn parse(input: &DeriveInput) -> Result<Self> {
        let mut found = Found::default();
        for attribute in input.attrs.iter().filter(|attribute| attribute.path().is_ident("event")) {
            attribute.parse_nested_meta(|meta| found.take(&meta))?;
        }
        let partitions = partitions(&found)?;
        let Some(action) = found.action else {
            return Err(Error::new(
                Span::call_site(),
                "an event needs an action: #[event(stream = \"orders\", action = \"order.created\")]",
            ));
        };
        if found.stream.is_none() && found.channel.is_none() {
            return Err(Error::new(
                Span::call_site(),
                "an event needs a stream (kept, read by services) or a channel (Pub/Sub): #[event(stream = \"orders\", ...)]",
            ));
        }
        let codec = match &found.codec {
            None => Codec::Json,
            Some(name) if name.value() == "json" => Codec::Json,
            Some(name) if name.value() == "fields" => Codec::Fields,
            Some(name) => return Err(Error::new(name.span(), "unknown codec: use \"json\" or \"fields\"")),
        };
        Ok(Self { stream: found.stream, channel: found.channel, action, key: found.key, partitions, codec })
    }
}

#[derive(Default)]
struct Found {
    stream: Option<LitStr>,
    channel: Option<LitStr>,
    action: Option<LitStr>,
    key: Option<LitStr>,
    partitions: Option<LitInt>,
    codec: Option<LitStr>,
}

/// What `partitions` says, with what it needs beside it.
fn partitions(found: &Found) -> Result<u16> {
    let Some(number) = &found.partitions else { return Ok(0) };
    let problem = |text: String| Err(Error::new(number.span(), text));
    match number.base10_parse::<u16>() {
        Ok(number) if (1..=PARTITIONS_MAX).contains(&number) => {}
        _ => return problem(format!("a stream has 1 to {PARTITIONS_MAX} partitions")),
    }
    if found.stream.is_none() {
        return problem("`partitions` are those of a stream: add `stream = \"...\"`".to_owned());
    }
    if found.key.is_none() {
        let fix = "name the field by which the order is kept: add `key = \"...\"`";
        return problem(format!("the key decides to which partition an event goes; {fix}"));
    }
    number.base10_parse()
}

impl Found {
    fn take(&mut self, meta: &ParseNestedMeta<'_>) -> Result<()> {
        let name = meta.path.get_ident().map(ToString::to_string).unwrap_or_default();
        if name == "partitions" {
            if self.partitions.is_some() {
                return Err(meta.error("`partitions` is given twice"));
            }
            self.partitions = Some(meta.value()?.parse()?);
            return Ok(());
        }
        let slot = match name.as_str() {
            "stream" => &mut self.stream,
            "channel" => &mut self.channel,
            "action" => &mut self.action,
            "key" => &mut self.key,
            "codec" => &mut self.codec,
            _ => return Err(meta.error(format!("unknown attribute: an event has {KNOWN}"))),
        };
        if slot.is_some() {
            return Err(meta.error(format!("`{name}` is given twice")));
        }
        let value: LitStr = meta.value()?.parse()?;
        if value.value().is_empty() {
            return Err(Error::new(value.span(), format!("`{name}` must not be empty")));
        }
        *slot = Some(value);
        Ok(())
    }
}
