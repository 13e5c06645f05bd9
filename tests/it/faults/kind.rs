//! The faults, by name and group.

use crate::support::small_disk::SmallDisk;

/// What fails. Each kind has a strike, which causes it and ends it after a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    ApiKilled,
    WorkerKilled,
    AllKilled,
    ApiStopped,
    WorkerStopped,
    RollingRestart,
    ApiFrozen,
    WorkerFrozen,
    WorkerHeldUp,
    WorkerAhead,
    WorkerBehind,
    WorkerPanics,
    BrokerStopped,
    BrokerKilled,
    BrokerClosesConnections,
    BrokerAlarm,
    DiskAlarm,
    QueuesDeleted,
    WorkQueueFull,
    SubscriberStuck,
    DatabaseStopped,
    DatabaseKilled,
    DatabaseKillsConnections,
    Deadlocks,
    ReadOnly,
    TooManyConnections,
    RowsLocked,
    TableLocked,
    AccountLocked,
    DatabaseClockBack,
    DatabaseDiskFull,
    FailOver,
    DatabaseCut,
    BrokerCut,
    DatabaseSilent,
    BrokerSilent,
    DatabaseDelayed,
    BrokerDelayed,
    DatabaseByteByByte,
    BrokerByteByByte,
    CommitNotDelivered,
    CommitNotAnswered,
    ConfirmNotDelivered,
    IssuerSlow,
    IssuerDown,
    AnswerLost,
    IssuerNeverReachable,
    ClientFloods,
    PlatformsRefuse,
    PlatformsHang,
    PlatformsFailBefore,
    PlatformsFailAfter,
    PlatformsBusy,
    PlatformsCutAnswers,
    PlatformsAnswerHtml,
    WebhooksNever,
    WebhooksTwice,
    WebhooksLate,
    BrokenRows,
    BadMessages,
    ForeignReplies,
    HalfRequests,
    UnknownOrders,
    SetupKilled,
    Conflicts,
    LeaderKilled,
    WriterKilled,
    NodesRestarted,
    DatabaseNodeReplaced,
    DatabaseInMinority,
    BrokerInMinorityPauses,
    BrokerInMinorityServes,
    ReplyQueuesLost,
    NewSchema,
    OldApiNewWorker,
    NewApiOldWorker,
    OldReleaseReplaced,
}

/// Faults that are struck in one place, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    Processes,
    Broker,
    Database,
    /// What needs the database's server to be started in another way for a while.
    DatabaseServer,
    Network,
    Issuer,
    /// Stripe and PayPal.
    Platforms,
    /// What others write into the database and the queues, and commands that are broken off.
    Input,
    /// Single nodes of a cluster of RabbitMQ.
    BrokerNodes,
    /// Single nodes of a Galera cluster.
    DatabaseNodes,
    /// What takes minutes there.
    ClustersSlowly,
    /// Two releases of the service at the same time, in this order.
    Releases,
}

use Group::{
    Broker, BrokerNodes, ClustersSlowly, Database, DatabaseNodes, DatabaseServer, Input, Issuer,
    Network, Platforms, Processes, Releases,
};

/// All of them, with what is said of each.
#[rustfmt::skip]
pub const KINDS: &[(Kind, Group, &str)] = &[
    (Kind::ApiKilled, Processes, "api: kill -9"),
    (Kind::WorkerKilled, Processes, "worker: kill -9"),
    (Kind::AllKilled, Processes, "all: kill -9 at the same moment"),
    (Kind::ApiStopped, Processes, "api: SIGTERM"),
    (Kind::WorkerStopped, Processes, "worker: SIGTERM"),
    (Kind::RollingRestart, Processes, "all: rolling restart"),
    (Kind::ApiFrozen, Processes, "api: SIGSTOP, SIGCONT"),
    (Kind::WorkerFrozen, Processes, "worker: SIGSTOP beyond its lease, SIGCONT"),
    (Kind::WorkerHeldUp, Processes, "worker: SIGSTOP inside its calls, another is told otherwise"),
    (Kind::WorkerAhead, Processes, "worker: its clock a day ahead"),
    (Kind::WorkerBehind, Processes, "worker: its clock an hour behind"),
    (Kind::WorkerPanics, Processes, "worker: a panic in its tasks"),
    (Kind::BrokerStopped, Broker, "RabbitMQ: stop, start"),
    (Kind::BrokerKilled, Broker, "RabbitMQ: kill -9, start"),
    (Kind::BrokerClosesConnections, Broker, "RabbitMQ: closes all connections"),
    (Kind::BrokerAlarm, Broker, "RabbitMQ: resource alarm"),
    (Kind::DiskAlarm, Broker, "RabbitMQ: disk alarm (disk_free_limit)"),
    (Kind::QueuesDeleted, Broker, "RabbitMQ: queues deleted"),
    (Kind::WorkQueueFull, Broker, "RabbitMQ: work queue full (reject-publish)"),
    (Kind::SubscriberStuck, Broker, "RabbitMQ: a subscriber's queue confirms nothing"),
    (Kind::DatabaseStopped, Database, "database: stop, start"),
    (Kind::DatabaseKilled, Database, "database: kill -9, start"),
    (Kind::DatabaseKillsConnections, Database, "database: connections killed"),
    (Kind::Deadlocks, Database, "database: deadlocks"),
    (Kind::ReadOnly, Database, "database: read-only"),
    (Kind::TooManyConnections, Database, "database: too many connections"),
    (Kind::RowsLocked, Database, "database: rows locked by somebody's long transaction"),
    (Kind::TableLocked, Database, "database: a table locked"),
    (Kind::AccountLocked, Database, "database: the service's account locked"),
    (Kind::DatabaseClockBack, DatabaseServer, "database: its clock an hour back, and forward again"),
    (Kind::DatabaseDiskFull, DatabaseServer, "database: its disk full"),
    (Kind::FailOver, DatabaseServer, "database: fail-over and back, behind one address"),
    (Kind::DatabaseCut, Network, "network to the database: cut"),
    (Kind::BrokerCut, Network, "network to RabbitMQ: cut"),
    (Kind::DatabaseSilent, Network, "network to the database: black hole"),
    (Kind::BrokerSilent, Network, "network to RabbitMQ: black hole"),
    (Kind::DatabaseDelayed, Network, "network to the database: 500 ms late"),
    (Kind::BrokerDelayed, Network, "network to RabbitMQ: 500 ms late"),
    (Kind::DatabaseByteByByte, Network, "network to the database: byte by byte"),
    (Kind::BrokerByteByByte, Network, "network to RabbitMQ: byte by byte"),
    (Kind::CommitNotDelivered, Network, "network: cut before a commit arrives"),
    (Kind::CommitNotAnswered, Network, "network: cut before a commit's answer arrives"),
    (Kind::ConfirmNotDelivered, Network, "network: cut before a confirm arrives"),
    (Kind::IssuerSlow, Issuer, "issuer: slow"),
    (Kind::IssuerDown, Issuer, "issuer: down for some tries"),
    (Kind::AnswerLost, Issuer, "issuer: answer lost after the charge"),
    (Kind::IssuerNeverReachable, Issuer, "issuer: never reachable, never answers"),
    (Kind::ClientFloods, Issuer, "one client: a flood that is never answered"),
    (Kind::PlatformsRefuse, Platforms, "platforms: connections refused"),
    (Kind::PlatformsHang, Platforms, "platforms: no answer, executed or not"),
    (Kind::PlatformsFailBefore, Platforms, "platforms: 500 before they execute"),
    (Kind::PlatformsFailAfter, Platforms, "platforms: 500 after they execute"),
    (Kind::PlatformsBusy, Platforms, "platforms: 429 with Retry-After"),
    (Kind::PlatformsCutAnswers, Platforms, "platforms: answers cut in the middle"),
    (Kind::PlatformsAnswerHtml, Platforms, "platforms: HTML in place of an answer"),
    (Kind::WebhooksNever, Platforms, "webhooks: none arrives"),
    (Kind::WebhooksTwice, Platforms, "webhooks: each twice at the same moment, and once more"),
    (Kind::WebhooksLate, Platforms, "webhooks: late, the last one first"),
    (Kind::BrokenRows, Input, "rows that cannot be read"),
    (Kind::BadMessages, Input, "messages: 15 MB, not UTF-8, not JSON, headers of 66 kB"),
    (Kind::ForeignReplies, Input, "messages: the reply-to address of another broker"),
    (Kind::HalfRequests, Input, "callers: connections that send half a request"),
    (Kind::UnknownOrders, Input, "callbacks: orders that the receiver does not know"),
    (Kind::SetupKilled, Input, "setup: kill -9 again and again"),
    (Kind::Conflicts, DatabaseNodes, "Galera: certification conflicts"),
    (Kind::LeaderKilled, BrokerNodes, "RabbitMQ cluster: the queue's leader: kill -9"),
    (Kind::WriterKilled, DatabaseNodes, "Galera: the node written to: kill -9"),
    (Kind::NodesRestarted, ClustersSlowly, "both clusters: nodes restarted one by one"),
    (Kind::DatabaseNodeReplaced, ClustersSlowly, "Galera: a node's data lost, copied from another"),
    (Kind::DatabaseInMinority, DatabaseNodes, "Galera: a node in the minority"),
    (Kind::BrokerInMinorityPauses, BrokerNodes, "RabbitMQ cluster: a node in the minority, which pauses"),
    (Kind::BrokerInMinorityServes, BrokerNodes, "RabbitMQ cluster: a node in the minority, which goes on"),
    (Kind::ReplyQueuesLost, BrokerNodes, "RabbitMQ cluster: the node with clients' reply queues: kill -9"),
    (Kind::NewSchema, Releases, "releases: the old one on the new one's schema"),
    (Kind::OldApiNewWorker, Releases, "releases: api old, worker new"),
    (Kind::NewApiOldWorker, Releases, "releases: api new, worker old"),
    (Kind::OldReleaseReplaced, Releases, "releases: the last old processes replaced"),
];

impl Kind {
    pub fn name(self) -> &'static str {
        let found = KINDS.iter().find(|(kind, ..)| *kind == self);
        found.map_or("no fault", |(_, _, name)| name)
    }

    /// All that need no cluster and no other release.
    pub fn on_single_servers() -> Vec<Self> {
        let single = |group: &Group| {
            !matches!(
                group,
                BrokerNodes | DatabaseNodes | ClustersSlowly | Releases
            )
        };
        let kinds = KINDS.iter().filter(|(_, group, _)| single(group));
        possible(kinds.map(|(kind, ..)| *kind).collect())
    }

    pub fn of(group: Group) -> Vec<Self> {
        let kinds = KINDS.iter().filter(|(_, its, _)| *its == group);
        possible(kinds.map(|(kind, ..)| *kind).collect())
    }

    /// Those with `FAULT_KIND` in their names, or all.
    pub fn chosen(mut kinds: Vec<Self>) -> Vec<Self> {
        let only = std::env::var("FAULT_KIND").unwrap_or_default();
        kinds.retain(|kind| kind.name().contains(&only));
        assert!(!kinds.is_empty(), "no fault here has {only} in its name");
        kinds
    }
}

/// Without what this user may not do.
fn possible(mut kinds: Vec<Kind>) -> Vec<Kind> {
    if kinds.contains(&Kind::DatabaseDiskFull) && SmallDisk::mount(1).is_none() {
        kinds.retain(|kind| *kind != Kind::DatabaseDiskFull);
    }
    kinds
}
