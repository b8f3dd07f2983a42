//! RESP2 and RESP3: decode requests, encode replies, with limits. Knows no commands.
