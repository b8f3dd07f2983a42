//! `file:DIRECTORY`: the broker inside the process, with its data on disk.

use cauce::{Bus, Durability, Service};

use crate::support::{Cancelled, until};

#[tokio::test]
async fn what_was_published_is_there_after_the_process() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("file:{}", directory.path().join("data").display());
    {
        let bus = Bus::connect(&url).await.unwrap();
        assert_eq!(bus.broker().await.unwrap().durability, Durability::Always);
        Service::new("desk").on(async |_: Cancelled| {}).start(&bus).await.unwrap().stop().await;
        bus.publish_all(&Cancelled::series(100)).await.unwrap();
        // Two buses of a process share the directory.
        let second = Bus::connect(&url).await.unwrap();
        second.publish_all(&Cancelled::series(10)).await.unwrap();
    }
    let bus = Bus::connect(&url).await.unwrap();
    let running = Service::new("desk").on(async |_: Cancelled| {}).start(&bus).await.unwrap();
    until("all are handled", || running.report().handled == 110).await;
    running.stop().await;
}

#[tokio::test]
async fn a_directory_that_cannot_be_used_is_named() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let error = Bus::connect(&format!("file:{}/data", file.path().display())).await.unwrap_err().to_string();
    assert!(error.starts_with("no broker can be opened: cannot make "), "{error}");
}
