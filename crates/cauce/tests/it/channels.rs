//! Channels: publish and subscribe.

use cauce::{Received, Subscription};

use crate::support::{Cancelled, connect, on_every_target, soon};

on_every_target!(
    every_subscriber_gets_every_message,
    patterns_match_channels,
    a_message_that_does_not_fit_is_shown_and_the_subscription_goes_on,
);

async fn message(subscription: &mut Subscription<Cancelled>) -> (String, Cancelled) {
    match soon("a message", subscription.next()).await {
        Received::Message { channel, body } => (channel, body),
        other => panic!("not a message: {other:?}"),
    }
}

async fn every_subscriber_gets_every_message(url: &str) {
    let bus = connect(url).await;
    let mut first = bus.subscribe::<Cancelled>(["gates"]).await.unwrap();
    let mut second = bus.subscribe::<Cancelled>(["gates", "other"]).await.unwrap();
    assert_eq!(bus.broadcast(&Cancelled::numbered(1)).await.unwrap(), 2);
    assert_eq!(bus.channel("other").publish(&Cancelled::numbered(2)).await.unwrap(), 1);
    assert_eq!(message(&mut first).await, ("gates".to_owned(), Cancelled::numbered(1)));
    assert_eq!(message(&mut second).await, ("gates".to_owned(), Cancelled::numbered(1)));
    assert_eq!(message(&mut second).await, ("other".to_owned(), Cancelled::numbered(2)));
}

async fn patterns_match_channels(url: &str) {
    let bus = connect(url).await;
    let mut all = bus.psubscribe::<Cancelled>(["gates.*"]).await.unwrap();
    assert_eq!(bus.channel("gates").publish(&Cancelled::numbered(1)).await.unwrap(), 0);
    assert_eq!(bus.channel("gates.b12").publish(&Cancelled::numbered(2)).await.unwrap(), 1);
    assert_eq!(message(&mut all).await, ("gates.b12".to_owned(), Cancelled::numbered(2)));
}

async fn a_message_that_does_not_fit_is_shown_and_the_subscription_goes_on(url: &str) {
    let bus = connect(url).await;
    let mut typed = bus.subscribe::<Cancelled>(["gates"]).await.unwrap();
    let mut text = bus.subscribe::<String>(["gates"]).await.unwrap();
    bus.channel("gates").publish(&"hello".to_owned()).await.unwrap();
    bus.broadcast(&Cancelled::numbered(1)).await.unwrap();
    match soon("the message", typed.next()).await {
        Received::Undecodable { channel, body, error } => {
            assert_eq!((channel.as_str(), body.as_slice()), ("gates", &b"hello"[..]));
            assert!(error.to_string().starts_with("the JSON does not fit"), "{error}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(message(&mut typed).await.1, Cancelled::numbered(1));
    assert!(matches!(soon("the text", text.next()).await, Received::Message { body, .. } if body == "hello"));
}
