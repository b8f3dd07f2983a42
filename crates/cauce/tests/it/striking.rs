//! The faults that effects must survive, and how those of brokers and connections are brought about. What befalls processes is done
//! by the test that runs them.

use std::time::Duration;

use crate::proxy::Proxy;
use crate::targets::Target;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fault {
    ProcessKilled,
    BrokerKilled,
    ConnectionCut,
    ConnectionStalled,
    LostReply,
    ClockLeap,
    SlowHandler,
    RollingDeploy,
}

pub(crate) const FAULTS: [Fault; 8] = [
    Fault::ProcessKilled,
    Fault::BrokerKilled,
    Fault::ConnectionCut,
    Fault::ConnectionStalled,
    Fault::LostReply,
    Fault::ClockLeap,
    Fault::SlowHandler,
    Fault::RollingDeploy,
];

impl Fault {
    /// Strikes the broker or its connections. A reply is lost only when the next one comes: see [`Proxy::has_lost_all`].
    pub(crate) async fn strike(self, target: &mut Target, proxy: &Proxy, stall: Duration) {
        match self {
            Self::BrokerKilled => {
                target.kill();
                target.start_again();
            }
            Self::ConnectionCut => proxy.cut(),
            Self::ConnectionStalled => proxy.stall(stall).await,
            Self::LostReply => proxy.lose_next_reply(),
            Self::ProcessKilled | Self::SlowHandler | Self::RollingDeploy | Self::ClockLeap => {}
        }
    }
}
