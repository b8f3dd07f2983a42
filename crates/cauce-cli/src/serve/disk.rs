//! Says what the disk does, where somebody will look: full, and slow.

use std::time::{Duration, Instant};

use cauce_broker::Broker;

/// How often it is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How often the same is said again.
const SAY_EVERY: Duration = Duration::from_secs(10);

/// Never ends.
pub(super) async fn watch(broker: &Broker) {
    let mut was_full = false;
    let (mut slow_syncs, mut said) = (0, None::<Instant>);
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        if broker.is_full() != was_full {
            was_full = !was_full;
            eprintln!(
                "cauce: {}",
                if was_full {
                    "the disk is full: commands that write are refused until there is room, reads go on"
                } else {
                    "there is room on the disk again: commands that write are admitted"
                }
            );
        }
        let state = broker.log_state();
        let new = state.slow_syncs - slow_syncs;
        if new > 0 && said.is_none_or(|said| said.elapsed() >= SAY_EVERY) {
            let last = state.last_sync_micros / 1000;
            eprintln!(
                "cauce: the disk is slow: {new} syncs took 100 ms or longer, the last one {last} ms; replies wait for them"
            );
            (slow_syncs, said) = (state.slow_syncs, Some(Instant::now()));
        }
    }
}
