//! Against a peer of the tests' own, which answers each request with its argument.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::task::JoinSet;

use super::*;
use crate::backend::link::REPLY_TIMEOUT;
use crate::backend::replies::Reply;

/// `ECHO text`, as many times as there are texts.
fn echo<const N: usize>(texts: [&str; N]) -> Request {
    let mut request = Request::default();
    for text in texts {
        request.command(2).arg("ECHO").arg(text);
    }
    request
}

fn texts(mut replies: Replies) -> Vec<String> {
    let mut texts = Vec::new();
    while let Some(Reply::Text(text)) = replies.value() {
        texts.push(String::from_utf8(text.to_vec()).unwrap());
    }
    texts
}

/// A connection, and the other end of it.
fn pair(length: usize) -> (Arc<Mux>, DuplexStream) {
    let (ours, peer) = tokio::io::duplex(length);
    (Arc::new(Mux::new(Box::new(ours))), peer)
}

/// Answers whatever comes until the connection ends, in pieces; counts its reads.
async fn serve(mut peer: DuplexStream, reads: Arc<AtomicUsize>, mut random: fastrand::Rng) {
    let mut input = Vec::with_capacity(1 << 20);
    while peer.read_buf(&mut input).await.is_ok_and(|length| length > 0) {
        reads.fetch_add(1, Ordering::Relaxed);
        let mut output = Vec::new();
        while let Some(length) = answer(&input, &mut output) {
            input.drain(..length);
        }
        while !output.is_empty() {
            let length = random.usize(1..=output.len());
            if peer.write_all(&output[..length]).await.is_err() {
                return;
            }
            output.drain(..length);
            if random.bool() {
                tokio::task::yield_now().await;
            }
        }
    }
}

/// Answers the request at the beginning, if it is whole; says how long it is.
fn answer(input: &[u8], output: &mut Vec<u8>) -> Option<usize> {
    let rest = input.strip_prefix(b"*2\r\n$4\r\nECHO\r\n")?;
    let (_, after) = crate::entry::bulk(rest)?;
    output.extend_from_slice(&rest[..rest.len() - after.len()]);
    Some(input.len() - after.len())
}

fn poll_once<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// As [`poll_once`], with the task's own waker.
async fn polled<F: Future>(mut future: Pin<&mut F>) -> Poll<F::Output> {
    std::future::poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await
}

#[tokio::test]
async fn a_caller_alone_reads_its_own_reply() {
    let (mux, peer) = pair(1024);
    tokio::spawn(serve(peer, Arc::default(), fastrand::Rng::with_seed(1)));
    for number in 0..100 {
        let text = number.to_string();
        assert_eq!(texts(mux.call(&echo([&text, "and"])).await.unwrap()), [&text, "and"]);
        let state = mux.lock();
        assert!(!state.is_attended && state.io.is_some());
        assert_eq!(state.slots.len(), 1);
    }
}

#[tokio::test]
async fn concurrent_callers_travel_together() {
    let (mux, peer) = pair(1 << 20);
    let reads = Arc::new(AtomicUsize::new(0));
    tokio::spawn(serve(peer, Arc::clone(&reads), fastrand::Rng::with_seed(1)));
    for _ in 0..10 {
        let requests: Vec<_> = (0..200).map(|number: usize| echo([&number.to_string()])).collect();
        let calls = futures_util::future::join_all(requests.iter().map(|request| mux.call(request))).await;
        for (number, replies) in calls.into_iter().enumerate() {
            assert_eq!(texts(replies.unwrap()), [number.to_string()]);
        }
    }
    // The first of each ten goes alone, or all of them travel with the task that is still there.
    assert!(reads.load(Ordering::Relaxed) <= 20, "{reads:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replies_find_their_callers_whoever_is_dropped() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    for length in [8, 100, 1 << 16] {
        let (mux, peer) = pair(length);
        tokio::spawn(serve(peer, Arc::default(), random.fork()));
        let mut callers = JoinSet::new();
        for caller in 0..20 {
            let (mux, mut random) = (Arc::clone(&mux), random.fork());
            callers.spawn(async move {
                for number in 0..200 {
                    let text = format!("{caller}:{number}:{}", "x".repeat(random.usize(0..40)));
                    let request = echo([&text, "", &text]);
                    let mut call = Box::pin(mux.call(&request));
                    // Some are dropped after a poll or two, some wait.
                    let polls = random.usize(0..6);
                    let mut outcome = None;
                    for _ in 0..polls {
                        if let Poll::Ready(replies) = polled(call.as_mut()).await {
                            outcome = Some(replies);
                            break;
                        }
                        tokio::task::yield_now().await;
                    }
                    if outcome.is_none() && random.bool() {
                        outcome = Some(call.await);
                    }
                    if let Some(replies) = outcome {
                        assert_eq!(texts(replies.unwrap()), [&text, "", &text]);
                    }
                }
            });
        }
        while let Some(ended) = callers.join_next().await {
            ended.unwrap();
        }
        // What was abandoned is answered too, and its places are free again.
        assert_eq!(texts(mux.call(&echo(["last"])).await.unwrap()), ["last"]);
        let state = mux.lock();
        assert!(state.order.is_empty() && state.queued.is_empty());
        assert!(state.slots.len() <= 600, "{}", state.slots.len());
        assert_eq!(mux.room.available_permits(), WAITING_MAX);
    }
}

#[tokio::test]
async fn a_caller_that_is_not_polled_holds_up_nobody() {
    let (mux, peer) = pair(1024);
    tokio::spawn(serve(peer, Arc::default(), fastrand::Rng::with_seed(1)));
    let (first, second) = (echo(["first"]), echo(["second"]));
    let mut forgotten = Box::pin(mux.call(&first));
    assert!(poll_once(forgotten.as_mut()).is_pending());
    assert_eq!(texts(mux.call(&second).await.unwrap()), ["second"]);
    assert_eq!(texts(forgotten.await.unwrap()), ["first"]);
}

#[tokio::test]
async fn what_a_dropped_caller_had_begun_is_ended() {
    // The stream takes only a part of the request at a time.
    let (mux, mut peer) = pair(10);
    let request = echo(["0123456789"]);
    let mut call = Box::pin(mux.call(&request));
    assert!(poll_once(call.as_mut()).is_pending());
    drop(call);
    let mut sent = vec![0; request.bytes().len()];
    peer.read_exact(&mut sent).await.unwrap();
    assert_eq!(sent, request.bytes());
    tokio::spawn(async move {
        peer.write_all(b"$10\r\n0123456789\r\n").await.unwrap();
        serve(peer, Arc::default(), fastrand::Rng::with_seed(1)).await;
    });
    assert_eq!(texts(mux.call(&echo(["next"])).await.unwrap()), ["next"]);
}

#[tokio::test]
async fn what_was_not_sent_is_told_from_what_was() {
    let (mux, mut peer) = pair(64);
    let (small, large) = (echo(["a"]), echo([&"b".repeat(1000)]));
    let mut calls: Vec<_> = [&small, &large, &small].map(|request| Box::pin(mux.call(request))).into();
    for call in &mut calls {
        assert!(poll_once(call.as_mut()).is_pending());
    }
    // The task writes the second as far as it goes, and the third is written with it.
    let mut start = vec![0; small.bytes().len() + 10];
    peer.read_exact(&mut start).await.unwrap();
    let mut late = Box::pin(mux.call(&small));
    assert!(poll_once(late.as_mut()).is_pending());
    drop(peer);
    for call in calls {
        assert!(matches!(call.await, Err(Lost::Unanswered(_))));
    }
    assert!(matches!(late.await, Err(Lost::Unsent(_))));
    assert!(matches!(mux.call(&small).await, Err(Lost::Unsent(problem)) if !problem.is_empty()));
}

#[tokio::test]
async fn nothing_is_sent_to_a_broker_that_hung_up_meanwhile() {
    let (mux, peer) = pair(64);
    drop(peer);
    assert!(matches!(mux.call(&echo(["a"])).await, Err(Lost::Unsent(problem)) if problem.contains("closed")));
}

#[tokio::test]
async fn what_nobody_asked_for_ends_the_connection() {
    let (mux, mut peer) = pair(64);
    peer.write_all(b"+OK\r\n").await.unwrap();
    assert!(
        matches!(mux.call(&echo(["a"])).await, Err(Lost::Unsent(problem)) if problem.contains("nobody asked"))
    );
    for wrong in ["$1\r\na\r\n+OK\r\n", "HTTP/1.1 400\r\n", ":1\r\n:2\r\n"] {
        let (mux, mut peer) = pair(64);
        let request = echo(["a"]);
        let mut call = Box::pin(mux.call(&request));
        assert!(poll_once(call.as_mut()).is_pending());
        peer.write_all(wrong.as_bytes()).await.unwrap();
        // The first reply may be right; the connection is not to be used again.
        let _ = call.await;
        assert!(matches!(mux.call(&request).await, Err(Lost::Unsent(_))), "{wrong}");
    }
}

#[tokio::test(start_paused = true)]
async fn silence_ends_the_connection_and_slowness_does_not() {
    let (mux, mut peer) = pair(64);
    let request = echo(["abc"]);
    let begin = tokio::time::Instant::now();
    let slow = tokio::spawn(async move {
        for byte in b"$3\r\nabc\r\n" {
            tokio::time::sleep(REPLY_TIMEOUT - Duration::from_secs(1)).await;
            peer.write_all(&[*byte]).await.unwrap();
        }
        peer
    });
    assert_eq!(texts(mux.call(&request).await.unwrap()), ["abc"]);
    let _silent = slow.await.unwrap();
    assert_eq!(begin.elapsed(), 9 * (REPLY_TIMEOUT - Duration::from_secs(1)));
    // Rest is no silence.
    tokio::time::sleep(10 * REPLY_TIMEOUT).await;
    let begin = tokio::time::Instant::now();
    assert!(
        matches!(mux.call(&request).await, Err(Lost::Unanswered(problem)) if problem.contains("no reply within 10s"))
    );
    assert!(begin.elapsed() < REPLY_TIMEOUT + Duration::from_millis(10), "{:?}", begin.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_silent_broker_is_noticed_by_those_who_have_gone_too() {
    let (mux, _peer) = pair(64);
    let request = echo(["abc"]);
    assert!(tokio::time::timeout(Duration::from_secs(1), mux.call(&request)).await.is_err());
    tokio::time::sleep(REPLY_TIMEOUT).await;
    assert!(matches!(mux.call(&request).await, Err(Lost::Unsent(_))));
}

#[tokio::test]
async fn what_waits_is_bounded() {
    let (mux, mut peer) = pair(1 << 20);
    let request = echo(["a"]);
    let mut calls: Vec<_> = (0..WAITING_MAX + 10).map(|_| Box::pin(mux.call(&request))).collect();
    for call in &mut calls {
        assert!(poll_once(call.as_mut()).is_pending());
    }
    // Those who have gone still count, until their replies are there.
    calls.drain(..100);
    let mut sent = vec![0; WAITING_MAX * request.bytes().len()];
    peer.read_exact(&mut sent).await.unwrap();
    assert!(polled(Box::pin(peer.read_u8()).as_mut()).await.is_pending());
    assert_eq!(mux.lock().slots.len(), WAITING_MAX);
    peer.write_all(&b"$1\r\na\r\n".repeat(WAITING_MAX)).await.unwrap();
    tokio::spawn(serve(peer, Arc::default(), fastrand::Rng::with_seed(1)));
    for replies in futures_util::future::join_all(calls).await {
        assert_eq!(texts(replies.unwrap()), ["a"]);
    }
    assert_eq!(mux.lock().slots.len(), WAITING_MAX);
}

#[test]
fn callers_of_a_runtime_that_ended_are_told() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (first, second) = (runtime(), runtime());
    let (mux, _peer) = {
        let _context = first.enter();
        pair(64)
    };
    let request = echo(["a"]);
    let (mut one, mut two) = (Box::pin(mux.call(&request)), Box::pin(mux.call(&request)));
    {
        let _context = first.enter();
        assert!(poll_once(one.as_mut()).is_pending());
        assert!(poll_once(two.as_mut()).is_pending());
    }
    drop(first);
    second.block_on(async {
        assert!(matches!(one.await, Err(Lost::Unsent(_) | Lost::Unanswered(_))));
        assert!(two.await.is_err());
        assert!(mux.call(&request).await.is_err());
    });
}
