//! The derive macro of cauce: `#[derive(Event)]`.
//!
//! It only writes down what the attributes say (stream, action, key, codec, channel) as an `impl cauce::Event`; encoding and
//! decoding live in `cauce`, so that the generated code stays a few lines that a reader can expand and understand.

mod attributes;
mod event;

use proc_macro::TokenStream;

/// Implements `cauce::Event`. The type must also be `serde::Serialize` and `serde::Deserialize`.
///
/// ```text
/// #[derive(Event, Serialize, Deserialize)]
/// #[event(stream = "flights", action = "flight.cancelled", key = "flight")]
/// struct Cancelled { flight: String, origin: String, passengers: u32 }
/// ```
///
/// | attribute | meaning | required |
/// |---|---|---|
/// | `stream = "name"` | the stream that `Bus::publish` appends to and `Service` reads | this or `channel` |
/// | `channel = "name"` | the Pub/Sub channel of `Bus::broadcast` | this or `stream` |
/// | `action = "name"` | the kind of event, in the entry's field `action` | yes |
/// | `key = "field"` | the field whose value names what the event is about | no |
/// | `partitions = N` | the stream is N streams, and an event goes to one of them by its key; the order of a key is kept across instances | no |
/// | `codec = "json"` or `"fields"` | JSON in the field `data`, or one field per value | no, `json` |
#[proc_macro_derive(Event, attributes(event))]
pub fn derive_event(input: TokenStream) -> TokenStream {
    let input = syn::parse_macro_input!(input as syn::DeriveInput);
    event::expand(&input).unwrap_or_else(|error| error.to_compile_error()).into()
}
