//! The commands for queues in RSMQ's layout. That they do what the toolkit's scripts do is a test of the test kit; here is what they do.

use crate::support::World;

/// When tests begin, in microseconds and base 36.
const TIME: &str = "gqll7vatq8";

fn made() -> World {
    let mut world = World::new();
    world.check(&[("HSET q vt 30 delay 0 maxsize 4 units s", ":4")]);
    world
}

fn suffix(of: char) -> String {
    of.to_string().repeat(22)
}

#[test]
fn messages_are_sent_received_and_deleted() {
    let (a, b) = (suffix('A'), suffix('B'));
    let mut world = made();
    assert_eq!(world.run(2, "SUBSCRIBE rt"), "*3 $9 subscribe $2 rt :1");
    let sent = world.run(1, &format!("RSMQ.SEND m q s  rt   5 {a} one {b} longer"));
    assert_eq!(sent, format!("*2 $10 {TIME} :1"), "the second is too long");
    let pushed = String::from_utf8(world.out.shared.clone()).unwrap();
    assert_eq!(pushed, "*3\r\n$7\r\nmessage\r\n$2\r\nrt\r\n$1\r\n1\r\n");
    let id = format!("{TIME}{a}");
    world.check(&[
        ("ZRANGE m 0 -1 WITHSCORES", &format!("*2 $32 {id} $13 1700000000000")),
        ("HMGET q totalsent totalrecv", "*2 $1 1 $-1"),
        (
            "RSMQ.RECEIVE m q s 2 ",
            &format!("*7 :1700000000000 :1700000030000 $32 {id} $3 one :1 :1700000000000 $0 "),
        ),
        ("RSMQ.RECEIVE m q s 2 ", "*2 :1700000000000 :1700000030000"),
        (&format!("HMGET q {id}:rc {id}:fr totalrecv"), "*3 $1 1 $13 1700000000000 $1 1"),
        (&format!("RSMQ.DELETE m q {id} 2"), "*1 :0"),
        (&format!("RSMQ.DELETE m q {id} 1 {id} "), "*2 :1 :0"),
        ("EXISTS m", ":0"),
        ("HLEN q", ":6"),
    ]);
    let sent = world.run(1, &format!("RSMQ.SEND m q s 1   1 5 {a} two {b} longer  t"));
    assert_eq!(sent, "*2 $14 messageTooLong :1", "all or none");
    world.advance_ms(1);
    let sent = world.run(1, &format!("RSMQ.SEND m q s   1  5 {a} two {b} 3 500 "));
    assert!(sent.starts_with("*1 $10 gqll7"), "{sent}");
    let popped = world.run(1, "RSMQ.RECEIVE m q s 5 pop");
    assert!(
        popped.starts_with("*7 :1700000000001 :1700000000501 $32") && popped.contains("$1 3 :1"),
        "{popped}"
    );
    world.check(&[("ZCARD m", ":1"), ("RSMQ.RECEIVE x y s 1 ", "$13 queueNotFound")]);
    world.assert_recovers();
}

#[test]
fn traces_that_others_leave_behind_are_swept() {
    let mut world = made();
    for number in 0..1100 {
        world.run(1, &format!("HSET q {number:032}:trace t"));
    }
    for round in ['A', 'B', 'C', 'D', 'E'] {
        world.run(1, &format!("RSMQ.SEND m q s    1 1 {} x {round}", suffix(round)));
    }
    let left = world.run(1, "HLEN q");
    let left: usize = left.trim_start_matches(':').parse().unwrap();
    assert!((500..1040).contains(&left), "{left} fields: a page was swept, and then there were few enough");
    world.check(&[("HGET q extras", "$1 1"), ("RSMQ.RECEIVE m q s 0 ", "*2 :1700000000000 $0 ")]);
    let received = world.run(1, "RSMQ.RECEIVE m q s 1 ");
    assert!(received.ends_with("$1 x :1 :1700000000000 $1 A"), "{received}");
    world.assert_recovers();
}

#[test]
fn settings_in_milliseconds_are_told_apart() {
    let mut world = made();
    world.check(&[
        ("HSET q vt 30000 units ms totalsent 0", ":1"),
        ("RSMQ.RECEIVE m q checked 1 ", "*3 $12 foreignUnits $5 30000 $1 0"),
        ("RSMQ.RECEIVE m q s 1 ", "*2 :1700000000000 $0 "),
        ("HSET q vt half", ":0"),
        ("RSMQ.RECEIVE m q s 1 ", "*3 $12 foreignUnits $4 half $1 0"),
    ]);
}
