//! The errors of the Streams commands.

use super::Error;

pub(crate) const INVALID_ID: Error =
    Error::fixed("ERR Invalid stream ID specified as stream command argument");
pub(crate) const INVALID_START: Error = Error::fixed("ERR invalid start ID for the interval");
pub(crate) const INVALID_END: Error = Error::fixed("ERR invalid end ID for the interval");

// XADD and XTRIM.
pub(crate) const MAXLEN_AND_MINID: Error =
    Error::fixed("ERR syntax error, MAXLEN and MINID options at the same time are not compatible");
pub(crate) const NEGATIVE_MAXLEN: Error = Error::fixed("ERR The MAXLEN argument must be >= 0.");
pub(crate) const NEGATIVE_LIMIT: Error = Error::fixed("ERR The LIMIT argument must be >= 0.");
pub(crate) const LIMIT_WITHOUT_STRATEGY: Error =
    Error::fixed("ERR syntax error, LIMIT cannot be used without specifying a trimming strategy");
pub(crate) const LIMIT_WITHOUT_APPROXIMATION: Error =
    Error::fixed("ERR syntax error, LIMIT cannot be used without the special ~ option");
pub(crate) const TRIM_WITHOUT_STRATEGY: Error =
    Error::fixed("ERR syntax error, XTRIM must be called with a trimming strategy");
pub(crate) const ID_ZERO: Error = Error::fixed("ERR The ID specified in XADD must be greater than 0-0");
pub(crate) const ID_NOT_GREATER: Error =
    Error::fixed("ERR The ID specified in XADD is equal or smaller than the target stream top item");
pub(crate) const ID_EXHAUSTED: Error =
    Error::fixed("ERR The stream has exhausted the last possible ID, unable to add more items");
pub(crate) const ENTRY_TOO_LARGE: Error = Error::fixed("ERR Elements are too large to be stored");

// XREAD and XREADGROUP.
pub(crate) const UNBALANCED_XREAD: Error = Error::fixed(
    "ERR Unbalanced 'xread' list of streams: for each stream key an ID or '$' must be specified.",
);
pub(crate) const UNBALANCED_XREADGROUP: Error = Error::fixed(
    "ERR Unbalanced 'xreadgroup' list of streams: for each stream key an ID or '>' must be specified.",
);
pub(crate) const GROUP_WITH_XREAD: Error =
    Error::fixed("ERR The GROUP option is only supported by XREADGROUP. You called XREAD instead.");
pub(crate) const NOACK_WITH_XREAD: Error =
    Error::fixed("ERR The NOACK option is only supported by XREADGROUP. You called XREAD instead.");
pub(crate) const NEW_WITH_XREAD: Error = Error::fixed(
    "ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> option.",
);
pub(crate) const LAST_WITH_XREADGROUP: Error = Error::fixed(
    "ERR The $ ID is meaningless in the context of XREADGROUP: you want to read the history of this consumer by specifying a proper ID, or use the > ID to get new messages. The $ ID would just return an empty result set.",
);
pub(crate) const MISSING_GROUP: Error = Error::fixed("ERR Missing GROUP option for XREADGROUP");
pub(crate) const TIMEOUT_NOT_INTEGER: Error = Error::fixed("ERR timeout is not an integer or out of range");
pub(crate) const TIMEOUT_NEGATIVE: Error = Error::fixed("ERR timeout is negative");
pub(crate) const TIMEOUT_OUT_OF_RANGE: Error = Error::fixed("ERR timeout is out of range");

// XGROUP.
pub(crate) const BUSY_GROUP: Error = Error::fixed("BUSYGROUP Consumer Group name already exists");
pub(crate) const GROUP_NEEDS_KEY: Error = Error::fixed(
    "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the MKSTREAM option to create an empty stream automatically.",
);
pub(crate) const ENTRIES_READ: Error = Error::fixed("ERR value for ENTRIESREAD must be positive or -1");

/// XREADGROUP on a key or group that is not there.
pub(crate) fn no_group_to_read(key: &[u8], group: &[u8]) -> Error {
    let (key, group) = (String::from_utf8_lossy(key), String::from_utf8_lossy(group));
    Error(
        format!("NOGROUP No such key '{key}' or consumer group '{group}' in XREADGROUP with GROUP option")
            .into(),
    )
}

/// XGROUP and XINFO on a group that is not there.
pub(crate) fn no_group(key: &[u8], group: &[u8]) -> Error {
    let (key, group) = (String::from_utf8_lossy(key), String::from_utf8_lossy(group));
    Error(format!("NOGROUP No such consumer group '{group}' for key name '{key}'").into())
}
