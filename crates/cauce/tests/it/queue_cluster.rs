//! Queues on a cluster of one redis-server: every call works when the namespace has a hash tag, and without one an error says so.

use std::time::Duration;

use cauce::{HandlerError, QueueChanges, QueueOptions, Queues, Worker};

use crate::support::{Server, connect, free_port, until, until_async};

/// A redis-server in cluster mode that has all slots.
pub(crate) async fn cluster() -> Server {
    // The port of the cluster's bus is 10,000 above the server's unless told, which may be none.
    let bus: &'static str = free_port().to_string().leak();
    let server = Server::with(&[
        "--save",
        "",
        "--appendonly",
        "no",
        "--cluster-enabled",
        "yes",
        "--cluster-port",
        bus,
    ]);
    assert_eq!(server.cli(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]), "OK");
    let is_up = async || server.cli(&["CLUSTER", "INFO"]).contains("cluster_state:ok");
    until_async("the cluster is up", is_up).await;
    server
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_call_works_where_the_namespace_has_a_hash_tag() {
    let server = cluster().await;
    let bus = connect(&server.url()).await;
    let queues = bus.queues().namespace("{jobs}");
    let queue = queues.create("rebook", &QueueOptions::new()).await.unwrap();
    let other = queues.ensure("other", &QueueOptions::new()).await.unwrap();
    assert_eq!(queues.list().await.unwrap(), ["other", "rebook"]);
    let changes = QueueChanges::new().vt(Duration::from_secs(60));
    assert_eq!(queue.set_attributes(&changes).await.unwrap().vt, Duration::from_secs(60));

    let texts: Vec<String> = (0..6).map(|number| number.to_string()).collect();
    queue.send(&texts[0]).await.unwrap();
    let first = queue.receive().await.unwrap().unwrap();
    assert!(queue.extend_received(&first, Duration::from_secs(90)).await.unwrap());
    assert!(queue.change_visibility(first.id, Duration::ZERO).await.unwrap());
    let first = queue.receive_wait(Duration::from_secs(20)).await.unwrap().unwrap();
    assert_eq!((first.text().as_ref(), first.receive_count), ("0", 2));
    assert!(queue.delete_received(&first).await.unwrap());
    queue.send_in(Duration::ZERO, &texts[1]).await.unwrap();
    queue.send_all(&texts[2..]).await.unwrap();
    let [second, third] = queue.receive_many(2, None).await.unwrap().try_into().unwrap();
    assert!(queue.delete(second.id).await.unwrap());
    assert!(queue.move_to(third.id, &other).await.unwrap());
    assert_eq!(other.pop().await.unwrap().unwrap().text(), "2");
    assert_eq!(queue.pop_many(10).await.unwrap().len(), 3);
    // Concurrent calls travel in one pipeline.
    let sends = futures_util::future::join_all(texts.iter().map(|text| queue.send(text))).await;
    assert!(sends.iter().all(Result::is_ok), "{sends:?}");
    assert_eq!(queue.attributes().await.unwrap().msgs, 6);

    let rejects = async |_: String| Err::<(), _>(HandlerError::reject("no seats"));
    let worker = Worker::new(&queue).on(rejects).start().await.unwrap();
    until("all are dead", || worker.report().dead == 6).await;
    worker.stop().await;
    let dead = queue.dead_letter_queue().unwrap();
    let letters = dead.dead_letters(10).await.unwrap();
    assert_eq!((letters.len(), letters[0].error.as_str()), (6, "no seats"));
    assert!(dead.redrive(&letters[0]).await.unwrap());
    assert_eq!(queue.receive().await.unwrap().unwrap().id, letters[0].id);
    for name in ["other", "rebook", "rebook-dead"] {
        queues.delete(name).await.unwrap();
    }
    assert!(queues.list().await.unwrap().is_empty());
}

#[tokio::test]
async fn without_a_hash_tag_an_error_says_what_to_do() {
    let server = cluster().await;
    let bus = connect(&server.url()).await;
    let check = async |queues: Queues| {
        let queue = queues.queue("rebook").unwrap();
        let errors = [
            queues.create("rebook", &QueueOptions::new()).await.unwrap_err(),
            queue.send(&"x".to_owned()).await.unwrap_err(),
            queue.receive().await.unwrap_err(),
            queue.attributes().await.unwrap_err(),
            queue.send_all(&["x".to_owned()]).await.unwrap_err().source,
            queues.delete("rebook").await.unwrap_err(),
        ];
        for error in errors {
            let expected = "the keys of this queue lie in different slots of a cluster: give its namespace a hash tag, \
                as in Queues::namespace(\"{rsmq}\")";
            assert_eq!((error.code(), error.to_string().as_str()), ("crossSlot", expected));
            assert!(!error.is_transient());
        }
    };
    check(bus.queues()).await;
    check(bus.queues().namespace("{}jobs")).await;
}
