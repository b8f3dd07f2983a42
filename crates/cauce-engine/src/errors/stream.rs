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

// XADD IDMP, XCFGSET and XIDMPRECORD.
pub(crate) const IDMP_TWICE: Error = Error::fixed("ERR syntax error, IDMP/IDMPAUTO specified multiple times");
pub(crate) const IDMPAUTO_NO_PRODUCER: Error =
    Error::fixed("ERR syntax error, IDMPAUTO requires a non-empty producer ID");
pub(crate) const IDMP_NO_PRODUCER: Error =
    Error::fixed("ERR syntax error, IDMP requires a non-empty producer ID");
pub(crate) const IDMP_NO_ID: Error =
    Error::fixed("ERR syntax error, IDMP requires a non-empty idempotent ID");
pub(crate) const IDMP_EXPLICIT_ID: Error =
    Error::fixed("ERR syntax error, IDMP/IDMPAUTO can be used only with auto-generated IDs");
pub(crate) const CFGSET_DURATION: Error =
    Error::fixed("ERR IDMP-DURATION must be between 1 and 86400 seconds");
pub(crate) const CFGSET_MAXSIZE: Error = Error::fixed("ERR IDMP-MAXSIZE must be between 1 and 10000 entries");
pub(crate) const CFGSET_DURATION_TWICE: Error = Error::fixed("ERR IDMP-DURATION specified multiple times");
pub(crate) const CFGSET_MAXSIZE_TWICE: Error = Error::fixed("ERR IDMP-MAXSIZE specified multiple times");
pub(crate) const CFGSET_NOTHING: Error = Error::fixed("ERR At least one parameter must be specified");
pub(crate) const RECORD_NO_PRODUCER: Error = Error::fixed("ERR producer ID must be non-empty");
pub(crate) const RECORD_NO_ID: Error = Error::fixed("ERR idempotent ID must be non-empty");
pub(crate) const RECORD_NO_ENTRY: Error = Error::fixed("ERR No such message in stream");
pub(crate) const RECORD_OTHER_ENTRY: Error =
    Error::fixed("ERR IID already exists for this producer with a different stream ID");

// XDELEX and XACKDEL.
pub(crate) const IDS_COUNT: Error = Error::fixed("ERR Number of IDs must be a positive integer");
pub(crate) const IDS_MISMATCH: Error =
    Error::fixed("ERR The `numids` parameter must match the number of arguments");
pub(crate) const IDS_REQUIRED: Error = Error::fixed("ERR IDS option is required");

// XREAD and XREADGROUP.
pub(crate) const UNBALANCED_XREAD: Error = Error::fixed(
    "ERR Unbalanced 'xread' list of streams: for each stream key an ID, '+', or '$' must be specified.",
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
pub(crate) const NEWEST_WITH_XREADGROUP: Error = Error::fixed(
    "ERR The + ID is meaningless in the context of XREADGROUP: you want to read the history of this consumer by specifying a proper ID, or use the > ID to get new messages. The + ID would just return an empty result set.",
);
pub(crate) const CLAIM_WITH_XREAD: Error =
    Error::fixed("ERR The CLAIM option is only supported by XREADGROUP. You called XREAD instead.");
pub(crate) const READ_CLAIM_NOT_INTEGER: Error =
    Error::fixed("ERR min-idle-time is not an integer or out of range");
pub(crate) const READ_CLAIM_NEGATIVE: Error = Error::fixed("ERR min-idle-time must be a positive integer");
pub(crate) const MAXCOUNT: Error = Error::fixed("ERR MAXCOUNT must be a positive integer");
pub(crate) const MAXCOUNT_BELOW_COUNT: Error =
    Error::fixed("ERR MAXCOUNT must be greater than or equal to COUNT");
pub(crate) const MAXSIZE: Error = Error::fixed("ERR MAXSIZE must be a positive integer");
pub(crate) const MISSING_GROUP: Error = Error::fixed("ERR Missing GROUP option for XREADGROUP");
pub(crate) const TIMEOUT_NOT_INTEGER: Error = Error::fixed("ERR timeout is not an integer or out of range");
pub(crate) const TIMEOUT_NEGATIVE: Error = Error::fixed("ERR timeout is negative");
pub(crate) const TIMEOUT_OUT_OF_RANGE: Error = Error::fixed("ERR timeout is out of range");

// XCLAIM and XAUTOCLAIM.
pub(crate) const CLAIM_IDLE_OPTION: Error = Error::fixed("ERR Invalid IDLE option argument for XCLAIM");
pub(crate) const CLAIM_TIME_OPTION: Error = Error::fixed("ERR Invalid TIME option argument for XCLAIM");
pub(crate) const CLAIM_RETRYCOUNT_OPTION: Error =
    Error::fixed("ERR Invalid RETRYCOUNT option argument for XCLAIM");
pub(crate) const CLAIM_MIN_IDLE: Error = Error::fixed("ERR Invalid min-idle-time argument for XCLAIM");
pub(crate) const AUTOCLAIM_MIN_IDLE: Error =
    Error::fixed("ERR Invalid min-idle-time argument for XAUTOCLAIM");
pub(crate) const AUTOCLAIM_COUNT: Error = Error::fixed("ERR COUNT must be > 0");

// XGROUP and XSETID.
pub(crate) const BUSY_GROUP: Error = Error::fixed("BUSYGROUP Consumer Group name already exists");
pub(crate) const GROUP_NEEDS_KEY: Error = Error::fixed(
    "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the MKSTREAM option to create an empty stream automatically.",
);
pub(crate) const ENTRIES_READ: Error = Error::fixed("ERR value for ENTRIESREAD must be positive or -1");

pub(crate) const ENTRIES_ADDED: Error = Error::fixed("ERR entries_added must be positive");
pub(crate) const SETID_BELOW_GIVEN_DELETED: Error =
    Error::fixed("ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id");
pub(crate) const SETID_BELOW_DELETED: Error =
    Error::fixed("ERR The ID specified in XSETID is smaller than current max_deleted_entry_id");
pub(crate) const SETID_BELOW_TOP: Error =
    Error::fixed("ERR The ID specified in XSETID is smaller than the target stream top item");
pub(crate) const SETID_BELOW_LENGTH: Error =
    Error::fixed("ERR The entries_added specified in XSETID is smaller than the target stream length");

// XNACK.
pub(crate) const NACK_MODE: Error = Error::fixed("ERR mode must be SILENT, FAIL, or FATAL");
pub(crate) const NACK_COUNT: Error = Error::fixed("ERR numids must be a positive integer");
pub(crate) const NACK_MISMATCH: Error = Error::fixed("ERR number of IDs doesn't match numids");
pub(crate) const NACK_IDS_KEYWORD: Error = Error::fixed("ERR syntax error, expected IDS keyword");
pub(crate) const NACK_RETRYCOUNT: Error = Error::fixed("ERR Invalid RETRYCOUNT value, must be >= 0");

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

/// XPENDING, XCLAIM and XAUTOCLAIM on a key or group that is not there.
pub(crate) fn no_key_or_group(key: &[u8], group: &[u8]) -> Error {
    let (key, group) = (String::from_utf8_lossy(key), String::from_utf8_lossy(group));
    Error(format!("NOGROUP No such key '{key}' or consumer group '{group}'").into())
}

/// An option that XCLAIM does not know.
pub(crate) fn claim_option(option: &[u8]) -> Error {
    Error(format!("ERR Unrecognized XCLAIM option '{}'", String::from_utf8_lossy(option)).into())
}

/// An option that XNACK does not know.
pub(crate) fn nack_option(option: &[u8]) -> Error {
    Error(format!("ERR Unrecognized XNACK option '{}'", String::from_utf8_lossy(option)).into())
}
