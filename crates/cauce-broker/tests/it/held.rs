use std::sync::Arc;

use cauce_broker::{Broker, Config, MemoryLog};

use crate::support::Client;

fn held_broker() -> (Broker, Arc<MemoryLog>) {
    let log = Arc::new(MemoryLog::new());
    log.hold();
    (Broker::with_memory_log(Config::default(), Arc::clone(&log)), log)
}

#[tokio::test]
async fn a_write_is_answered_when_its_record_is_safe() {
    let (broker, log) = held_broker();
    let mut client = Client::new(&broker);
    client.send("SET a 1\r\nSET b 2").await;
    client.expect_silence().await;
    assert_eq!(log.appended(), 2, "the connection went on executing");
    log.release(1);
    client.expect("+OK|").await;
    client.expect_silence().await;
    log.release(2);
    client.expect("+OK|").await;
}

#[tokio::test]
async fn replies_keep_their_order_behind_a_held_one() {
    let (broker, log) = held_broker();
    let mut client = Client::new(&broker);
    client.send("PING\r\nSET a 1\r\nPING").await;
    client.expect("+PONG|").await;
    client.expect_silence().await;
    log.release(1);
    client.expect("+OK|+PONG|").await;
}

#[tokio::test]
async fn nobody_is_shown_what_a_crash_could_take_back() {
    let (broker, log) = held_broker();
    let (mut writer, mut reader) = (Client::new(&broker), Client::new(&broker));
    writer.send("SET a 1").await;
    writer.expect_silence().await;
    reader.ask("GET other", "$-1|").await;
    reader.send("GET a").await;
    reader.expect_silence().await;
    log.release(1);
    reader.expect("$1|1|").await;
    writer.expect("+OK|").await;
}

#[tokio::test]
async fn a_read_waits_for_its_own_key_only() {
    let (broker, log) = held_broker();
    let (mut writer, mut reader) = (Client::new(&broker), Client::new(&broker));
    writer.send("SET a 1\r\nSET b 1").await;
    writer.expect_silence().await;
    log.release(1);
    reader.ask("GET a", "$1|1|").await;
    reader.send("GET b").await;
    reader.expect_silence().await;
    log.release(2);
    reader.expect("$1|1|").await;
}

#[tokio::test]
async fn messages_stay_behind_the_replies_before_them() {
    let (broker, log) = held_broker();
    let (mut both, mut publisher) = (Client::new(&broker), Client::new(&broker));
    both.ask("HELLO 3", "%7|$6|server|$5|redis|$7|version|$5|7.2.4|$5|proto|:3|$2|id|:1|$4|mode|$10|standalone|$4|role|$6|master|$7|modules|*0|").await;
    both.ask("SUBSCRIBE c", ">3|$9|subscribe|$1|c|:1|").await;
    both.send("SET a 1").await;
    both.expect_silence().await;
    publisher.ask("PUBLISH c hi", ":1|").await;
    both.expect_silence().await;
    log.release(1);
    both.expect("+OK|>3|$7|message|$1|c|$2|hi|").await;
}

#[tokio::test]
async fn a_woken_reader_waits_for_the_entry_that_woke_it() {
    let (broker, log) = held_broker();
    let (mut reader, mut writer) = (Client::new(&broker), Client::new(&broker));
    reader.send("XREAD BLOCK 0 STREAMS s $").await;
    reader.expect_silence().await;
    writer.send("XADD s 1-1 f v").await;
    reader.expect_silence().await;
    writer.expect_silence().await;
    log.release(1);
    reader.expect("*1|*2|$1|s|*1|*2|$3|1-1|*2|$1|f|$1|v|").await;
    writer.expect("$3|1-1|").await;
}

#[tokio::test]
async fn closing_waits_for_held_replies() {
    let (broker, log) = held_broker();
    let mut client = Client::new(&broker);
    client.send("SET a 1\r\nQUIT").await;
    client.expect_silence().await;
    log.release(1);
    assert_eq!(client.read_to_end().await, "+OK\r\n+OK\r\n");
}
