//! Queues use the broker's commands where it has them, and scripts elsewhere.

use cauce::{Queue, QueueOptions};

use crate::queues::{made, numbers, texts};
use crate::support::connect;
use crate::targets::{KINDS, Kind, Target};

/// How many scripts a server has been told.
fn scripts(target: &Target) -> usize {
    let memory = target.cli(&["INFO", "memory"]);
    let count = memory.lines().find_map(|line| line.strip_prefix("number_of_cached_scripts:")?.parse().ok());
    count.expect("it says so")
}

async fn passes_messages(queue: &Queue) {
    for round in numbers(0..3) {
        let ids = queue.send_all(&[round.clone(), "b".to_owned()]).await.unwrap();
        queue.send(&"c".to_owned()).await.unwrap();
        assert_eq!(texts(&queue.receive_many(2, None).await.unwrap()), [&round, "b"]);
        assert!(queue.delete(ids[0]).await.unwrap() && queue.delete(ids[1]).await.unwrap());
        assert_eq!(queue.pop().await.unwrap().unwrap().text(), "c");
    }
}

#[tokio::test]
async fn queues_use_commands_where_there_are_some_and_scripts_elsewhere() {
    for kind in KINDS {
        let target = Target::start(kind);
        let queue = made(&connect(&target.url()).await, "jobs").await;
        assert_eq!(scripts(&target), 1, "{kind:?}: the one that makes it");
        passes_messages(&queue).await;
        assert_eq!(scripts(&target), if kind == Kind::Cauce { 1 } else { 4 }, "{kind:?}");
    }
}

#[tokio::test]
async fn who_may_not_use_the_commands_uses_scripts() {
    let target = Target::start(Kind::Cauce);
    let without = ["-rsmq.send", "-rsmq.receive", "-rsmq.delete"];
    let user =
        [["ACL", "SETUSER", "old", "on", ">secret", "~*", "&*", "+@all"].as_slice(), &without].concat();
    assert_eq!(target.cli(&user), "OK");
    let url = format!("redis://old:secret@127.0.0.1:{}", target.port());
    passes_messages(&made(&connect(&url).await, "jobs").await).await;
    assert_eq!(scripts(&target), 4);
}

#[tokio::test]
async fn a_send_needs_the_right_to_its_channel() {
    let target = Target::start(Kind::Cauce);
    let user = ["ACL", "SETUSER", "mute", "on", ">secret", "~*", "resetchannels", "+@all"];
    assert_eq!(target.cli(&user), "OK");
    let url = format!("redis://mute:secret@127.0.0.1:{}", target.port());
    let quiet = connect(&url).await.queues().realtime(false);
    passes_messages(&quiet.create("jobs", &QueueOptions::new()).await.unwrap()).await;
    let refused =
        connect(&url).await.queues().queue("jobs").unwrap().send(&"x".to_owned()).await.unwrap_err();
    assert!(refused.to_string().contains("NOPERM") || refused.to_string().contains("ACL"), "{refused}");
}
