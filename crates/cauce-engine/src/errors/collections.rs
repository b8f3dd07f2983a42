//! The errors of hashes, sets and sorted sets.

use super::Error;

pub(crate) const NOT_FLOAT: Error = Error::fixed("ERR value is not a valid float");
pub(crate) const OUT_OF_RANGE: Error = Error::fixed("ERR value is out of range");
pub(crate) const NO_OPPOSITE: Error = Error::fixed(
    "ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807",
);
pub(crate) const NOT_POSITIVE: Error = Error::fixed("ERR value is out of range, must be positive");
pub(crate) const NUMKEYS: Error = Error::fixed("ERR numkeys should be greater than 0");
pub(crate) const TOO_MANY_NUMKEYS: Error =
    Error::fixed("ERR Number of keys can't be greater than number of args");
pub(crate) const NEGATIVE_LIMIT: Error = Error::fixed("ERR LIMIT can't be negative");

// Hashes.
pub(crate) const HASH_NOT_INTEGER: Error = Error::fixed("ERR hash value is not an integer");
pub(crate) const HASH_NOT_FLOAT: Error = Error::fixed("ERR hash value is not a float");
pub(crate) const NOT_FINITE: Error = Error::fixed("ERR value is NaN or Infinity");
pub(crate) const SUM_NOT_FINITE: Error = Error::fixed("ERR increment would produce NaN or Infinity");

// Sorted sets.
pub(crate) const XX_AND_NX: Error = Error::fixed("ERR XX and NX options at the same time are not compatible");
pub(crate) const GT_LT_NX: Error =
    Error::fixed("ERR GT, LT, and/or NX options at the same time are not compatible");
pub(crate) const INCR_ONE_PAIR: Error =
    Error::fixed("ERR INCR option supports a single increment-element pair");
pub(crate) const SCORE_NAN: Error = Error::fixed("ERR resulting score is not a number (NaN)");
pub(crate) const SCORE_RANGE: Error = Error::fixed("ERR min or max is not a float");
pub(crate) const LEX_RANGE: Error = Error::fixed("ERR min or max not valid string range item");
pub(crate) const LIMIT_BY_RANK: Error =
    Error::fixed("ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX");
pub(crate) const WITHSCORES_BY_LEX: Error =
    Error::fixed("ERR syntax error, WITHSCORES not supported in combination with BYLEX");
pub(crate) const WEIGHT: Error = Error::fixed("ERR weight value is not a float");
pub(crate) const COUNT: Error = Error::fixed("ERR count should be greater than 0");
pub(crate) const TIMEOUT_NOT_FLOAT: Error = Error::fixed("ERR timeout is not a float or out of range");
pub(crate) const TIMEOUT_NEGATIVE: Error = Error::fixed("ERR timeout is negative");
pub(crate) const TIMEOUT_OUT_OF_RANGE: Error = Error::fixed("ERR timeout is out of range");

/// A command that combines keys was given none.
pub(crate) fn no_input_keys(command: &str) -> Error {
    Error(format!("ERR at least 1 input key is needed for '{command}' command").into())
}
