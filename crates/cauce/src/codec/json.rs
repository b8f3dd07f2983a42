//! The default codec: the payload as JSON in the field `data`.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::entry::Fields;
use crate::event::{DecodeError, EncodeError};

pub(crate) const DATA: &str = "data";
pub(crate) const CONTENT_TYPE: &str = "content-type";
pub(crate) const APPLICATION_JSON: &str = "application/json";

/// Appends `content-type` and `data`.
///
/// # Errors
/// If the payload can't be JSON.
pub fn encode<T: Serialize>(payload: &T, fields: &mut Fields) -> Result<(), EncodeError> {
    let data = serde_json::to_vec(payload)?;
    fields.push_text(CONTENT_TYPE, APPLICATION_JSON);
    fields.push(DATA, data);
    Ok(())
}

/// Reads `data`, or, in an entry written by hand without it, the flat fields.
///
/// # Errors
/// If neither fits the type.
pub fn decode<T: DeserializeOwned>(fields: &Fields) -> Result<T, DecodeError> {
    match fields.field(DATA) {
        Some(data) => serde_json::from_slice(data).map_err(DecodeError::Json),
        None => super::flat::read(fields).map_err(DecodeError::Fields),
    }
}

/// The body of a Pub/Sub message.
///
/// # Errors
/// If the payload can't be JSON.
pub fn to_body<T: Serialize>(payload: &T) -> Result<Vec<u8>, EncodeError> {
    Ok(serde_json::to_vec(payload)?)
}

/// Reads the body of a Pub/Sub message.
///
/// # Errors
/// If it is not JSON that fits the type.
pub fn from_body<T: DeserializeOwned>(body: &[u8]) -> Result<T, DecodeError> {
    serde_json::from_slice(body).map_err(DecodeError::Json)
}
