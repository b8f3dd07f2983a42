//! Commands are of the ACL categories that they are of in Redis.

use std::collections::{BTreeMap, BTreeSet};

use cauce_testkit::targets::Target;
use cauce_testkit::wire::{Connection, Value};

/// Each category with its commands.
type Categories = BTreeMap<String, BTreeSet<String>>;

#[test]
fn every_command_is_of_the_categories_of_redis() {
    let Some(redis) = Target::redis_server().expect("it starts") else {
        eprintln!("skipped: redis-server is not installed");
        return;
    };
    let (theirs, ours) = (categories(&redis), categories(&Target::embedded().expect("it starts")));
    assert!(theirs.keys().eq(ours.keys()), "{:?}", ours.keys());
    let names =
        |categories: &Categories| -> BTreeSet<String> { categories.values().flatten().cloned().collect() };
    let (all_theirs, all_ours) = (names(&theirs), names(&ours));
    let both: BTreeSet<&String> = all_theirs.intersection(&all_ours).collect();
    assert!(both.len() > 100, "{both:?}");
    for (category, ours) in &ours {
        let of_both = |names: &BTreeSet<String>| -> Vec<String> {
            names.iter().filter(|name| both.contains(name)).cloned().collect()
        };
        assert_eq!(of_both(ours), of_both(&theirs[category]), "@{category}");
    }
}

fn categories(target: &Target) -> Categories {
    let mut connection = Connection::open(target.address()).expect("it listens");
    let mut list = |args: &[&str]| -> BTreeSet<String> {
        let reply = connection.call(args).expect("it answers");
        reply.elements().expect("a list").iter().filter_map(Value::text).collect()
    };
    let names = list(&["ACL", "CAT"]);
    names.into_iter().map(|name| (name.clone(), list(&["ACL", "CAT", &name]))).collect()
}
